//! The mailbox rows in SQLite: the commit that moves sync states together with delivery rows.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, MailboxId, SyncSeq, SyncState};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::mail_source::SubscriptionRecord;
use postrider_actors::ports::mailbox_store::{Commit, Committed, Inserted, MailboxState, MailboxStore};
use postrider_actors::time::Timestamp;
use serde_json::{Value, json};

use super::connection::{CALL, Durability, Progress, Tx, within};
use super::error::Failure;
use super::{SqliteStore, names};

type StateRow = (Option<String>, i64, bool, bool, i64, i64);

#[async_trait]
impl MailboxStore for SqliteStore {
    async fn mailbox_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<MailboxState>, StoreError> {
        let query = sqlx::query_as::<_, StateRow>(
            "SELECT sync_state, sync_seq, seeded, badge_dirty, watch_since, announced_until FROM mailbox \
             WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3",
        );
        let query = query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0);
        let row = self.database().read(async { Ok(query.fetch_optional(self.database().readers()).await?) }).await?;
        Ok(row.map(|(state, seq, seeded, badge_dirty, since, until)| MailboxState {
            sync_state: state.map(|text| SyncState(text.into())),
            sync_seq: SyncSeq(seq),
            seeded,
            badge_dirty,
            watch_since: Timestamp(since),
            announced_until: Timestamp(until),
        }))
    }

    async fn sync_state_commit(&self, batch: &[Commit]) -> Result<Committed, StoreError> {
        if batch.is_empty() {
            return Ok(Committed::default());
        }
        let mut entries: Vec<&Commit> = batch.iter().collect();
        entries.sort_by_key(|entry| entry.mailbox);
        let states = Value::Array(entries.iter().map(|entry| state_json(entry)).collect()).to_string();
        let now = self.now();
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/commit_states.sql")).bind(states);
            let mut matched: Vec<i64> = query.fetch_all(&mut *tx).await?.into_iter().map(|(id,)| id).collect();
            matched.sort_unstable();
            let covered = entries.iter().filter(|entry| matched.binary_search(&entry.mailbox.0).is_ok());
            let inserted = insert(&mut tx, covered.copied(), now).await?;
            tx.commit().await?;
            Ok(Committed { matched: matched.into_iter().map(MailboxId).collect(), inserted })
        })
        .await
    }

    async fn subscription_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<SubscriptionRecord>, StoreError> {
        let query = sqlx::query_as::<_, (Option<String>,)>(
            "SELECT subscription FROM mailbox WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3",
        );
        let query = query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0);
        let row = self.database().read(async { Ok(query.fetch_optional(self.database().readers()).await?) }).await?;
        Ok(row.and_then(|(text,)| text).map(|text| SubscriptionRecord(text.into())))
    }

    async fn subscription_set(
        &self,
        mailbox: MailboxId,
        authority: Authority,
        record: Option<&SubscriptionRecord>,
    ) -> Result<bool, StoreError> {
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let query = sqlx::query("UPDATE mailbox SET subscription = ?4 WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3");
            let query = query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0).bind(record.map(|record| &*record.0));
            let done = query.execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            Ok(done == 1)
        })
        .await
    }
}

fn state_json(entry: &Commit) -> Value {
    json!([
        entry.mailbox.0,
        entry.authority.fence.0,
        entry.authority.session.0,
        entry.sync_seq.0,
        i64::from(entry.seeded),
        i64::from(entry.badge_dirty),
        entry.announced_until.0,
        entry.sync_state.as_ref().map(|state| &*state.0),
    ])
}

async fn insert(tx: &mut Tx<'_>, entries: impl Iterator<Item = &Commit>, now: Timestamp) -> Result<Vec<Inserted>, Failure> {
    let rows: Vec<Value> = entries.flat_map(row_json).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query_as::<_, (i64, i64, i64, Vec<u8>)>(include_str!("queries/commit_rows.sql"));
    let found = query.bind(Value::Array(rows).to_string()).bind(now.0).fetch_all(&mut **tx).await?;
    let inserted = found.into_iter().map(|(id, mailbox, device, event)| {
        Ok(Inserted { id: DeliveryId(id), mailbox: MailboxId(mailbox), device: DeviceId(device), event: names::event_of(&event)? })
    });
    inserted.collect::<Result<_, StoreError>>().map_err(Failure::from)
}

fn row_json(entry: &Commit) -> impl Iterator<Item = Value> {
    entry.rows.iter().map(|row| {
        json!([
            entry.mailbox.0,
            row.device.0,
            row.generation.0,
            names::hex(&row.event),
            names::hex(&row.group),
            names::kind(row.kind),
            row.item.as_ref().map(|item| &*item.0),
            row.received_at.0,
            row.count,
            entry.authority.fence.0,
            row.next_at.0,
            row.expires_at.0,
        ])
    })
}
