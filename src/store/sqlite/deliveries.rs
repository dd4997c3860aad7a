//! The delivery rows in SQLite after they were committed: verdicts, retries, the sweep, retention.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId, Session};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::delivery_store::{DeliveryStore, Mark, Pending, Retry};
use postrider_actors::time::Timestamp;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::error::Failure;
use crate::store::names;

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn pending(&self, mailbox: MailboxId, authority: Authority) -> Result<Vec<Pending>, StoreError> {
        let read = move |connection: &rusqlite::Connection| {
            let mut query = connection.prepare_cached(include_str!("queries/pending.sql"))?;
            let mut rows = query.query(params![mailbox.0, authority.fence.0, authority.session.0])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(pending(row)?);
            }
            Ok(found)
        };
        self.database().read_mail(read).await
    }

    async fn mark(&self, marks: &[Mark]) -> Result<(), StoreError> {
        if marks.is_empty() {
            return Ok(());
        }
        let (marks, now) = (marks.to_vec(), self.now());
        let write = move |tx: &rusqlite::Connection| {
            let mut statement = tx.prepare_cached(include_str!("queries/mark.sql"))?;
            for mark in &marks {
                statement.execute(params![mark.id.0, names::settled(mark.settled), &*mark.reason, now.0])?;
            }
            Ok(())
        };
        self.database().write_mail(write).await
    }

    async fn schedule(&self, retries: &[Retry]) -> Result<(), StoreError> {
        if retries.is_empty() {
            return Ok(());
        }
        let retries = retries.to_vec();
        let write = move |tx: &rusqlite::Connection| {
            let mut statement = tx.prepare_cached(include_str!("queries/schedule.sql"))?;
            for retry in &retries {
                let Authority { fence, session } = retry.authority;
                let Retry { id, mailbox, group, next_at, ended, refused, reason, .. } = retry;
                statement.execute(params![id.0, mailbox.0, fence.0, session.0, group.0, next_at.0, ended, refused, &**reason])?;
            }
            Ok(())
        };
        self.database().write_mail(write).await
    }

    async fn stranded(&self, session: Session, now: Timestamp, limit: u32) -> Result<Vec<MailboxId>, StoreError> {
        // Not one of the mail path: it looks at all rows that are due.
        let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/stranded.sql")).bind(session.0).bind(now.0).bind(limit);
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
        Ok(rows.into_iter().map(|(mailbox,)| MailboxId(mailbox)).collect())
    }

    async fn retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let write = move |tx: &rusqlite::Connection| {
            let mut statement = tx.prepare_cached(
                "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE settled_at IS NOT NULL AND settled_at < ?1 ORDER BY settled_at LIMIT ?2)",
            )?;
            let removed = statement.execute(params![before.0, limit])?;
            Ok(u32::try_from(removed).unwrap_or(u32::MAX))
        };
        self.database().write_mail(write).await
    }
}

fn pending(row: &Row<'_>) -> Result<Pending, Failure> {
    let item: Option<String> = row.get(6)?;
    Ok(Pending {
        id: DeliveryId(row.get(0)?),
        device: DeviceId(row.get(1)?),
        generation: Generation(row.get(2)?),
        event: event_at(row, 3)?,
        group: event_at(row, 4)?,
        kind: names::kind_of(&row.get::<_, String>(5)?)?,
        item: item.map(|text| ItemId(text.into())),
        received_at: Timestamp(row.get(7)?),
        count: names::count(row.get(8)?),
        attempts: names::count(row.get(9)?),
        refused: row.get(10)?,
        next_at: Timestamp(row.get(11)?),
        expires_at: Timestamp(row.get(12)?),
    })
}

fn event_at(row: &Row<'_>, column: usize) -> Result<EventKey, Failure> {
    Ok(names::event_of(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)?)
}
