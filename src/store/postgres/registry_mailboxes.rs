//! Mailboxes in PostgreSQL as administrators add, see and remove them.
//!
//! Whoever changes what a mailbox consists of locks its shard first and the mailbox then, several of each in order. Adoption does so too: what is added is in
//! what an owner loads, or moves `change_seq` after it.

use std::time::Duration;

use postrider_actors::ids::{MailboxId, ShardId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_store::{DeliveryView, MailboxView};
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;

use super::devices::membership_changed;
use super::error::Failure;
use super::{SHARDS, count, moved, number_of, shard_of};
use crate::store::names;

/// How long a mailbox without devices keeps its `watch_since`.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

type ViewRow = (i64, String, String, i32, i64, bool, i64, i64, i64);
pub(super) type DeliveryRow = (Vec<u8>, Option<String>, String, String, Option<String>, i64, i64, i64, i64, Option<i64>, i64);

/// A mailbox's row and its shard.
pub(super) type Place = (i64, i32);

pub(super) async fn views(
    connection: &mut PgConnection,
    tenant: &TenantId,
    only: Option<&Smtp>,
    after: Option<&Smtp>,
    limit: i64,
) -> Result<Vec<MailboxView>, Failure> {
    let query = sqlx::query_as::<_, ViewRow>(include_str!("queries/mailbox_view.sql"));
    let query = query.bind(&*tenant.0).bind(only.map(Smtp::as_str)).bind(after.map(Smtp::as_str)).bind(limit);
    Ok(query.fetch_all(connection).await?.into_iter().map(view).collect())
}

pub(super) async fn find(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Place>, Failure> {
    let query = sqlx::query_as("SELECT mailbox_id, shard_id FROM mailbox WHERE tenant = $1 AND smtp = $2");
    Ok(query.bind(&*tenant.0).bind(smtp.as_str()).fetch_optional(connection).await?)
}

/// Finds a mailbox and locks it; `None` if there is none.
pub(super) async fn find_locked(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Place>, Failure> {
    let Some(found) = find(connection, tenant, smtp).await? else { return Ok(None) };
    lock(connection, &[found]).await?;
    Ok(Some(found))
}

/// Locks shards in order.
pub(super) async fn lock_shards(connection: &mut PgConnection, shards: &[i32]) -> Result<(), Failure> {
    sqlx::query("SELECT shard_id FROM shard WHERE shard_id = ANY ($1) ORDER BY shard_id FOR NO KEY UPDATE")
        .bind(shards)
        .execute(connection)
        .await?;
    Ok(())
}

/// Locks the shards of mailboxes and then these. The call begins anew if one of them is not there any more.
pub(super) async fn lock(connection: &mut PgConnection, places: &[Place]) -> Result<(), Failure> {
    lock_shards(connection, &places.iter().map(|(_, shard)| *shard).collect::<Vec<_>>()).await?;
    let mut mailboxes: Vec<i64> = places.iter().map(|(mailbox, _)| *mailbox).collect();
    mailboxes.sort_unstable();
    mailboxes.dedup();
    let query = sqlx::query("SELECT mailbox_id FROM mailbox WHERE mailbox_id = ANY ($1) ORDER BY mailbox_id FOR NO KEY UPDATE");
    let locked = query.bind(&mailboxes).fetch_all(connection).await?.len();
    if locked == mailboxes.len() { Ok(()) } else { moved() }
}

pub(super) async fn add(
    connection: &mut PgConnection,
    tenant: &TenantId,
    smtp: &Smtp,
    now: Timestamp,
) -> Result<(MailboxView, bool), Failure> {
    let there = find(connection, tenant, smtp).await?.is_some();
    if !there {
        create(connection, tenant, smtp, now).await?;
    }
    match views(connection, tenant, Some(smtp), None, 1).await?.pop() {
        Some(view) => Ok((view, !there)),
        None => moved(),
    }
}

/// Inserts a mailbox that is not there, its shard locked; it is watched once it has a device. The call begins anew if somebody else was faster.
pub(super) async fn create(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp, now: Timestamp) -> Result<Place, Failure> {
    let shard = number_of(ShardId::of_address(smtp, SHARDS));
    membership_changed(connection, shard, 0).await?;
    let query = sqlx::query_as::<_, (i64,)>(
        "INSERT INTO mailbox (tenant, smtp, shard_id, watch_since, created_at) VALUES ($1, $2, $3, $4, $4) RETURNING mailbox_id",
    );
    let (id,) = query.bind(&*tenant.0).bind(smtp.as_str()).bind(shard).bind(now.0).fetch_one(connection).await?;
    Ok((id, shard))
}

/// Begins the watch of a mailbox that has no device yet; one that was watched within the last 7 days goes on where it was.
pub(super) async fn begin_watch(connection: &mut PgConnection, mailbox: i64, now: Timestamp) -> Result<(), Failure> {
    let query = sqlx::query_as::<_, (i32,)>(
        "UPDATE mailbox SET watch_since = CASE WHEN unwatched_at >= $3 THEN watch_since ELSE $2 END, unwatched_at = NULL \
         WHERE mailbox_id = $1 AND NOT EXISTS (SELECT 1 FROM device WHERE mailbox_id = $1) RETURNING shard_id",
    );
    if let Some((shard,)) = query.bind(mailbox).bind(now.0).bind((now - KEPT).0).fetch_optional(&mut *connection).await? {
        membership_changed(connection, shard, 1).await?;
    }
    Ok(())
}

pub(super) async fn remove(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<ShardId>, Failure> {
    let Some((mailbox, shard)) = find_locked(connection, tenant, smtp).await? else { return Ok(None) };
    end(connection, (mailbox, shard)).await?;
    Ok(Some(shard_of(shard)))
}

pub(super) async fn retain(connection: &mut PgConnection, before: Timestamp, limit: u32) -> Result<u32, Failure> {
    let query = sqlx::query_as::<_, Place>(
        "SELECT mailbox_id, shard_id FROM mailbox WHERE unwatched_at IS NOT NULL AND unwatched_at < $1 ORDER BY unwatched_at LIMIT $2",
    );
    let old = query.bind(before.0).bind(i64::from(limit)).fetch_all(&mut *connection).await?;
    if old.is_empty() {
        return Ok(0);
    }
    lock(connection, &old).await?;
    let query = sqlx::query_as::<_, Place>("SELECT mailbox_id, shard_id FROM mailbox WHERE mailbox_id = ANY ($1) AND unwatched_at < $2");
    let ids: Vec<i64> = old.iter().map(|(mailbox, _)| *mailbox).collect();
    let old = query.bind(ids).bind(before.0).fetch_all(&mut *connection).await?;
    for place in &old {
        end(connection, *place).await?;
    }
    Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
}

/// Removes a mailbox that is locked; its devices and delivery rows go with it by their references.
async fn end(connection: &mut PgConnection, (mailbox, shard): Place) -> Result<(), Failure> {
    let query = sqlx::query_as::<_, (bool,)>("SELECT EXISTS (SELECT 1 FROM device WHERE mailbox_id = $1)");
    let (watched,) = query.bind(mailbox).fetch_one(&mut *connection).await?;
    sqlx::query("DELETE FROM mailbox WHERE mailbox_id = $1").bind(mailbox).execute(&mut *connection).await?;
    membership_changed(connection, shard, -i64::from(watched)).await
}

fn view((mailbox, tenant, smtp, shard, devices, seeded, sync_seq, since, until): ViewRow) -> MailboxView {
    MailboxView {
        mailbox: MailboxId(mailbox),
        tenant: TenantId(tenant.into()),
        smtp: Smtp::new(&smtp),
        shard: shard_of(shard),
        devices: count(devices),
        seeded,
        sync_seq,
        watch_since: Timestamp(since),
        announced_until: Timestamp(until),
    }
}

pub(super) fn delivery_view(row: DeliveryRow) -> Result<DeliveryView, StoreError> {
    let (event, device, kind, state, reason, mails, attempts, received_at, created_at, settled_at, next_at) = row;
    Ok(DeliveryView {
        event: names::event_of(&event)?.short(),
        device,
        kind: names::kind(names::kind_of(&kind)?),
        state,
        reason,
        count: count(mails),
        attempts: count(attempts),
        received_at: Timestamp(received_at),
        created_at: Timestamp(created_at),
        settled_at: settled_at.map(Timestamp),
        next_at: Timestamp(next_at),
    })
}
