//! The delivery rows in PostgreSQL after they were committed: verdicts, retries, the sweep, retention.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, Generation, ItemId, MailboxId, Session};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::delivery_store::{DeliveryStore, Mark, Pending, Retry};
use postrider_actors::time::Timestamp;

use super::call::{reading, statement};
use super::{PostgresStore, count};
use crate::store::names;

type PendingRow = (i64, i64, i64, Vec<u8>, Vec<u8>, String, Option<String>, i64, i64, i64, bool, i64, i64);

#[async_trait]
impl DeliveryStore for PostgresStore {
    async fn pending(&self, mailbox: MailboxId, authority: Authority) -> Result<Vec<Pending>, StoreError> {
        let rows = reading!(self, |connection| {
            let query = sqlx::query_as::<_, PendingRow>(include_str!("queries/pending.sql"));
            query.bind(mailbox.0).bind(authority.fence.0).bind(authority.session.0).fetch_all(connection).await?
        })?;
        rows.into_iter().map(pending).collect()
    }

    async fn mark(&self, marks: &[Mark]) -> Result<(), StoreError> {
        if marks.is_empty() {
            return Ok(());
        }
        statement!(self, |connection| {
            let query = sqlx::query(include_str!("queries/mark.sql"));
            let query = query.bind(marks.iter().map(|mark| mark.id.0).collect::<Vec<_>>());
            let query = query.bind(marks.iter().map(|mark| names::settled(mark.settled)).collect::<Vec<_>>());
            query.bind(marks.iter().map(|mark| &*mark.reason).collect::<Vec<_>>()).execute(connection).await.map(drop)?;
        })
    }

    async fn schedule(&self, retries: &[Retry]) -> Result<(), StoreError> {
        if retries.is_empty() {
            return Ok(());
        }
        statement!(self, |connection| {
            let column = |value: fn(&Retry) -> i64| retries.iter().map(value).collect::<Vec<i64>>();
            let query = sqlx::query(include_str!("queries/schedule.sql"));
            let query = query.bind(column(|retry| retry.id.0)).bind(column(|retry| retry.mailbox.0));
            let query = query.bind(column(|retry| retry.authority.fence.0)).bind(column(|retry| retry.authority.session.0));
            let query = query.bind(retries.iter().map(|retry| &retry.group.0[..]).collect::<Vec<&[u8]>>());
            let query = query.bind(column(|retry| retry.next_at.0));
            let query = query.bind(retries.iter().map(|retry| retry.ended).collect::<Vec<_>>());
            let query = query.bind(retries.iter().map(|retry| retry.refused).collect::<Vec<_>>());
            query.bind(retries.iter().map(|retry| &*retry.reason).collect::<Vec<_>>()).execute(connection).await.map(drop)?;
        })
    }

    async fn stranded(&self, session: Session, now: Timestamp, limit: u32) -> Result<Vec<MailboxId>, StoreError> {
        let rows = reading!(self, |connection| {
            let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/stranded.sql"));
            query.bind(session.0).bind(now.0).bind(i64::from(limit)).fetch_all(connection).await?
        })?;
        Ok(rows.into_iter().map(|(mailbox,)| MailboxId(mailbox)).collect())
    }

    async fn retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let removed = statement!(self, |connection| {
            let query = sqlx::query(include_str!("queries/retain.sql")).bind(before.0).bind(i64::from(limit));
            query.execute(connection).await?.rows_affected()
        })?;
        Ok(u32::try_from(removed).unwrap_or(u32::MAX))
    }
}

fn pending(row: PendingRow) -> Result<Pending, StoreError> {
    let (id, device, generation, event, group, kind, item, received_at, mails, attempts, refused, next_at, expires_at) = row;
    Ok(Pending {
        id: DeliveryId(id),
        device: DeviceId(device),
        generation: Generation(generation),
        event: names::event_of(&event)?,
        group: names::event_of(&group)?,
        kind: names::kind_of(&kind)?,
        item: item.map(|text| ItemId(text.into())),
        received_at: Timestamp(received_at),
        count: count(mails),
        attempts: count(attempts),
        refused,
        next_at: Timestamp(next_at),
        expires_at: Timestamp(expires_at),
    })
}
