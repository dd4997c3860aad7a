//! Mailboxes in SQLite as administrators add, see and remove them.

use std::time::Duration;

use postrider_actors::ids::{MailboxId, ShardId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_store::{DeliveryView, MailboxView};
use postrider_actors::time::Timestamp;
use sqlx::SqliteConnection;

use super::SHARDS;
use super::cluster::shard_of;
use super::devices::membership_changed;
use super::error::Failure;
use crate::store::names;

/// How long a mailbox without devices keeps its `watch_since`.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

type ViewRow = (i64, String, String, i64, i64, bool, i64, i64, i64);
pub(super) type DeliveryRow = (Vec<u8>, Option<String>, String, String, Option<String>, i64, i64, i64, i64, Option<i64>, i64);

pub(super) async fn views(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    only: Option<&Smtp>,
    after: Option<&Smtp>,
    limit: i64,
) -> Result<Vec<MailboxView>, Failure> {
    let query = sqlx::query_as::<_, ViewRow>(include_str!("queries/mailbox_view.sql"));
    let query = query.bind(&*tenant.0).bind(only.map(Smtp::as_str)).bind(after.map(Smtp::as_str)).bind(limit);
    Ok(query.fetch_all(connection).await?.into_iter().map(view).collect())
}

/// The mailbox's row and shard.
pub(super) async fn find(connection: &mut SqliteConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<(i64, i64)>, Failure> {
    let query = sqlx::query_as("SELECT mailbox_id, shard_id FROM mailbox WHERE tenant = ?1 AND smtp = ?2");
    Ok(query.bind(&*tenant.0).bind(smtp.as_str()).fetch_optional(connection).await?)
}

pub(super) async fn add(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    smtp: &Smtp,
    now: Timestamp,
) -> Result<(MailboxView, bool), Failure> {
    let there = find(connection, tenant, smtp).await?.is_some();
    if !there {
        create(connection, tenant, smtp, now).await?;
    }
    let view = views(connection, tenant, Some(smtp), None, 1).await?.pop();
    Ok((view.ok_or_else(|| StoreError::Unavailable("the mailbox vanished".into()))?, !there))
}

/// Inserts a mailbox that is not there; it is watched once it has a device.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    smtp: &Smtp,
    now: Timestamp,
) -> Result<(i64, i64), Failure> {
    let shard = i64::from(ShardId::of_address(smtp, SHARDS).0);
    let query = sqlx::query_as::<_, (i64,)>(
        "INSERT INTO mailbox (tenant, smtp, shard_id, watch_since, created_at) VALUES (?1, ?2, ?3, ?4, ?4) RETURNING mailbox_id",
    );
    let (id,) = query.bind(&*tenant.0).bind(smtp.as_str()).bind(shard).bind(now.0).fetch_one(&mut *connection).await?;
    membership_changed(connection, shard).await?;
    Ok((id, shard))
}

/// Begins the watch of a mailbox that has no device yet; one that was watched within the last 7 days goes on where it was.
pub(super) async fn begin_watch(connection: &mut SqliteConnection, mailbox: i64, now: Timestamp) -> Result<(), Failure> {
    let query = sqlx::query_as::<_, (i64,)>(
        "UPDATE mailbox SET watch_since = CASE WHEN unwatched_at >= ?3 THEN watch_since ELSE ?2 END, unwatched_at = NULL \
         WHERE mailbox_id = ?1 AND NOT EXISTS (SELECT 1 FROM device WHERE mailbox_id = ?1) RETURNING shard_id",
    );
    if let Some((shard,)) = query.bind(mailbox).bind(now.0).bind((now - KEPT).0).fetch_optional(&mut *connection).await? {
        membership_changed(connection, shard).await?;
    }
    Ok(())
}

pub(super) async fn remove(connection: &mut SqliteConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<ShardId>, Failure> {
    let Some((mailbox, shard)) = find(connection, tenant, smtp).await? else { return Ok(None) };
    end(connection, mailbox, shard).await?;
    Ok(Some(shard_of(shard)))
}

pub(super) async fn retain(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<u32, Failure> {
    let query = sqlx::query_as::<_, (i64, i64)>(
        "SELECT mailbox_id, shard_id FROM mailbox WHERE unwatched_at IS NOT NULL AND unwatched_at < ?1 ORDER BY unwatched_at LIMIT ?2",
    );
    let old = query.bind(before.0).bind(i64::from(limit)).fetch_all(&mut *connection).await?;
    for (mailbox, shard) in &old {
        end(connection, *mailbox, *shard).await?;
    }
    Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
}

/// Removes a mailbox; its devices and delivery rows go with it by their references.
async fn end(connection: &mut SqliteConnection, mailbox: i64, shard: i64) -> Result<(), Failure> {
    sqlx::query("DELETE FROM mailbox WHERE mailbox_id = ?1").bind(mailbox).execute(&mut *connection).await?;
    membership_changed(connection, shard).await
}

fn view((mailbox, tenant, smtp, shard, devices, seeded, sync_seq, since, until): ViewRow) -> MailboxView {
    MailboxView {
        mailbox: MailboxId(mailbox),
        tenant: TenantId(tenant.into()),
        smtp: Smtp::new(&smtp),
        shard: shard_of(shard),
        devices: names::count(devices),
        seeded,
        sync_seq,
        watch_since: Timestamp(since),
        announced_until: Timestamp(until),
    }
}

pub(super) fn delivery_view(row: DeliveryRow) -> Result<DeliveryView, StoreError> {
    let (event, device, kind, state, reason, count, attempts, received_at, created_at, settled_at, next_at) = row;
    Ok(DeliveryView {
        event: names::event_of(&event)?.short(),
        device,
        kind: names::kind(names::kind_of(&kind)?),
        state,
        reason,
        count: names::count(count),
        attempts: names::count(attempts),
        received_at: Timestamp(received_at),
        created_at: Timestamp(created_at),
        settled_at: settled_at.map(Timestamp),
        next_at: Timestamp(next_at),
    })
}
