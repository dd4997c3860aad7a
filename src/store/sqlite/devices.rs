//! The devices in SQLite, as the delivery of pushes sees them.

use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{DeviceId, EventKey, Generation, MailboxId, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::device_store::{DeviceNow, DeviceStore, Recipient};
use postrider_actors::ports::push_sender::{Channel, PushToken};
use postrider_actors::time::Timestamp;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::connection::{CALL, Durability, Progress, within};
use super::error::Failure;
use crate::store::names;

type RecipientRow = (i64, i64, String, String, String, Option<Vec<u8>>);
type NowRow = (i64, i64, String, String, String, String, i64, i64);

#[async_trait]
impl DeviceStore for SqliteStore {
    async fn recipients(&self, mailbox: MailboxId, events: &[EventKey]) -> Result<Vec<Recipient>, StoreError> {
        let events = serde_json::json!(events.iter().map(names::hex).collect::<Vec<_>>()).to_string();
        let query = sqlx::query_as::<_, RecipientRow>(include_str!("queries/recipients.sql")).bind(mailbox.0).bind(events);
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
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
        let wanted = serde_json::json!(devices.iter().map(|device| device.0).collect::<Vec<_>>()).to_string();
        let query = sqlx::query_as::<_, NowRow>(include_str!("queries/devices_now.sql")).bind(wanted);
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
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

fn channel(tenant: &str, provider: &str, app: &str) -> Result<Channel, StoreError> {
    Ok(Channel { tenant: TenantId(tenant.into()), provider: names::provider_of(provider)?, app: app.into() })
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
