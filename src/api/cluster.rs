//! What administrators see of the whole cluster: nodes with their load, shards without an owner, moves under way.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use postrider_actors::ids::Session;
use postrider_actors::ports::cluster_store::{ClusterView, NodeSeen};
use postrider_actors::snapshot::NodeState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::{ApiError, Refusals};
use crate::api::{Shared, rfc3339};

/// The cluster as the database has it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Which database: PostgreSQL's system identifier, or the name of an embedded one.
    pub system_id: String,
    /// How often it was promoted; 0 for an embedded one.
    pub timeline: u32,
    /// Grows with each change of ownership.
    pub assignment: i64,
    /// The leader's name; absent while there is none, as on an embedded database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Whether pushes may leave at all.
    pub sending_allowed: bool,
    /// The database's clock (RFC 3339).
    pub now: String,
    /// Watched mailboxes.
    pub users: u64,
    /// How many users the nodes that are GOOD may own together.
    pub capacity: u64,
    /// Shards, owned or not.
    pub shards: u32,
    /// Shards without a living owner: their users get no pushes until they are adopted.
    pub orphaned: u32,
    /// Users in them.
    pub orphaned_users: u64,
    /// In order of name, those that ended included.
    pub nodes: Vec<ClusterNode>,
    /// Planned hand-overs that are not finished, by giver and receiver.
    pub moves: Vec<Move>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// `JOINING`, `GOOD`, `DRAINING`, `LEFT` or `BAD`.
    pub state: &'static str,
    /// Whether it leads.
    pub leader: bool,
    /// Users in the shards that it owns.
    pub users: u64,
    /// How many it may own.
    pub capacity: u32,
    /// The one in percent of the other, rounded down.
    pub percent: u64,
    /// Shards that it owns.
    pub shards: u32,
    /// Seconds since its last heartbeat, by the database's clock.
    pub heartbeat_age_sec: f64,
    /// What it can do, separated by commas.
    pub features: String,
    /// Its program's version.
    pub version: String,
    /// Where it answers a direct probe; empty if nowhere.
    pub address: String,
    /// This life of its process. As text, since it has 63 bits.
    pub session: String,
}

/// Shards on their way from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Move {
    /// Their owner; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Their receiver; absent if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How many.
    pub shards: u32,
    /// Users in them.
    pub users: u64,
    /// Shards among them that the receiver is ready for.
    pub ready: u32,
}

impl Cluster {
    /// Takes the facts out of a look at all nodes and shards.
    #[must_use]
    pub fn of(view: &ClusterView) -> Self {
        let alive = |session: Session| view.nodes.iter().any(|node| node.session == session && acts(node.state));
        let orphans = view.shards.iter().filter(|shard| !shard.owner.is_some_and(alive));
        let (orphaned, orphaned_users) = orphans.fold((0, 0), |(shards, users), shard| (shards + 1, users + u64::from(shard.users)));
        let good = view.nodes.iter().filter(|node| node.state == NodeState::Good);
        Self {
            system_id: view.history.system_id.to_string(),
            timeline: view.history.timeline,
            assignment: view.assign_ver,
            leader: view.leader.and_then(|leader| name_of(view, leader)),
            sending_allowed: view.sending_allowed,
            now: rfc3339(view.now),
            users: view.shards.iter().map(|shard| u64::from(shard.users)).sum(),
            capacity: good.map(|node| u64::from(node.max_users)).sum(),
            shards: count(view.shards.len()),
            orphaned,
            orphaned_users,
            nodes: view.nodes.iter().map(|node| ClusterNode::of(node, view)).collect(),
            moves: moves(view),
        }
    }
}

impl ClusterNode {
    fn of(node: &NodeSeen, view: &ClusterView) -> Self {
        let owned = view.shards.iter().filter(|shard| shard.owner == Some(node.session));
        let (shards, users) = owned.fold((0, 0), |(shards, users), shard| (shards + 1, users + u64::from(shard.users)));
        let age_micros = view.now.0.saturating_sub(node.hb_at.0).max(0);
        Self {
            name: node.node.to_string(),
            state: node.state.as_str(),
            leader: view.leader == Some(node.session) && acts(node.state),
            users,
            capacity: node.max_users,
            percent: users * 100 / u64::from(node.max_users.max(1)),
            shards,
            // To the millisecond: more would pretend.
            heartbeat_age_sec: (age_micros / 1_000) as f64 / 1_000.0,
            features: node.features.to_string(),
            version: node.version.clone(),
            address: node.addr.clone(),
            session: node.session.to_string(),
        }
    }
}

/// Whether a node in that state may own shards.
fn acts(state: NodeState) -> bool {
    matches!(state, NodeState::Joining | NodeState::Good | NodeState::Draining)
}

fn name_of(view: &ClusterView, session: Session) -> Option<String> {
    view.nodes.iter().find(|node| node.session == session).map(|node| node.node.to_string())
}

fn moves(view: &ClusterView) -> Vec<Move> {
    let mut found: BTreeMap<(Option<String>, Option<String>), Move> = BTreeMap::new();
    for shard in &view.shards {
        let Some(target) = shard.target else { continue };
        let (from, to) = (shard.owner.and_then(|owner| name_of(view, owner)), name_of(view, target.session));
        let begun = || Move { from: from.clone(), to: to.clone(), shards: 0, users: 0, ready: 0 };
        let way = found.entry((from.clone(), to.clone())).or_insert_with(begun);
        way.shards += 1;
        way.users += u64::from(shard.users);
        way.ready += u32::from(target.ready);
    }
    found.into_values().collect()
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Look at the cluster: nodes and their load, shards without an owner, moves under way.
#[utoipa::path(get, path = "/v1/admin/cluster", tag = "admin", security(("bearer" = [])),
    responses((status = 200, body = Cluster, description = "The cluster"),
        Refusals))]
pub async fn cluster(State(api): State<Shared>) -> Result<Json<Cluster>, ApiError> {
    Ok(Json(Cluster::clone(&*api.looks.cluster(&*api.cluster, &*api.clock).await?)))
}

#[cfg(test)]
mod tests {
    use postrider_actors::ids::{Fence, NodeId, ShardId};
    use postrider_actors::ports::cluster_store::{Features, History, ShardView, Target};
    use postrider_actors::time::Timestamp;

    use super::*;

    fn node(name: &str, session: i64, state: NodeState) -> NodeSeen {
        NodeSeen {
            node: NodeId(name.into()),
            session: Session(session),
            state,
            hb_seq: 1,
            hb_at: Timestamp(9_000_000),
            weight: 1,
            max_users: 50,
            users: 0,
            features: Features::parse("ews"),
            version: "1".into(),
            addr: String::new(),
        }
    }

    fn shard(shard: u16, owner: Option<i64>, target: Option<(i64, bool)>, users: u32) -> ShardView {
        let target = target.map(|(session, ready)| Target { session: Session(session), ready });
        ShardView { shard: ShardId(shard), owner: owner.map(Session), epoch: Fence(1), target, users, requires: Features::default() }
    }

    fn view(nodes: Vec<NodeSeen>, shards: Vec<ShardView>) -> ClusterView {
        ClusterView {
            assign_ver: 7,
            leader: Some(Session(2)),
            history: History { system_id: "x".into(), timeline: 3 },
            link: 1,
            sending_allowed: true,
            now: Timestamp(10_500_000),
            nodes,
            shards,
        }
    }

    #[test]
    fn users_are_counted_by_the_shards_and_orphans_are_what_nobody_alive_owns() {
        let nodes = vec![node("a", 1, NodeState::Good), node("b", 2, NodeState::Draining), node("c", 3, NodeState::Bad)];
        let shards = vec![
            shard(0, Some(1), None, 10),
            shard(1, Some(1), Some((2, false)), 10),
            shard(2, Some(2), Some((1, true)), 41),
            shard(3, Some(2), Some((1, false)), 1),
            shard(4, Some(3), None, 5),
            shard(5, Some(99), None, 6),
            shard(6, None, None, 7),
        ];
        let cluster = Cluster::of(&view(nodes, shards));
        assert_eq!((cluster.users, cluster.orphaned, cluster.orphaned_users, cluster.capacity), (80, 3, 18, 50));
        assert_eq!(cluster.leader.as_deref(), Some("b"));
        let of = |name: &str| cluster.nodes.iter().find(|node| node.name == name).unwrap();
        assert_eq!((of("a").users, of("a").percent, of("a").shards, of("a").leader), (20, 40, 2, false));
        assert_eq!((of("b").users, of("b").percent, of("b").leader, of("b").heartbeat_age_sec), (42, 84, true, 1.5));
        let way = |from: &str, to: &str| cluster.moves.iter().find(|m| m.from.as_deref() == Some(from) && m.to.as_deref() == Some(to));
        let back = way("b", "a").unwrap();
        assert_eq!((back.shards, back.users, back.ready), (2, 42, 1));
        assert_eq!(way("a", "b").unwrap().shards, 1);
        assert_eq!(cluster.moves.len(), 2);
    }
}
