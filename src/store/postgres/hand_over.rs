//! Planned moves: the receiver says that it is ready, the owner hands over.

use postrider_actors::ids::{Fence, Session, ShardId};
use postrider_actors::ports::cluster_store::Reason;
use sqlx::PgConnection;

use super::error::Failure;
use super::membership::alive;
use super::ownership::{Change, Cluster, assign};
use super::{number_of, shard_of};

/// Notes that the receiver waits for these shards, where they are still to become its own.
pub(super) async fn ready(connection: &mut PgConnection, session: Session, shards: &[ShardId]) -> Result<(), Failure> {
    let shards: Vec<i32> = shards.iter().map(|shard| number_of(*shard)).collect();
    let query = sqlx::query(include_str!("queries/ready.sql"));
    query.bind(session.0).bind(shards).execute(connection).await?;
    Ok(())
}

/// Hands those over that may go; says which.
pub(super) async fn hand_over(
    connection: &mut PgConnection,
    session: Session,
    shards: &[(ShardId, Fence)],
) -> Result<Vec<ShardId>, Failure> {
    // No owner, epoch, target or state of a node changes from here on.
    let cluster = Cluster::lock(connection).await?;
    if !alive(connection, session).await? {
        return Ok(Vec::new());
    }
    let numbers: Vec<i32> = shards.iter().map(|(shard, _)| number_of(*shard)).collect();
    let epochs: Vec<i64> = shards.iter().map(|(_, epoch)| epoch.0).collect();
    let query = sqlx::query_as::<_, (i64,)>(
        "SELECT session FROM node WHERE state = 'GOOD' AND session IN (SELECT target_session FROM shard WHERE shard_id = ANY ($1))",
    );
    let good: Vec<i64> = query.bind(&numbers).fetch_all(&mut *connection).await?.into_iter().map(|(session,)| session).collect();
    let query = sqlx::query_as::<_, (i32, i64)>(include_str!("queries/hand_over.sql"));
    let going = query.bind(numbers).bind(epochs).bind(session.0).bind(good).fetch_all(&mut *connection).await?;
    if going.is_empty() {
        return Ok(Vec::new());
    }
    let change = |(shard, to): &(i32, i64)| Change { shard: shard_of(*shard), to: Some(Session(*to)), reason: Reason::HandOver };
    let at = cluster.advance(connection).await?;
    assign(connection, at, session, &going.iter().map(change).collect::<Vec<_>>()).await?;
    Ok(going.into_iter().map(|(shard, _)| shard_of(shard)).collect())
}
