//! Joining, beating, draining and leaving.

use std::time::Duration;

use postrider_actors::ids::{Fence, NodeId, Session, ShardId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{Beat, History, Incoming, Join, Joined, Manner, Reason, ShardSeen, Target};
use postrider_actors::snapshot::NodeState;
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::call::{Progress, timed};
use super::error::{Failure, Remedy};
use super::ownership::{Change, Cluster, assign, refuse_other};
use super::{PostgresStore, number_of, pulse, shard_of};
use crate::store::row::row;
use crate::telemetry::metrics::Statement;

/// How long the row of a node that left, or was judged, is shown.
const FORMER_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn join(connection: &mut PgConnection, join: &Join) -> Result<Joined, Failure> {
    let cluster = Cluster::lock(connection).await?;
    let query = sqlx::query_as::<_, (i64, String, i64)>("SELECT session, state, hb_seq FROM node WHERE node_id = $1 FOR UPDATE");
    if let Some((session, state, hb_seq)) = query.bind(&*join.node.0).fetch_optional(&mut *connection).await? {
        let (session, over) = (Session(session), matches!(&*state, "LEFT" | "BAD"));
        // A session joins once: a request that the network held back neither sets it back nor brings it back.
        if session == join.session && !over {
            let (now,) = sqlx::query_as::<_, (i64,)>("SELECT now_micros()").fetch_one(&mut *connection).await?;
            return Ok(Joined::Done { history: cluster.history, now: Timestamp(now), manner: Manner::Shared });
        }
        if session == join.session {
            return Ok(Joined::Over);
        }
        if !over && join.replaces != Some((session, hb_seq)) {
            return Ok(Joined::Occupied { session, hb_seq });
        }
    }
    let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/join.sql"));
    let query = query.bind(&*join.node.0).bind(join.session.0).bind(i64::from(join.weight)).bind(i64::from(join.max_users));
    let query = query.bind(join.features.to_string()).bind(&*join.version).bind(&*join.addr);
    let (now,) = query.fetch_one(&mut *connection).await?;
    forget_former(connection).await?;
    cluster.record(connection).await?;
    Ok(Joined::Done { history: cluster.history, now: Timestamp(now), manner: Manner::Shared })
}

/// Removes the rows of nodes that are over for long: where every process has a name of its own there would be more and more of them, and everybody reads them all.
async fn forget_former(connection: &mut PgConnection) -> Result<(), Failure> {
    let query = sqlx::query(
        "DELETE FROM node WHERE state IN ('LEFT', 'BAD') AND hb_at < now_micros() - $1 \
         AND NOT EXISTS (SELECT 1 FROM shard WHERE owner_session = session OR target_session = session)",
    );
    query.bind(i64::try_from(FORMER_KEPT.as_micros()).unwrap_or(i64::MAX)).execute(connection).await?;
    Ok(())
}

pub(super) async fn enter(connection: &mut PgConnection, node: &NodeId, session: Session) -> Result<bool, Failure> {
    let query = sqlx::query(
        "UPDATE node SET state = CASE state WHEN 'JOINING' THEN 'GOOD' ELSE state END \
         WHERE node_id = $1 AND session = $2 AND state IN ('JOINING', 'GOOD', 'DRAINING')",
    );
    Ok(query.bind(&*node.0).bind(session.0).execute(connection).await?.rows_affected() == 1)
}

row! {
    /// Everything that a heartbeat brings back, in one row.
    struct BeatRow from PgRow {
        hb_seq: Option<i64>,
        state: Option<String>,
        assign_ver: i64,
        sending_allowed: bool,
        now: i64,
        system_id: String,
        tli: i64,
        shards: Vec<i32>,
        epochs: Vec<i64>,
        changes: Vec<i64>,
        owners: Vec<Option<i64>>,
        targets: Vec<Option<i64>>,
        ready: Vec<bool>,
        users: i64,
    }
}

/// One heartbeat on the connection of its own.
pub(super) async fn beat(store: &PostgresStore, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError> {
    let progress = Progress::default();
    timed(Statement::Write, pulse::HEARTBEAT, &progress, async {
        let mut turn = store.inner.pulse.turn().await?;
        let held = turn.held();
        progress.commits(true);
        let query = sqlx::query_as::<_, BeatRow>(include_str!("queries/beat.sql")).bind(&*node.0).bind(session.0).bind(i64::from(users));
        let query = query.bind(&*held.history.system_id).bind(i64::from(held.history.timeline));
        let answer = query.fetch_one(&mut held.connection).await.map_err(Failure::from);
        let row = answer.inspect_err(|failure| store.notice(failure))?;
        let history = held.history.clone();
        if row.hb_seq.is_some() && row.tli < i64::from(history.timeline) {
            // Promoted since: a copy from before that is to be known as one.
            let query = sqlx::query("UPDATE cluster SET tli = $1 WHERE tli < $1").bind(i64::from(history.timeline));
            query.execute(&mut held.connection).await?;
        }
        turn.give_back();
        Ok(beaten(row, history, session)?)
    })
    .await
}

fn beaten(row: BeatRow, history: History, session: Session) -> Result<Option<Beat>, StoreError> {
    let accepted = History { system_id: row.system_id.as_str().into(), timeline: u32::try_from(row.tli).unwrap_or(0) };
    refuse_other(&accepted, &history)?;
    let (Some(hb_seq), Some(state)) = (row.hb_seq, row.state) else { return Ok(None) };
    let (mut shards, mut incoming) = (Vec::new(), Vec::new());
    for (place, number) in row.shards.iter().enumerate() {
        let (shard, epoch, ready) = (shard_of(*number), Fence(row.epochs[place]), row.ready[place]);
        if row.owners[place] == Some(session.0) {
            let target = row.targets[place].map(|target| Target { session: Session(target), ready });
            shards.push(ShardSeen { shard, epoch, change_seq: row.changes[place], target });
        }
        if row.targets[place] == Some(session.0) {
            incoming.push(Incoming { shard, epoch, ready });
        }
    }
    Ok(Some(Beat {
        hb_seq,
        state: NodeState::parse(&state).unwrap_or(NodeState::Good),
        assign_ver: row.assign_ver,
        sending_allowed: row.sending_allowed,
        now: Timestamp(row.now),
        history,
        shards,
        users: row.users.unsigned_abs(),
        incoming,
    }))
}

impl PostgresStore {
    /// A connection that was cut says that others to the same server were cut as well.
    pub(super) fn notice(&self, failure: &Failure) {
        if failure.remedy() == Remedy::Reconnect {
            self.pool().flush();
        }
    }
}

/// Under the lock of ownership, as every change of a node's state but its becoming GOOD: whoever changes ownership need not lock the rows of nodes for what it
/// read of them to stay true, and no heartbeat ever waits for it.
pub(super) async fn drain(connection: &mut PgConnection, node: &NodeId) -> Result<bool, Failure> {
    Cluster::lock(connection).await?;
    let query = sqlx::query("UPDATE node SET state = 'DRAINING' WHERE node_id = $1 AND state IN ('GOOD', 'DRAINING')");
    Ok(query.bind(&*node.0).execute(connection).await?.rows_affected() == 1)
}

pub(super) async fn leave(connection: &mut PgConnection, node: &NodeId, session: Session) -> Result<(), Failure> {
    let cluster = Cluster::lock(connection).await?;
    let owned = owned(connection, session).await?;
    if !owned.is_empty() {
        let at = cluster.advance(connection).await?;
        let change = |shard| Change { shard, to: None, reason: Reason::Leave };
        assign(connection, at, session, &owned.into_iter().map(change).collect::<Vec<_>>()).await?;
    }
    let query =
        sqlx::query("UPDATE node SET state = 'LEFT' WHERE node_id = $1 AND session = $2 AND state IN ('JOINING', 'GOOD', 'DRAINING')");
    query.bind(&*node.0).bind(session.0).execute(connection).await?;
    Ok(())
}

/// The shards of a session, locked in order.
pub(super) async fn owned(connection: &mut PgConnection, session: Session) -> Result<Vec<ShardId>, Failure> {
    let query = sqlx::query_as::<_, (i32,)>("SELECT shard_id FROM shard WHERE owner_session = $1 ORDER BY shard_id FOR NO KEY UPDATE");
    let rows = query.bind(session.0).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(shard,)| shard_of(shard)).collect())
}

/// Whether the session may act; with ownership locked it stays so until the transaction ends. See [`drain`].
pub(super) async fn alive(connection: &mut PgConnection, session: Session) -> Result<bool, Failure> {
    let query = sqlx::query_as::<_, (i64,)>("SELECT session FROM node WHERE session = $1 AND state IN ('GOOD', 'DRAINING')");
    Ok(query.bind(session.0).fetch_optional(connection).await?.is_some())
}

/// New epochs for all that the session owns, or for those of these shards; plans for them stay.
pub(super) async fn reclaim(connection: &mut PgConnection, session: Session, shards: Option<&[ShardId]>) -> Result<(), Failure> {
    let cluster = Cluster::lock(connection).await?;
    if !alive(connection, session).await? {
        return Ok(());
    }
    let mut owned = owned(connection, session).await?;
    owned.retain(|shard| shards.is_none_or(|shards| shards.contains(shard)));
    if owned.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i32> = owned.iter().map(|shard| number_of(*shard)).collect();
    let (version, epoch) = cluster.advance(connection).await?;
    let change = |shard| Change { shard, to: Some(session), reason: Reason::Reclaim };
    super::ownership::log(connection, (version, epoch), session, &owned.into_iter().map(change).collect::<Vec<_>>()).await?;
    let query = sqlx::query("UPDATE shard SET epoch = $1, moved_ver = $2 WHERE owner_session = $3 AND shard_id = ANY ($4)");
    query.bind(epoch.0).bind(version).bind(session.0).bind(numbers).execute(connection).await?;
    Ok(())
}

/// All shards require the feature from here on.
pub(super) async fn require(connection: &mut PgConnection, feature: &str) -> Result<(), Failure> {
    use postrider_actors::ports::cluster_store::Features;
    let cluster = Cluster::lock(connection).await?;
    let required: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT requires FROM shard").fetch_all(&mut *connection).await?;
    for (before,) in required {
        let after = Features::parse(&format!("{before},{feature}")).to_string();
        let query = sqlx::query("UPDATE shard SET requires = $2 WHERE requires = $1 AND requires <> $2");
        query.bind(before).bind(after).execute(&mut *connection).await?;
    }
    cluster.advance(connection).await?;
    Ok(())
}

/// An operator takes the database for what it is; pushes wait until they are allowed.
pub(super) async fn accept(connection: &mut PgConnection) -> Result<History, Failure> {
    let cluster = Cluster::lock_any(connection).await?;
    if !cluster.is_accepted() {
        cluster.record(connection).await?;
        sqlx::query("UPDATE cluster SET sending_allowed = false").execute(connection).await?;
    }
    Ok(cluster.history)
}

pub(super) async fn lead(connection: &mut PgConnection, session: Session, seen: Option<Session>) -> Result<bool, Failure> {
    let query = sqlx::query(
        "UPDATE cluster SET leader_session = $1 WHERE id = 1 AND leader_session IS NOT DISTINCT FROM $2 \
         AND EXISTS (SELECT 1 FROM node WHERE session = $1 AND state = 'GOOD')",
    );
    Ok(query.bind(session.0).bind(seen.map(|seen| seen.0)).execute(connection).await?.rows_affected() == 1)
}
