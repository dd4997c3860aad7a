//! The mailbox rows in SQLite: the commit that moves sync states together with delivery rows.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, MailboxId, SyncSeq, SyncState};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::mail_source::SubscriptionRecord;
use postrider_actors::ports::mailbox_store::{Commit, Committed, Inserted, MailboxState, MailboxStore};
use postrider_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteStore;
use super::error::Failure;
use crate::store::names;

#[async_trait]
impl MailboxStore for SqliteStore {
    async fn mailbox_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<MailboxState>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT sync_state, sync_seq, seeded, badge_dirty, watch_since, announced_until FROM mailbox \
                 WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3",
            )?;
            Ok(query.query_row(params![mailbox.0, authority.fence.0, authority.session.0], state).optional()?)
        };
        self.database().read_mail(read).await
    }

    async fn sync_state_commit(&self, batch: &[Commit]) -> Result<Committed, StoreError> {
        if batch.is_empty() {
            return Ok(Committed::default());
        }
        let (mut entries, now) = (batch.to_vec(), self.now());
        entries.sort_by_key(|entry| entry.mailbox);
        self.database().write_mail(move |tx| commit(tx, &entries, now)).await
    }

    async fn subscription_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<SubscriptionRecord>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query = connection
                .prepare_cached("SELECT subscription FROM mailbox WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3")?;
            let text = |row: &Row<'_>| row.get::<_, Option<String>>(0);
            let found = query.query_row(params![mailbox.0, authority.fence.0, authority.session.0], text).optional()?;
            Ok(found.flatten().map(|text| SubscriptionRecord(text.into())))
        };
        self.database().read_mail(read).await
    }

    async fn subscription_set(
        &self,
        mailbox: MailboxId,
        authority: Authority,
        record: Option<&SubscriptionRecord>,
    ) -> Result<bool, StoreError> {
        let record = record.cloned();
        let write = move |tx: &Connection| {
            let mut statement =
                tx.prepare_cached("UPDATE mailbox SET subscription = ?4 WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3")?;
            let text = record.as_ref().map(|record| &*record.0);
            Ok(statement.execute(params![mailbox.0, authority.fence.0, authority.session.0, text])? == 1)
        };
        self.database().write_mail(write).await
    }
}

fn state(row: &Row<'_>) -> rusqlite::Result<MailboxState> {
    Ok(MailboxState {
        sync_state: row.get::<_, Option<String>>(0)?.map(|text| SyncState(text.into())),
        sync_seq: SyncSeq(row.get(1)?),
        seeded: row.get(2)?,
        badge_dirty: row.get(3)?,
        watch_since: Timestamp(row.get(4)?),
        announced_until: Timestamp(row.get(5)?),
    })
}

/// Moves the states of the entries that match and inserts the rows of these only: what did not move its state covers nothing.
fn commit(tx: &Connection, entries: &[Commit], now: Timestamp) -> Result<Committed, Failure> {
    let mut committed = Committed::default();
    let mut move_state = tx.prepare_cached(include_str!("queries/commit_state.sql"))?;
    // Safety: the device did not move to another mailbox meanwhile.
    let mut device_of = tx.prepare_cached("SELECT 1 FROM device WHERE device_id = ?1 AND mailbox_id = ?2")?;
    let mut insert_row = tx.prepare_cached(include_str!("queries/commit_row.sql"))?;
    for entry in entries {
        let Authority { fence, session } = entry.authority;
        let state = entry.sync_state.as_ref().map(|state| &*state.0);
        let (seeded, dirty, until) = (entry.seeded, entry.badge_dirty, entry.announced_until.0);
        let moved = move_state.execute(params![entry.mailbox.0, fence.0, session.0, entry.sync_seq.0, seeded, dirty, until, state])?;
        if moved == 0 {
            continue;
        }
        committed.matched.push(entry.mailbox);
        for row in &entry.rows {
            if !device_of.exists(params![row.device.0, entry.mailbox.0])? {
                continue;
            }
            let inserted = insert_row.execute(params![
                entry.mailbox.0,
                row.device.0,
                row.generation.0,
                row.event.0,
                row.group.0,
                names::kind(row.kind),
                row.item.as_ref().map(|item| &*item.0),
                row.received_at.0,
                row.count,
                fence.0,
                row.next_at.0,
                row.expires_at.0,
                now.0,
            ])?;
            if inserted == 1 {
                let id = DeliveryId(tx.last_insert_rowid());
                committed.inserted.push(Inserted { id, mailbox: entry.mailbox, device: row.device, event: row.event });
            }
        }
    }
    Ok(committed)
}
