//! Looking at membership and ownership: for leaders, observers and people.

use postrider_actors::ids::{Fence, NodeId, Session};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{AssignLine, ClusterView, Depth, Features, History, NodeSeen, ShardView, Target};
use postrider_actors::snapshot::NodeState;
use postrider_actors::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, PgConnection};

use super::call::{Progress, reading, timed};
use super::error::Failure;
use super::pulse;
use super::{PostgresStore, count, shard_of};
use crate::store::row::row;
use crate::telemetry::metrics::Statement;

row! {
    struct NodeRow from PgRow {
        node_id: String,
        session: i64,
        state: String,
        hb_seq: i64,
        hb_at: i64,
        weight: i64,
        max_users: i64,
        users: i64,
        features: String,
        version: String,
        addr: String,
    }
}

row! {
    struct ShardRow from PgRow {
        shard_id: i32,
        owner_session: Option<i64>,
        epoch: i64,
        target_session: Option<i64>,
        ready: bool,
        users: i64,
        requires: String,
    }
}

type LogRow = (i64, Option<String>, String, Option<i32>, Option<String>, Option<String>, i64, i64);

/// Everything at one moment: one transaction that sees one snapshot.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Looks on the observers' own connection: nobody else's work stands before an observer's poll, and the connection's number tells a reconnect. No heartbeat waits for a look.
pub(super) async fn view(store: &PostgresStore, depth: Depth) -> Result<ClusterView, StoreError> {
    timed(Statement::Read, pulse::HEARTBEAT, &Progress::default(), async {
        let mut turn = store.inner.looks.turn().await?;
        let held = turn.held();
        let (link, history) = (held.link, held.history.clone());
        let view = look(&mut held.connection, depth, link, history).await.inspect_err(|failure| store.notice(failure))?;
        turn.give_back();
        Ok(view)
    })
    .await
}

/// The same for people, through the pool; its link says nothing.
pub(super) async fn for_people(store: &PostgresStore, depth: Depth) -> Result<ClusterView, StoreError> {
    let people = store.people();
    reading!(people, |connection| {
        let (_, found) = super::ownership::histories(connection).await?;
        look(connection, depth, 0, found).await?
    })
}

async fn look(connection: &mut PgConnection, depth: Depth, link: u64, history: History) -> Result<ClusterView, Failure> {
    connection.execute(BEGIN).await?;
    let (assign_ver, leader, sending_allowed, now): (i64, Option<i64>, bool, i64) =
        sqlx::query_as("SELECT assign_ver, leader_session, sending_allowed, now_micros() FROM cluster").fetch_one(&mut *connection).await?;
    let query = sqlx::query_as::<_, NodeRow>(
        "SELECT node_id, session, state, hb_seq, hb_at, weight, max_users, users, features, version, addr FROM node \
         WHERE $1 OR session = $2 ORDER BY node_id",
    );
    let nodes = query.bind(depth != Depth::Leader).bind(leader).fetch_all(&mut *connection).await?;
    let shards = if depth == Depth::Shards { shards(connection).await? } else { Vec::new() };
    connection.execute("COMMIT").await?;
    Ok(ClusterView {
        assign_ver,
        leader: leader.map(Session),
        history,
        link,
        sending_allowed,
        now: Timestamp(now),
        nodes: nodes.into_iter().map(node_seen).collect(),
        shards,
    })
}

async fn shards(connection: &mut PgConnection) -> Result<Vec<ShardView>, Failure> {
    let query = "SELECT shard_id, owner_session, epoch, target_session, coalesce(ready_session = target_session, false) AS ready, users, requires \
         FROM shard ORDER BY shard_id";
    let rows: Vec<ShardRow> = sqlx::query_as(query).fetch_all(connection).await?;
    // Almost all of them require the same.
    let mut last = (String::new(), Features::default());
    let view = |row: ShardRow| {
        if last.0 != row.requires {
            last = (row.requires.clone(), Features::parse(&row.requires));
        }
        ShardView {
            shard: shard_of(row.shard_id),
            owner: row.owner_session.map(Session),
            epoch: Fence(row.epoch),
            target: row.target_session.map(|session| Target { session: Session(session), ready: row.ready }),
            users: count(row.users),
            requires: last.1.clone(),
        }
    };
    Ok(rows.into_iter().map(view).collect())
}

fn node_seen(row: NodeRow) -> NodeSeen {
    NodeSeen {
        node: NodeId(row.node_id.into()),
        session: Session(row.session),
        state: NodeState::parse(&row.state).unwrap_or(NodeState::Bad),
        hb_seq: row.hb_seq,
        hb_at: Timestamp(row.hb_at),
        weight: count(row.weight),
        max_users: count(row.max_users),
        users: count(row.users),
        features: Features::parse(&row.features),
        version: row.version,
        addr: row.addr,
    }
}

pub(super) async fn assign_log(connection: &mut PgConnection, limit: u32) -> Result<Vec<AssignLine>, Failure> {
    let query = "SELECT ver, by_node, reason, shard_id, from_node, to_node, epoch, at FROM assign_log ORDER BY ver DESC, shard_id LIMIT $1";
    let rows: Vec<LogRow> = sqlx::query_as(query).bind(i64::from(limit)).fetch_all(connection).await?;
    let name = |node: Option<String>| node.map(|node| NodeId(node.into()));
    let line = |(ver, by, reason, shard, from, to, epoch, at): LogRow| AssignLine {
        ver,
        by: name(by),
        reason,
        shard: shard.map(shard_of),
        from: name(from),
        to: name(to),
        epoch: Fence(epoch),
        at: Timestamp(at),
    };
    Ok(rows.into_iter().map(line).collect())
}
