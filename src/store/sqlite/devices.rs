//! The devices in SQLite, as the delivery of pushes sees them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{DeviceId, EventKey, Generation, MailboxId, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::device_store::{DeviceNow, DeviceStore, Recipient};
use postrider_actors::ports::push_sender::{Channel, PushToken};
use postrider_actors::time::Timestamp;
use rusqlite::{Connection, Row, params};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::connection::{CALL, Durability, Progress, within};
use super::error::Failure;
use crate::store::names;

#[async_trait]
impl DeviceStore for SqliteStore {
    async fn recipients(&self, mailbox: MailboxId, events: &[EventKey]) -> Result<Vec<Recipient>, StoreError> {
        let events = events.to_vec();
        self.database().read_mail(move |connection| recipients(connection, mailbox, &events)).await
    }

    async fn devices_now(&self, devices: &[DeviceId]) -> Result<Vec<DeviceNow>, StoreError> {
        let devices = devices.to_vec();
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(include_str!("queries/device_now.sql"))?;
            let mut found = Vec::with_capacity(devices.len());
            for device in devices {
                let mut rows = query.query([device.0])?;
                if let Some(row) = rows.next()? {
                    found.push(device_now(row)?);
                }
            }
            Ok(found)
        };
        self.database().read_mail(read).await
    }

    async fn device_forget(&self, device: DeviceId, generation: Generation, gone_since: Option<Timestamp>) -> Result<bool, StoreError> {
        let now = self.now();
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Durable, &progress).await?;
            let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/device_forget.sql"));
            let query = query.bind(device.0).bind(generation.0).bind(gone_since.map(|at| at.0));
            let forgotten = query.fetch_optional(&mut *tx).await?;
            if let Some((mailbox,)) = forgotten {
                ended(&mut tx, mailbox, device.0, "device_gone", now).await?;
            }
            let stands: (bool,) =
                sqlx::query_as("SELECT EXISTS (SELECT 1 FROM device WHERE device_id = ?1)").bind(device.0).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(!stands.0)
        })
        .await
    }
}

fn recipients(connection: &Connection, mailbox: MailboxId, events: &[EventKey]) -> Result<Vec<Recipient>, Failure> {
    let mut devices = connection.prepare_cached(include_str!("queries/recipients.sql"))?;
    let mut row_of = connection.prepare_cached("SELECT 1 FROM delivery WHERE mailbox_id = ?1 AND device_id = ?2 AND event_key = ?3")?;
    let mut recipients = Vec::new();
    let mut rows = devices.query([mailbox.0])?;
    while let Some(row) = rows.next()? {
        let device = DeviceId(row.get(0)?);
        let mut known = Vec::new();
        for event in events {
            if row_of.exists(params![mailbox.0, device.0, event.0])? {
                known.push(*event);
            }
        }
        recipients.push(Recipient { device, generation: Generation(row.get(1)?), channel: channel(row, 2)?, known });
    }
    Ok(recipients)
}

fn device_now(row: &Row<'_>) -> Result<DeviceNow, Failure> {
    Ok(DeviceNow {
        device: DeviceId(row.get(0)?),
        generation: Generation(row.get(1)?),
        channel: channel(row, 2)?,
        token: PushToken(row.get::<_, Arc<str>>(5)?.as_ref().into()),
        last_activity: Timestamp(row.get(6)?),
        cutoff: Duration::from_micros(u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0)),
    })
}

/// The channel whose tenant, provider and app stand from that column on.
fn channel(row: &Row<'_>, column: usize) -> Result<Channel, Failure> {
    let provider = row.get_ref(column + 1)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Channel { tenant: TenantId(row.get(column)?), provider: names::provider_of(provider)?, app: row.get(column + 2)? })
}

/// What follows the removal of a device row in the same transaction: its PENDING rows die, and with the last device the watch ends.
pub(super) async fn ended(
    connection: &mut SqliteConnection,
    mailbox: i64,
    device: i64,
    reason: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let query = sqlx::query(
        "UPDATE delivery SET state = 'DEAD', reason = ?3, settled_at = ?4, item_id = NULL \
         WHERE mailbox_id = ?1 AND device_id = ?2 AND state = 'PENDING'",
    );
    query.bind(mailbox).bind(device).bind(reason).bind(now.0).execute(&mut *connection).await?;
    let query = sqlx::query_as::<_, (i64,)>(
        "UPDATE mailbox SET unwatched_at = ?2 \
         WHERE mailbox_id = ?1 AND NOT EXISTS (SELECT 1 FROM device WHERE mailbox_id = ?1) RETURNING shard_id",
    );
    if let Some((shard,)) = query.bind(mailbox).bind(now.0).fetch_optional(&mut *connection).await? {
        membership_changed(connection, shard).await?;
    }
    Ok(())
}

/// Tells the shard's owner to look again; conflicts with an adoption that runs meanwhile.
pub(super) async fn membership_changed(connection: &mut SqliteConnection, shard: i64) -> Result<(), Failure> {
    sqlx::query("UPDATE shard SET change_seq = change_seq + 1 WHERE shard_id = ?1").bind(shard).execute(connection).await?;
    Ok(())
}
