//! The cluster as a leader, an observer or an operator sees it.

use super::{Features, History, Target};
use crate::ids::{Fence, NodeId, Session, ShardId};
use crate::snapshot::NodeState;
use crate::time::Timestamp;

/// How much of the cluster is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The leader's node alone.
    Leader,
    /// All nodes.
    Nodes,
    /// All nodes and all shards.
    Shards,
}

/// The cluster as one transaction saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Grows with each change of ownership.
    pub assign_ver: i64,
    /// Who leads.
    pub leader: Option<Session>,
    /// Which database.
    pub history: History,
    /// The connection that answered, by number: another number is a reconnect, after which no observer's timer is credited.
    pub link: u64,
    /// Whether pushes may leave at all.
    pub sending_allowed: bool,
    /// The database's wall clock; for display.
    pub now: Timestamp,
    /// Nodes, in order of name, those that ended included.
    pub nodes: Vec<NodeSeen>,
    /// Shards, in order; empty unless asked for.
    pub shards: Vec<ShardView>,
}

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub node: NodeId,
    /// The life of its process.
    pub session: Session,
    /// Where it stands.
    pub state: NodeState,
    /// Its last heartbeat.
    pub hb_seq: i64,
    /// When that was, by the database's clock; for display.
    pub hb_at: Timestamp,
    /// Its share of the load.
    pub weight: u32,
    /// How many users it may own.
    pub max_users: u32,
    /// How many it said it owns.
    pub users: u32,
    /// What it can do.
    pub features: Features,
    /// Its program's version.
    pub version: String,
    /// Where it answers a direct probe.
    pub addr: String,
}

/// A shard's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardView {
    /// Which.
    pub shard: ShardId,
    /// Who owns it.
    pub owner: Option<Session>,
    /// Since which change of ownership.
    pub epoch: Fence,
    /// To whom it is to be handed over.
    pub target: Option<Target>,
    /// Watched mailboxes in it.
    pub users: u32,
    /// What its owner must be able to do.
    pub requires: Features,
}
