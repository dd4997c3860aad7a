//! Devices in SQLite as their users register, see and remove them.

use std::time::Duration;

use postrider_actors::ids::{DeviceId, Generation, MailboxId, ShardId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_change::Of;
use postrider_actors::ports::registry_store::{DeviceView, MAX_DEVICES, Registered, Registration};
use postrider_actors::time::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};

use super::cluster::shard_of;
use super::error::Failure;
use super::{devices, registry_mailboxes};
use crate::store::names;

type ViewRow = (i64, String, String, String, i64, i64, i64, i64);

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What became of it, and the mailbox whose device lost the token.
pub(super) async fn register(
    connection: &mut SqliteConnection,
    new: &Registration,
    now: Timestamp,
) -> Result<(Registered, Option<MailboxId>), Failure> {
    let known = registry_mailboxes::find(connection, &new.tenant, &new.smtp).await?;
    if known.is_none() && !new.create_mailbox {
        return Ok((Registered::NoMailbox, None));
    }
    // Whoever holds the token now, unless it is this very device.
    let query = sqlx::query_as::<_, (i64, i64)>(
        "SELECT device_id, mailbox_id FROM device JOIN mailbox USING (mailbox_id) \
         WHERE app = ?1 AND token = ?2 AND NOT (mailbox_id IS ?3 AND name = ?4) AND tenant = ?5 AND provider = ?6",
    );
    let query = query.bind(&*new.app).bind(&*new.token.0).bind(known.map(|(mailbox, _)| mailbox)).bind(&*new.name);
    let query = query.bind(&*new.tenant.0).bind(new.provider.as_str());
    let holder = query.fetch_optional(&mut *connection).await?;
    let created = match known {
        Some((mailbox, _)) => match place(connection, mailbox, &new.name, holder).await? {
            Some(created) => created,
            None => return Ok((Registered::TooManyDevices, None)),
        },
        None => true,
    };
    let (mailbox, shard) = match known {
        Some(known) => known,
        None => registry_mailboxes::create(connection, &new.tenant, &new.smtp, now).await?,
    };
    registry_mailboxes::begin_watch(connection, mailbox, now).await?;
    let holder = match holder {
        // Only its name changed: it stays the row it is, with what is still to be pushed to it.
        Some((device, of)) if created && of == mailbox => {
            let query = sqlx::query("UPDATE device SET name = ?2 WHERE device_id = ?1");
            query.bind(device).bind(&*new.name).execute(&mut *connection).await?;
            None
        }
        holder => holder,
    };
    if let Some((device, _)) = holder {
        sqlx::query("DELETE FROM device WHERE device_id = ?1").bind(device).execute(&mut *connection).await?;
    }
    let query = sqlx::query(include_str!("queries/device_upsert.sql")).bind(mailbox).bind(&*new.name).bind(new.provider.as_str());
    let query = query.bind(&*new.app).bind(&*new.token.0).bind(now.0).bind(micros(new.cutoff));
    query.execute(&mut *connection).await?;
    if let Some((device, former)) = holder {
        // After the insert: a device that takes over a sibling's token does not end the watch of its mailbox.
        devices::ended(connection, former, device, "token_moved", now).await?;
    }
    let left = holder.map(|(_, former)| MailboxId(former));
    Ok((Registered::Done { mailbox: MailboxId(mailbox), shard: shard_of(shard), created }, left))
}

/// Whether a device of that name would be new (`true`) or is there (`false`); `None` if there is no room for it.
async fn place(connection: &mut SqliteConnection, mailbox: i64, name: &str, leaving: Option<(i64, i64)>) -> Result<Option<bool>, Failure> {
    let query = sqlx::query_as::<_, (bool, i64)>(
        "SELECT coalesce(max(name = ?2), 0), count(*) FROM device WHERE mailbox_id = ?1 AND device_id IS NOT ?3",
    );
    let query = query.bind(mailbox).bind(name).bind(leaving.map(|(device, _)| device));
    let (there, others) = query.fetch_one(connection).await?;
    let full = usize::try_from(others).unwrap_or(usize::MAX) >= MAX_DEVICES;
    Ok((there || !full).then_some(!there))
}

/// Sets one column of a device; `assignment` names `?4`.
pub(super) async fn set(connection: &mut SqliteConnection, of: &Of<'_>, assignment: &'static str, value: i64) -> Result<bool, Failure> {
    let sql = format!(
        "UPDATE device SET {assignment} \
         WHERE mailbox_id = (SELECT mailbox_id FROM mailbox WHERE tenant = ?1 AND smtp = ?2) AND name = ?3"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(&*of.tenant.0).bind(of.smtp.as_str()).bind(of.name).bind(value);
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

pub(super) async fn remove(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    smtp: &Smtp,
    name: &str,
    now: Timestamp,
) -> Result<Option<ShardId>, Failure> {
    let Some((mailbox, shard)) = registry_mailboxes::find(connection, tenant, smtp).await? else { return Ok(None) };
    let query = sqlx::query_as::<_, (i64,)>("DELETE FROM device WHERE mailbox_id = ?1 AND name = ?2 RETURNING device_id");
    let Some((device,)) = query.bind(mailbox).bind(name).fetch_optional(&mut *connection).await? else { return Ok(None) };
    devices::ended(connection, mailbox, device, "device_removed", now).await?;
    Ok(Some(shard_of(shard)))
}

pub(super) async fn list(readers: &SqlitePool, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, Failure> {
    let mut connection = readers.acquire().await?;
    let Some((mailbox, _)) = registry_mailboxes::find(&mut connection, tenant, smtp).await? else { return Ok(None) };
    let query = sqlx::query_as::<_, ViewRow>(
        "SELECT device_id, name, provider, app, generation, registered_at, last_activity, cutoff FROM device \
         WHERE mailbox_id = ?1 ORDER BY device_id",
    );
    let rows = query.bind(mailbox).fetch_all(&mut *connection).await?;
    Ok(Some(rows.into_iter().map(view).collect::<Result<_, StoreError>>()?))
}

fn view((device, name, provider, app, generation, registered_at, last_activity, cutoff): ViewRow) -> Result<DeviceView, StoreError> {
    Ok(DeviceView {
        device: DeviceId(device),
        name,
        provider: names::provider_of(&provider)?,
        app: app.into(),
        generation: Generation(generation),
        registered_at: Timestamp(registered_at),
        last_activity: Timestamp(last_activity),
        cutoff: Duration::from_micros(u64::try_from(cutoff).unwrap_or(0)),
    })
}
