//! What a leader wants done with shards, and what was done with them.

use crate::ids::{Fence, NodeId, Session, ShardId};
use crate::time::Timestamp;

/// Why a shard changed hands, or was meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It had no owner.
    Unowned,
    /// Its owner was judged dead.
    Failed,
    /// Its owner was replaced or left without handing it over.
    Gone,
    /// Its owner lacks a feature that it requires.
    Ineligible,
    /// Its owner drains.
    Drain,
    /// The load is levelled.
    Rebalance,
    /// A planned move that was not carried out in time, or whose receiver is gone.
    Cancelled,
    /// The owner handed it over to the receiver.
    HandOver,
    /// The owner left.
    Leave,
    /// The process that joined on an embedded database took everything over.
    TakeOver,
    /// The database was promoted: the owner took a new epoch.
    Reclaim,
}

impl Reason {
    /// The name in the store, logs and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unowned => "unowned",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Ineligible => "ineligible",
            Self::Drain => "drain",
            Self::Rebalance => "rebalance",
            Self::Cancelled => "cancelled",
            Self::HandOver => "hand_over",
            Self::Leave => "leave",
            Self::TakeOver => "take_over",
            Self::Reclaim => "reclaim",
        }
    }
}

/// A node that is to be judged BAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Which life.
    pub session: Session,
    /// The heartbeat at which it stood still; a later one saves it.
    pub hb_seq: i64,
}

/// A shard that changes hands at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assign {
    /// Which.
    pub shard: ShardId,
    /// Its epoch as it was seen.
    pub epoch: Fence,
    /// Its new owner; none when nobody has room.
    pub to: Option<Session>,
    /// Why.
    pub reason: Reason,
}

impl Assign {
    /// Whether it takes a shard from a living owner without a hand-over, because nobody was in it; then nobody may be in it when it is committed.
    #[must_use]
    pub fn presumes_empty(&self) -> bool {
        matches!(self.reason, Reason::Rebalance | Reason::Drain | Reason::Ineligible)
    }
}

/// A planned move that begins, or ends without having happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retarget {
    /// Which shard.
    pub shard: ShardId,
    /// Its epoch as it was seen.
    pub epoch: Fence,
    /// Its receiver; none to cancel.
    pub target: Option<Session>,
    /// Why.
    pub reason: Reason,
}

/// What a leader wants done, all or nothing. It is refused (`None`) unless the leader still leads at `assign_ver`, every victim is JOINING, GOOD or DRAINING and
/// still at its heartbeat, every shard still has its epoch, every receiver is GOOD, and no shard that was to be taken from a living owner because it
/// was empty has got a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanCommit {
    /// Who leads.
    pub by: Session,
    /// What it read.
    pub assign_ver: i64,
    /// Who is judged BAD; targets that name one of them are cleared.
    pub victims: Vec<Victim>,
    /// What changes hands; clears its target.
    pub assigns: Vec<Assign>,
    /// What is planned to.
    pub retargets: Vec<Retarget>,
}

/// One line of the assignment log. Names, because sessions mean nothing to people and their rows are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignLine {
    /// The change of ownership.
    pub ver: i64,
    /// The node that did it.
    pub by: Option<NodeId>,
    /// Why.
    pub reason: String,
    /// Which shard; none: all of them.
    pub shard: Option<ShardId>,
    /// From whom.
    pub from: Option<NodeId>,
    /// To whom.
    pub to: Option<NodeId>,
    /// The new epoch.
    pub epoch: Fence,
    /// When, by the database's clock.
    pub at: Timestamp,
}
