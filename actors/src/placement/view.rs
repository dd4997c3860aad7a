//! What placement is decided on: nodes, shards and the parameters, as plain integers.

use std::time::Duration;

use crate::ids::{Session, ShardId};
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// A set of up to 64 features, one bit each: what a node can do, or what a shard needs of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub u64);

impl Features {
    /// Whether all of `needed` are among these.
    #[must_use]
    pub fn cover(self, needed: Self) -> bool {
        needed.0 & !self.0 == 0
    }
}

/// One node, as far as placement cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The life of its process.
    pub session: Session,
    /// A hash of its name, which outlives its sessions: ties between nodes are decided by it.
    pub key: u64,
    /// Where it stands.
    pub state: NodeState,
    /// Its share of the load beside others; 0 takes nothing.
    pub weight: u32,
    /// Users that it may own.
    pub cap: u32,
    /// What it can do.
    pub features: Features,
}

/// A hand-over under way. Its times are moments at which the planner itself saw it, on its own monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Who is to own the shard.
    pub session: Session,
    /// Since when.
    pub since: Monotonic,
    /// Since when the target is ready to take over, once it is.
    pub ready_since: Option<Monotonic>,
}

/// One shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which.
    pub id: ShardId,
    /// Its users. A shard without any needs no hand-over.
    pub load: u32,
    /// What it needs of its owner.
    pub needs: Features,
    /// Who owns it.
    pub owner: Option<Session>,
    /// Who is to own it next.
    pub target: Option<Target>,
    /// Until then it is not moved for balance alone.
    pub rests_until: Monotonic,
    /// Where its last hand-over came to nothing, for as long as it rests: another receiver is tried.
    pub avoids: Option<Session>,
}

/// What placement can be tuned by. Loads are users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Load that may be under way to one receiver for drains. One shard may always be, however large.
    pub drain_budget: u32,
    /// Load that may be under way to one receiver for balance. One shard may always be, however large.
    pub move_budget: u32,
    /// Nodes within this many per cent of the mean are left alone.
    pub delta_percent: u32,
    /// How far beyond its capacity a node may be filled with shards that nobody owns, in per cent.
    pub overflow_percent: u32,
    /// A target that is not ready after this is given up.
    pub ready_within: Duration,
    /// A shard that is not released this long after its target was ready stays.
    pub release_within: Duration,
    /// Whether shards may move for balance alone: membership was quiet for long enough.
    pub rebalance: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            drain_budget: 500,
            move_budget: 500,
            delta_percent: 5,
            overflow_percent: 10,
            ready_within: Duration::from_secs(30),
            release_within: Duration::from_secs(5),
            rebalance: true,
        }
    }
}
