//! The delivery rows in SQLite after they were committed: verdicts, retries, the sweep, retention.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, Generation, ItemId, MailboxId, Session};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::delivery_store::{DeliveryStore, Mark, Pending, Retry};
use postrider_actors::time::Timestamp;
use serde_json::{Value, json};

use super::SqliteStore;
use super::connection::{CALL, Durability, Progress, within};
use crate::store::names;

type PendingRow = (i64, i64, i64, Vec<u8>, Vec<u8>, String, Option<String>, i64, i64, i64, bool, i64, i64);

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn pending(&self, mailbox: MailboxId) -> Result<Vec<Pending>, StoreError> {
        let query = sqlx::query_as::<_, PendingRow>(include_str!("queries/pending.sql")).bind(mailbox.0);
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
        rows.into_iter().map(pending).collect()
    }

    async fn mark(&self, marks: &[Mark]) -> Result<(), StoreError> {
        let rows = marks.iter().map(|mark| json!([mark.id.0, names::settled(mark.settled), &*mark.reason])).collect();
        self.change(include_str!("queries/mark.sql"), rows, Some(self.now().0)).await.map(drop)
    }

    async fn schedule(&self, retries: &[Retry]) -> Result<(), StoreError> {
        let row = |retry: &Retry| {
            let Authority { fence, session } = retry.authority;
            json!([retry.id.0, retry.mailbox.0, fence.0, session.0, retry.next_at.0, i64::from(retry.refused), &*retry.reason])
        };
        self.change(include_str!("queries/schedule.sql"), retries.iter().map(row).collect(), None).await.map(drop)
    }

    async fn stranded(&self, session: Session, now: Timestamp, limit: u32) -> Result<Vec<MailboxId>, StoreError> {
        let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/stranded.sql")).bind(session.0).bind(now.0).bind(i64::from(limit));
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
        Ok(rows.into_iter().map(|(mailbox,)| MailboxId(mailbox)).collect())
    }

    async fn retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let query = sqlx::query(
                "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE settled_at IS NOT NULL AND settled_at < ?1 ORDER BY settled_at LIMIT ?2)",
            );
            let removed = query.bind(before.0).bind(i64::from(limit)).execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            Ok(u32::try_from(removed).unwrap_or(u32::MAX))
        })
        .await
    }
}

impl SqliteStore {
    /// One statement over JSON rows in one transaction; says how many rows changed.
    async fn change(&self, sql: &'static str, rows: Vec<Value>, now: Option<i64>) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let rows = Value::Array(rows).to_string();
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let mut query = sqlx::query(sql).bind(rows);
            if let Some(now) = now {
                query = query.bind(now);
            }
            let changed = query.execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }
}

fn pending(row: PendingRow) -> Result<Pending, StoreError> {
    let (id, device, generation, event, group, kind, item, received_at, count, attempts, refused, next_at, expires_at) = row;
    Ok(Pending {
        id: DeliveryId(id),
        device: DeviceId(device),
        generation: Generation(generation),
        event: names::event_of(&event)?,
        group: names::event_of(&group)?,
        kind: names::kind_of(&kind)?,
        item: item.map(|text| ItemId(text.into())),
        received_at: Timestamp(received_at),
        count: names::count(count),
        attempts: names::count(attempts),
        refused,
        next_at: Timestamp(next_at),
        expires_at: Timestamp(expires_at),
    })
}
