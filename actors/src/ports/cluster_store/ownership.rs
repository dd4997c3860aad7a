//! What a node hears of its own shards: in a heartbeat, and when it adopts one.

use super::History;
use crate::ids::{Fence, Session, ShardId};
use crate::ports::mail_source::MailboxRef;
use crate::snapshot::NodeState;
use crate::time::{Monotonic, Timestamp};

/// What a heartbeat brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The heartbeat's number.
    pub hb_seq: i64,
    /// Where the row says we stand: an operator may have asked us to drain.
    pub state: NodeState,
    /// Grows with each change of ownership anywhere.
    pub assign_ver: i64,
    /// Whether pushes may leave at all (a restored copy and the pause switch say no).
    pub sending_allowed: bool,
    /// The database's wall clock.
    pub now: Timestamp,
    /// Which database answered; a timeline that grew means that its last seconds may be lost.
    pub history: History,
    /// Shards of this session and how often their membership changed; those with users before those without.
    pub shards: Vec<ShardSeen>,
    /// Watched mailboxes in them.
    pub users: u64,
    /// Shards that are to become ours.
    pub incoming: Vec<Incoming>,
}

impl Beat {
    /// The latest that the database's clock can show at `now`, for a heartbeat that was sent at `sent`: how long its answer took is not taken off, so that nothing
    /// is shown longer than it may be because the database was slow, or this process stood still with the answer before it.
    #[must_use]
    pub fn latest(&self, sent: Monotonic, now: Monotonic) -> Timestamp {
        self.now + now.since(sent)
    }
}

/// One shard of ours as a heartbeat saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSeen {
    /// Which.
    pub shard: ShardId,
    /// The epoch of our ownership.
    pub epoch: Fence,
    /// Grows when a mailbox is added to or removed from the shard, or one of them begins or ceases to be watched.
    pub change_seq: i64,
    /// To whom it is to be handed over.
    pub target: Option<Target>,
}

/// The receiver of a planned move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Who.
    pub session: Session,
    /// Whether it warmed up and waits.
    pub ready: bool,
}

/// A shard that is planned to move to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// Which.
    pub shard: ShardId,
    /// The epoch of its present owner.
    pub epoch: Fence,
    /// Whether we said that we are ready.
    pub ready: bool,
}

/// A mailbox as its owner loads it: no sync state, no subscription text (they are read when needed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedMailbox {
    /// Who it is.
    pub mailbox: MailboxRef,
    /// Whether its sync state was drained to the end once.
    pub seeded: bool,
    /// Whether a badge change waits to be told.
    pub badge_dirty: bool,
    /// Whether it has PENDING delivery rows.
    pub pending: bool,
    /// When mail was last announced: recently active mailboxes are adopted first.
    pub announced_until: Timestamp,
}

/// A shard after its adoption (or a fresh look at it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedShard {
    /// Its `change_seq` in the same transaction.
    pub change_seq: i64,
    /// All of its mailboxes that are to be watched, recently active first.
    pub mailboxes: Vec<OwnedMailbox>,
}
