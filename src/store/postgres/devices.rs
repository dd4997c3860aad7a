//! The devices in PostgreSQL, as the delivery of pushes sees them.

use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{DeviceId, EventKey, Generation, MailboxId, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::device_store::{DeviceNow, DeviceStore, Recipient};
use postrider_actors::ports::push_sender::{Channel, PushToken};
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;

use super::call::{reading, transaction};
use super::error::Failure;
use super::{PostgresStore, moved, registry_mailboxes};
use crate::store::names;

type RecipientRow = (i64, i64, String, String, String, Option<Vec<u8>>);
type NowRow = (i64, i64, String, String, String, String, i64, i64);

#[async_trait]
impl DeviceStore for PostgresStore {
    async fn recipients(&self, mailbox: MailboxId, events: &[EventKey]) -> Result<Vec<Recipient>, StoreError> {
        let rows = reading!(self, |connection| {
            let query = sqlx::query_as::<_, RecipientRow>(include_str!("queries/recipients.sql")).bind(mailbox.0);
            query.bind(events.iter().map(|event| &event.0[..]).collect::<Vec<_>>()).fetch_all(connection).await?
        })?;
        let mut recipients: Vec<Recipient> = Vec::new();
        for (device, generation, tenant, provider, app, event) in rows {
            let event = event.map(|bytes| names::event_of(&bytes)).transpose()?;
            match recipients.last_mut().filter(|last| last.device.0 == device) {
                Some(last) => last.known.extend(event),
                None => recipients.push(Recipient {
                    device: DeviceId(device),
                    generation: Generation(generation),
                    channel: channel(&tenant, &provider, &app)?,
                    known: event.into_iter().collect(),
                }),
            }
        }
        Ok(recipients)
    }

    async fn devices_now(&self, devices: &[DeviceId]) -> Result<Vec<DeviceNow>, StoreError> {
        let rows = reading!(self, |connection| {
            let query = sqlx::query_as::<_, NowRow>(include_str!("queries/devices_now.sql"));
            query.bind(devices.iter().map(|device| device.0).collect::<Vec<_>>()).fetch_all(connection).await?
        })?;
        let now = |(device, generation, tenant, provider, app, token, last_activity, cutoff): NowRow| {
            Ok(DeviceNow {
                device: DeviceId(device),
                generation: Generation(generation),
                channel: channel(&tenant, &provider, &app)?,
                token: PushToken(token.into()),
                last_activity: Timestamp(last_activity),
                cutoff: Duration::from_micros(u64::try_from(cutoff).unwrap_or(0)),
            })
        };
        rows.into_iter().map(now).collect()
    }

    async fn device_forget(&self, device: DeviceId, generation: Generation, gone_since: Option<Timestamp>) -> Result<bool, StoreError> {
        transaction!(self, |connection| forget(connection, device, generation, gone_since).await?)
    }
}

fn channel(tenant: &str, provider: &str, app: &str) -> Result<Channel, StoreError> {
    Ok(Channel { tenant: TenantId(tenant.into()), provider: names::provider_of(provider)?, app: app.into() })
}

async fn forget(
    connection: &mut PgConnection,
    device: DeviceId,
    generation: Generation,
    gone_since: Option<Timestamp>,
) -> Result<bool, Failure> {
    let of = "SELECT mailbox_id, shard_id FROM device JOIN mailbox USING (mailbox_id) WHERE device_id = $1";
    let Some(of): Option<(i64, i32)> = sqlx::query_as(of).bind(device.0).fetch_optional(&mut *connection).await? else { return Ok(true) };
    registry_mailboxes::lock(connection, &[of]).await?;
    let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/device_forget.sql"));
    let query = query.bind(device.0).bind(generation.0).bind(gone_since.map(|at| at.0));
    match query.fetch_optional(&mut *connection).await? {
        Some((mailbox,)) if mailbox != of.0 => return moved(),
        Some((mailbox,)) => ended(connection, mailbox, device.0, "device_gone").await?,
        None => {}
    }
    let stands: (bool,) =
        sqlx::query_as("SELECT EXISTS (SELECT 1 FROM device WHERE device_id = $1)").bind(device.0).fetch_one(connection).await?;
    Ok(!stands.0)
}

/// What follows the removal of a device row in the same transaction, whose mailbox is locked: its PENDING rows die, and with the last device the watch ends.
pub(super) async fn ended(connection: &mut PgConnection, mailbox: i64, device: i64, reason: &str) -> Result<(), Failure> {
    let query = sqlx::query(
        "UPDATE delivery SET state = 'DEAD', reason = $3, settled_at = now_micros(), item_id = NULL \
         WHERE mailbox_id = $1 AND device_id = $2 AND state = 'PENDING'",
    );
    query.bind(mailbox).bind(device).bind(reason).execute(&mut *connection).await?;
    let query = sqlx::query_as::<_, (i32,)>(
        "UPDATE mailbox SET unwatched_at = now_micros() \
         WHERE mailbox_id = $1 AND NOT EXISTS (SELECT 1 FROM device WHERE mailbox_id = $1) RETURNING shard_id",
    );
    if let Some((shard,)) = query.bind(mailbox).fetch_optional(&mut *connection).await? {
        membership_changed(connection, shard, -1).await?;
    }
    Ok(())
}

/// Tells the shard's owner to look again, with so many watched mailboxes more; conflicts with an adoption that runs meanwhile.
pub(super) async fn membership_changed(connection: &mut PgConnection, shard: i32, users: i64) -> Result<(), Failure> {
    let query = sqlx::query("UPDATE shard SET change_seq = change_seq + 1, users = users + $2 WHERE shard_id = $1");
    query.bind(shard).bind(users).execute(connection).await?;
    Ok(())
}
