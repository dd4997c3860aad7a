//! The mailbox rows in PostgreSQL: the commit that moves sync states together with delivery rows.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, MailboxId, SyncSeq, SyncState};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::mail_source::SubscriptionRecord;
use postrider_actors::ports::mailbox_store::{Commit, Committed, Inserted, MailboxState, MailboxStore, NewDelivery};
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;

use super::PostgresStore;
use super::call::{reading, statement};
use super::error::Failure;
use crate::store::names;

type StateRow = (Option<String>, i64, bool, bool, i64, i64);
/// A mailbox that matched (without the rest), or a row that was inserted.
type CommittedRow = (i64, Option<i64>, Option<i64>, Option<Vec<u8>>);

#[async_trait]
impl MailboxStore for PostgresStore {
    async fn mailbox_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<MailboxState>, StoreError> {
        let row = reading!(self, |connection| {
            let query = sqlx::query_as::<_, StateRow>(
                "SELECT sync_state, sync_seq, seeded, badge_dirty, watch_since, announced_until FROM mailbox \
                 WHERE mailbox_id = $1 AND fence = $2 AND owner_session = $3",
            );
            query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0).fetch_optional(connection).await?
        })?;
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
        let rows = statement!(self, |connection| commit(connection, batch).await?)?;
        let mut committed = Committed::default();
        for row in rows {
            match row {
                (mailbox, Some(id), Some(device), Some(event)) => committed.inserted.push(Inserted {
                    id: DeliveryId(id),
                    mailbox: MailboxId(mailbox),
                    device: DeviceId(device),
                    event: names::event_of(&event)?,
                }),
                (mailbox, ..) => committed.matched.push(MailboxId(mailbox)),
            }
        }
        committed.matched.sort_unstable();
        Ok(committed)
    }

    async fn subscription_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<SubscriptionRecord>, StoreError> {
        let row = reading!(self, |connection| {
            let query = sqlx::query_as::<_, (Option<String>,)>(
                "SELECT subscription FROM mailbox WHERE mailbox_id = $1 AND fence = $2 AND owner_session = $3",
            );
            query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0).fetch_optional(connection).await?
        })?;
        Ok(row.and_then(|(text,)| text).map(|text| SubscriptionRecord(text.into())))
    }

    async fn subscription_set(
        &self,
        mailbox: MailboxId,
        authority: Authority,
        record: Option<&SubscriptionRecord>,
    ) -> Result<bool, StoreError> {
        statement!(self, |connection| {
            let query = sqlx::query("UPDATE mailbox SET subscription = $4 WHERE mailbox_id = $1 AND fence = $2 AND owner_session = $3");
            let query = query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0).bind(record.map(|record| &*record.0));
            query.execute(connection).await?.rows_affected() == 1
        })
    }
}

/// The whole batch as one statement: one way to the server and back.
async fn commit(connection: &mut PgConnection, batch: &[Commit]) -> Result<Vec<CommittedRow>, Failure> {
    let column = |value: fn(&Commit) -> i64| batch.iter().map(value).collect::<Vec<i64>>();
    let flag = |value: fn(&Commit) -> bool| batch.iter().map(value).collect::<Vec<bool>>();
    let states: Vec<Option<&str>> = batch.iter().map(|entry| entry.sync_state.as_ref().map(|state| &*state.0)).collect();
    let query = sqlx::query_as::<_, CommittedRow>(include_str!("queries/commit.sql"));
    let query = query.bind(column(|entry| entry.mailbox.0)).bind(column(|entry| entry.authority.fence.0));
    let query = query.bind(column(|entry| entry.authority.session.0)).bind(column(|entry| entry.sync_seq.0));
    let query = query.bind(flag(|entry| entry.seeded)).bind(flag(|entry| entry.badge_dirty));
    let query = query.bind(column(|entry| entry.announced_until.0)).bind(states);
    let rows: Vec<(&Commit, &NewDelivery)> = batch.iter().flat_map(|entry| entry.rows.iter().map(move |row| (entry, row))).collect();
    let column = |value: fn(&NewDelivery) -> i64| rows.iter().map(|(_, row)| value(row)).collect::<Vec<i64>>();
    let query = query.bind(rows.iter().map(|(entry, _)| entry.mailbox.0).collect::<Vec<i64>>());
    let query = query.bind(column(|row| row.device.0)).bind(column(|row| row.generation.0));
    let query = query.bind(rows.iter().map(|(_, row)| &row.event.0[..]).collect::<Vec<&[u8]>>());
    let query = query.bind(rows.iter().map(|(_, row)| &row.group.0[..]).collect::<Vec<&[u8]>>());
    let query = query.bind(rows.iter().map(|(_, row)| names::kind(row.kind)).collect::<Vec<&str>>());
    let query = query.bind(rows.iter().map(|(_, row)| row.item.as_ref().map(|item| &*item.0)).collect::<Vec<Option<&str>>>());
    let query = query.bind(column(|row| row.received_at.0)).bind(column(|row| i64::from(row.count)));
    let query = query.bind(column(|row| row.next_at.0)).bind(column(|row| row.expires_at.0));
    Ok(query.fetch_all(connection).await?)
}
