//! The mailbox rows in SQLite: the commit that moves sync states together with delivery rows.

use std::sync::LazyLock;

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, MailboxId, SyncSeq, SyncState};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::mail_source::SubscriptionRecord;
use postrider_actors::ports::mailbox_store::{Commit, Committed, Inserted, MailboxState, MailboxStore, NewDelivery};
use postrider_actors::time::Timestamp;

use super::SqliteStore;
use super::connection::{CALL, Durability, Progress, Tx, within};
use super::error::Failure;
use super::rows::Statement;
use crate::store::names;

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
        let now = self.now();
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let mut matched = move_states(&mut tx, &entries).await?;
            matched.sort_unstable();
            // Rows of the entries that matched only: what did not move its state covers nothing.
            entries.retain(|entry| matched.binary_search(&entry.mailbox.0).is_ok());
            let inserted = insert_rows(&mut tx, &entries, now).await?;
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

static STATES: LazyLock<Statement> = LazyLock::new(|| Statement::new(include_str!("queries/commit_states.sql"), 8));
static ROWS: LazyLock<Statement> = LazyLock::new(|| Statement::new(include_str!("queries/commit_rows.sql"), 13));

/// Moves the states of the entries that match; says of which mailboxes.
async fn move_states(tx: &mut Tx<'_>, entries: &[&Commit]) -> Result<Vec<i64>, Failure> {
    let mut matched = Vec::with_capacity(entries.len());
    for (text, piece) in STATES.pieces(entries) {
        let mut query = sqlx::query_as::<_, (i64,)>(text);
        for entry in piece {
            query = query.bind(entry.mailbox.0).bind(entry.authority.fence.0).bind(entry.authority.session.0).bind(entry.sync_seq.0);
            query = query.bind(entry.seeded).bind(entry.badge_dirty).bind(entry.announced_until.0);
            query = query.bind(entry.sync_state.as_ref().map(|state| &*state.0));
        }
        matched.extend(query.fetch_all(&mut **tx).await?.into_iter().map(|(mailbox,)| mailbox));
    }
    Ok(matched)
}

/// Inserts the rows of the entries; says which are new.
async fn insert_rows(tx: &mut Tx<'_>, entries: &[&Commit], now: Timestamp) -> Result<Vec<Inserted>, Failure> {
    let rows: Vec<(&Commit, &NewDelivery)> = entries.iter().flat_map(|entry| entry.rows.iter().map(move |row| (*entry, row))).collect();
    let mut inserted = Vec::with_capacity(rows.len());
    for (text, piece) in ROWS.pieces(&rows) {
        let mut query = sqlx::query_as::<_, (i64, i64, i64, Vec<u8>)>(text);
        for (entry, row) in piece {
            query = query.bind(entry.mailbox.0).bind(row.device.0).bind(row.generation.0).bind(&row.event.0[..]).bind(&row.group.0[..]);
            query = query.bind(names::kind(row.kind)).bind(row.item.as_ref().map(|item| &*item.0)).bind(row.received_at.0);
            query = query.bind(i64::from(row.count)).bind(entry.authority.fence.0).bind(row.next_at.0).bind(row.expires_at.0).bind(now.0);
        }
        for (id, mailbox, device, event) in query.fetch_all(&mut **tx).await? {
            let event = names::event_of(&event)?;
            inserted.push(Inserted { id: DeliveryId(id), mailbox: MailboxId(mailbox), device: DeviceId(device), event });
        }
    }
    Ok(inserted)
}
