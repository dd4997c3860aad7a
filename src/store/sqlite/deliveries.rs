//! The delivery rows in SQLite after they were committed: verdicts, retries, the sweep, retention.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use postrider_actors::ids::{Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId, Session};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::delivery_store::{DeliveryStore, Mark, Pending, Retry};
use postrider_actors::time::Timestamp;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::error::Failure;
use crate::store::names;

/// Rows that one step of the retention looks at: those that are still PENDING after so long are passed over.
const LOOKED_AT: u32 = 10_000;

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
        let (from, young) = (self.inner.retained.load(Ordering::Acquire), before.0..=self.now().0);
        let write = move |tx: &rusqlite::Connection| {
            let (old, until) = look_for_old(tx, from, &young, limit)?;
            let mut delete = tx.prepare_cached("DELETE FROM delivery WHERE id = ?1")?;
            for id in &old {
                delete.execute([id])?;
            }
            Ok((u32::try_from(old.len()).unwrap_or(u32::MAX), until))
        };
        let (removed, until) = self.database().write_mail(write).await?;
        self.inner.retained.store(until, Ordering::Release);
        Ok(removed)
    }
}

/// Rows behind `from` that were settled before what counts as `young`, and behind which row to look next. Rows are as old as their ids are small, so that none
/// has to be found by the time of its verdict: an index of that would be written with each verdict. Only what a clock that was ahead dated into the future is
/// passed over, as is what is still PENDING.
fn look_for_old(tx: &rusqlite::Connection, from: i64, young: &RangeInclusive<i64>, limit: u32) -> Result<(Vec<i64>, i64), Failure> {
    let mut query = tx.prepare_cached("SELECT id, created_at, settled_at FROM delivery WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let mut rows = query.query(params![from, LOOKED_AT])?;
    let (mut old, mut looked_at) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (id, created_at, settled_at): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if young.contains(&created_at) {
            break;
        }
        looked_at += 1;
        if settled_at.is_some_and(|settled_at| settled_at < *young.start()) {
            old.push(id);
        }
        if old.len() >= limit as usize || looked_at == LOOKED_AT {
            return Ok((old, id));
        }
    }
    // What is left is young; from the oldest again the next time.
    Ok((old, 0))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with rows of these times: created, settled.
    fn table(rows: &[(i64, Option<i64>)]) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE delivery (id INTEGER PRIMARY KEY, created_at INTEGER, settled_at INTEGER)").unwrap();
        for row in rows {
            connection.execute("INSERT INTO delivery (created_at, settled_at) VALUES (?1, ?2)", params![row.0, row.1]).unwrap();
        }
        connection
    }

    #[test]
    fn old_rows_are_found_in_steps_behind_those_that_are_pending_or_of_the_future() {
        let rows = [(1, Some(2)), (1, None), (900, Some(901)), (2, Some(3)), (3, Some(60)), (4, Some(5)), (50, Some(51)), (60, Some(61))];
        let table = table(&rows);
        let look = |from, limit| look_for_old(&table, from, &(50..=100), limit).unwrap();
        assert_eq!(look(0, 2), (vec![1, 4], 4));
        assert_eq!(look(4, 2), (vec![6], 0));
        assert_eq!(look(0, 9), (vec![1, 4, 6], 0));
    }

    #[test]
    fn a_step_looks_at_so_many_rows_and_the_next_goes_on_behind_them() {
        let mut rows = vec![(1, None); LOOKED_AT as usize];
        rows.push((2, Some(3)));
        let table = table(&rows);
        let (found, until) = look_for_old(&table, 0, &(50..=100), 5).unwrap();
        assert_eq!((found, until), (vec![], i64::from(LOOKED_AT)));
        assert_eq!(look_for_old(&table, until, &(50..=100), 5).unwrap(), (vec![i64::from(LOOKED_AT) + 1], 0));
    }
}
