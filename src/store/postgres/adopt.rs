//! A shard's mailboxes: stamped by its owner, or looked at by whoever is to become it.

use std::sync::Arc;

use postrider_actors::ids::{Authority, MailboxId, Session, ShardId, Smtp, TenantId};
use postrider_actors::ports::cluster_store::{AdoptedShard, OwnedMailbox};
use postrider_actors::ports::mail_source::MailboxRef;
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;

use super::error::Failure;
use super::number_of;

type OwnedRow = (i64, String, String, bool, bool, bool, i64);

/// Locks the shard, stamps its mailboxes, loads them. A batch of a former owner that is under way is waited for; one that comes later finds other stamps.
pub(super) async fn adopt(connection: &mut PgConnection, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, Failure> {
    let Authority { fence, session } = authority;
    let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/shard_owned.sql")).bind(number_of(shard)).bind(fence.0).bind(session.0);
    let Some((change_seq,)) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let query = sqlx::query(include_str!("queries/shard_stamp.sql")).bind(number_of(shard)).bind(fence.0).bind(session.0);
    query.execute(&mut *connection).await?;
    Ok(Some(AdoptedShard { change_seq, mailboxes: watched(connection, shard).await? }))
}

/// Loads a shard that is to become ours, without a stamp.
pub(super) async fn peek(connection: &mut PgConnection, shard: ShardId, session: Session) -> Result<Option<AdoptedShard>, Failure> {
    let query = sqlx::query_as::<_, (i64,)>("SELECT change_seq FROM shard WHERE shard_id = $1 AND target_session = $2");
    let found = query.bind(number_of(shard)).bind(session.0).fetch_optional(&mut *connection).await?;
    let Some((change_seq,)) = found else { return Ok(None) };
    Ok(Some(AdoptedShard { change_seq, mailboxes: watched(connection, shard).await? }))
}

async fn watched(connection: &mut PgConnection, shard: ShardId) -> Result<Vec<OwnedMailbox>, Failure> {
    let query = sqlx::query_as::<_, OwnedRow>(include_str!("queries/shard_load.sql")).bind(number_of(shard));
    Ok(query.fetch_all(connection).await?.into_iter().map(owned_mailbox).collect())
}

fn owned_mailbox((id, tenant, smtp, seeded, badge_dirty, pending, announced_until): OwnedRow) -> OwnedMailbox {
    OwnedMailbox {
        mailbox: MailboxRef { id: MailboxId(id), tenant: TenantId(tenant.into()), smtp: Arc::new(Smtp::new(&smtp)) },
        seeded,
        badge_dirty,
        pending,
        announced_until: Timestamp(announced_until),
    }
}
