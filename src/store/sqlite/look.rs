//! Looking at membership and ownership in SQLite, for people.

use postrider_actors::ids::{Fence, NodeId, Session};
use postrider_actors::ports::cluster_store::{AssignLine, ClusterView, Depth, Features, History, NodeSeen, ShardView};
use postrider_actors::snapshot::NodeState;
use postrider_actors::time::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::cluster::shard_of;
use super::error::Failure;
use crate::store::row::row;

row! {
    struct NodeRow from SqliteRow {
        node_id: String,
        session: i64,
        state: String,
        hb_seq: i64,
        hb_at: i64,
        weight: u32,
        max_users: u32,
        users: u32,
        features: String,
        version: String,
        addr: String,
    }
}

type LogRow = (i64, Option<String>, String, Option<i64>, Option<String>, Option<String>, i64, i64);

pub(super) async fn history(connection: &mut SqliteConnection) -> Result<History, Failure> {
    let (system_id,): (String,) = sqlx::query_as("SELECT system_id FROM cluster").fetch_one(connection).await?;
    Ok(History { system_id: system_id.into(), timeline: 0 })
}

/// The one node there is stands for its leader, too.
pub(super) async fn view(connection: &mut SqliteConnection, depth: Depth, now: Timestamp) -> Result<ClusterView, Failure> {
    let history = history(&mut *connection).await?;
    let (assign_ver, sending_allowed): (i64, bool) =
        sqlx::query_as("SELECT assign_ver, sending_allowed FROM cluster").fetch_one(&mut *connection).await?;
    let nodes: Vec<NodeRow> = sqlx::query_as("SELECT * FROM node ORDER BY node_id").fetch_all(&mut *connection).await?;
    let mut shards = Vec::new();
    if depth == Depth::Shards {
        let query = "SELECT shard_id, owner_session, epoch, requires, (SELECT count(*) FROM mailbox AS m WHERE m.shard_id = shard.shard_id \
             AND EXISTS (SELECT 1 FROM device AS d WHERE d.mailbox_id = m.mailbox_id)) FROM shard ORDER BY shard_id";
        let rows: Vec<(i64, Option<i64>, i64, String, u32)> = sqlx::query_as(query).fetch_all(&mut *connection).await?;
        shards = rows.into_iter().map(shard_view).collect();
    }
    Ok(ClusterView {
        assign_ver,
        leader: None,
        history,
        link: 1,
        sending_allowed,
        now,
        nodes: nodes.into_iter().map(node_seen).collect(),
        shards,
    })
}

fn node_seen(row: NodeRow) -> NodeSeen {
    NodeSeen {
        node: NodeId(row.node_id.into()),
        session: Session(row.session),
        state: NodeState::parse(&row.state).unwrap_or(NodeState::Bad),
        hb_seq: row.hb_seq,
        hb_at: Timestamp(row.hb_at),
        weight: row.weight,
        max_users: row.max_users,
        users: row.users,
        features: Features::parse(&row.features),
        version: row.version,
        addr: row.addr,
    }
}

fn shard_view((shard, owner, epoch, requires, users): (i64, Option<i64>, i64, String, u32)) -> ShardView {
    ShardView {
        shard: shard_of(shard),
        owner: owner.map(Session),
        epoch: Fence(epoch),
        target: None,
        users,
        requires: Features::parse(&requires),
    }
}

pub(super) async fn require(connection: &mut SqliteConnection, feature: &str) -> Result<(), Failure> {
    sqlx::query("UPDATE shard SET requires = CASE requires WHEN '' THEN ?1 ELSE requires || ',' || ?1 END WHERE instr(',' || requires || ',', ',' || ?1 || ',') = 0")
        .bind(feature)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE cluster SET assign_ver = assign_ver + 1").execute(connection).await?;
    Ok(())
}

pub(super) async fn assign_log(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<AssignLine>, Failure> {
    let query = "SELECT ver, by_node, reason, shard_id, from_node, to_node, epoch, at FROM assign_log ORDER BY ver DESC, shard_id LIMIT ?1";
    let rows: Vec<LogRow> = sqlx::query_as(query).bind(limit).fetch_all(connection).await?;
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
