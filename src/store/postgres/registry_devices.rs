//! Devices in PostgreSQL as their users register, see and remove them.

use std::time::Duration;

use postrider_actors::ids::{DeviceId, Generation, MailboxId, ShardId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_store::{DeviceView, MAX_DEVICES, Registered, Registration};
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;

use super::error::Failure;
use super::registry_mailboxes::{self, Place};
use super::{SHARDS, devices, moved, number_of, shard_of};
use crate::store::names;

type ViewRow = (i64, String, String, String, i64, i64, i64, i64);

/// The device that holds a token, with its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    device: i64,
    of: Place,
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What became of it, and the mailbox whose device lost the token.
pub(super) async fn register(
    connection: &mut PgConnection,
    new: &Registration,
    now: Timestamp,
) -> Result<(Registered, Option<MailboxId>), Failure> {
    let Some((known, holder)) = locked(connection, new).await? else { return Ok((Registered::NoMailbox, None)) };
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
        Some(holder) if created && holder.of.0 == mailbox => {
            let query = sqlx::query("UPDATE device SET name = $2 WHERE device_id = $1");
            query.bind(holder.device).bind(&*new.name).execute(&mut *connection).await?;
            None
        }
        holder => holder,
    };
    if let Some(holder) = holder {
        sqlx::query("DELETE FROM device WHERE device_id = $1").bind(holder.device).execute(&mut *connection).await?;
    }
    let query = sqlx::query(include_str!("queries/device_upsert.sql")).bind(mailbox).bind(&*new.name).bind(new.provider.as_str());
    let query = query.bind(&*new.app).bind(&*new.token.0).bind(now.0).bind(micros(new.cutoff));
    query.execute(&mut *connection).await?;
    if let Some(holder) = holder {
        // After the insert: a device that takes over a sibling's token does not end the watch of its mailbox.
        devices::ended(connection, holder.of.0, holder.device, "token_moved").await?;
    }
    let left = holder.map(|holder| MailboxId(holder.of.0));
    Ok((Registered::Done { mailbox: MailboxId(mailbox), shard: shard_of(shard), created }, left))
}

/// The mailbox of a registration and whoever holds its token now (unless it is this very device), all of them locked; `None` if there is no mailbox and none may be made.
async fn locked(connection: &mut PgConnection, new: &Registration) -> Result<Option<(Option<Place>, Option<Holder>)>, Failure> {
    stand_in_line(connection, new).await?;
    let known = registry_mailboxes::find(connection, &new.tenant, &new.smtp).await?;
    if known.is_none() && !new.create_mailbox {
        return Ok(None);
    }
    let holder = holder(connection, new, known).await?;
    let fresh = (0, number_of(ShardId::of_address(&new.smtp, SHARDS)));
    let shards: Vec<i32> =
        [Some(known.unwrap_or(fresh)), holder.map(|holder| holder.of)].into_iter().flatten().map(|(_, shard)| shard).collect();
    registry_mailboxes::lock_shards(connection, &shards).await?;
    let places: Vec<Place> = known.into_iter().chain(holder.map(|holder| holder.of)).collect();
    registry_mailboxes::lock(connection, &places).await?;
    // Read again under the locks: whoever had them may have changed what was seen.
    let again = registry_mailboxes::find(connection, &new.tenant, &new.smtp).await?;
    if again != known || self::holder(connection, new, known).await? != holder {
        return moved();
    }
    Ok(Some((known, holder)))
}

/// Registrations of one token follow one another, so that the token never has two rows. Always the first lock: no others are waited for in the other order.
async fn stand_in_line(connection: &mut PgConnection, new: &Registration) -> Result<(), Failure> {
    let token = format!("{}\n{}\n{}\n{}", new.tenant.0, new.provider.as_str(), new.app, new.token.0);
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(token).execute(connection).await?;
    Ok(())
}

async fn holder(connection: &mut PgConnection, new: &Registration, known: Option<Place>) -> Result<Option<Holder>, Failure> {
    let query = sqlx::query_as::<_, (i64, i64, i32)>(
        "SELECT device_id, mailbox_id, shard_id FROM device JOIN mailbox USING (mailbox_id) \
         WHERE app = $1 AND token = $2 AND NOT (mailbox_id IS NOT DISTINCT FROM $3 AND name = $4) AND tenant = $5 AND provider = $6",
    );
    let query = query.bind(&*new.app).bind(&*new.token.0).bind(known.map(|(mailbox, _)| mailbox)).bind(&*new.name);
    let query = query.bind(&*new.tenant.0).bind(new.provider.as_str());
    let row = query.fetch_optional(connection).await?;
    Ok(row.map(|(device, mailbox, shard)| Holder { device, of: (mailbox, shard) }))
}

/// Whether a device of that name would be new (`true`) or is there (`false`); `None` if there is no room for it.
async fn place(connection: &mut PgConnection, mailbox: i64, name: &str, leaving: Option<Holder>) -> Result<Option<bool>, Failure> {
    let query = sqlx::query_as::<_, (bool, i64)>(
        "SELECT coalesce(bool_or(name = $2), false), count(*) FROM device WHERE mailbox_id = $1 AND device_id IS DISTINCT FROM $3",
    );
    let query = query.bind(mailbox).bind(name).bind(leaving.map(|holder| holder.device));
    let (there, others) = query.fetch_one(connection).await?;
    let full = usize::try_from(others).unwrap_or(usize::MAX) >= MAX_DEVICES;
    Ok((there || !full).then_some(!there))
}

pub(super) async fn remove(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp, name: &str) -> Result<Option<ShardId>, Failure> {
    let Some((mailbox, shard)) = registry_mailboxes::find_locked(connection, tenant, smtp).await? else { return Ok(None) };
    let query = sqlx::query_as::<_, (i64,)>("DELETE FROM device WHERE mailbox_id = $1 AND name = $2 RETURNING device_id");
    let Some((device,)) = query.bind(mailbox).bind(name).fetch_optional(&mut *connection).await? else { return Ok(None) };
    devices::ended(connection, mailbox, device, "device_removed").await?;
    Ok(Some(shard_of(shard)))
}

pub(super) async fn list(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, Failure> {
    let Some((mailbox, _)) = registry_mailboxes::find(connection, tenant, smtp).await? else { return Ok(None) };
    let query = sqlx::query_as::<_, ViewRow>(
        "SELECT device_id, name, provider, app, generation, registered_at, last_activity, cutoff FROM device \
         WHERE mailbox_id = $1 ORDER BY device_id",
    );
    let rows = query.bind(mailbox).fetch_all(connection).await?;
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
