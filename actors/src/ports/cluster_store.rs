//! The port to what nodes agree on: membership, heartbeats, shards and their owners, and the moves between them.
//!
//! Contract. (1) Ownership reads no wall clock. (2) Every method is one transaction, and what changes an owner bumps `assign_ver` in it and builds the epoch from
//! the timeline read in it. (3) A session that was replaced, left or was judged BAD gets `None` from `beat` and nothing from any other method, for ever.
//! (4) After `shard_adopt` returned, no write about its mailboxes under an older authority commits. (5) Adding or removing a mailbox
//! updates its shard's `change_seq` and `users` in the same transaction, so that it conflicts with `shard_adopt` and the owner sees it. (6) A heartbeat and
//! the judgement that its session is BAD exclude each other: whoever commits second changes nothing. (7) A call that a changed timeline or another
//! database makes meaningless is refused, never carried out on the wrong one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{Authority, Fence, NodeId, Session, ShardId};
use crate::ports::error::StoreError;
use crate::ports::mail_source::MailboxRef;
use crate::snapshot::NodeState;
use crate::time::Timestamp;

/// What a node can do, as short names; a shard is owned only by nodes that have all the features it requires.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Features(BTreeSet<Arc<str>>);

impl Features {
    /// Reads names separated by commas; empty ones are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Arc::from).collect())
    }

    /// Whether all of `required` are among them.
    #[must_use]
    pub fn cover(&self, required: &Self) -> bool {
        required.0.is_subset(&self.0)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Which database this is and how often it was promoted: equal histories have the same past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// PostgreSQL's system identifier, or the random name of an embedded database.
    pub system_id: Arc<str>,
    /// PostgreSQL's timeline, read from the position of its log; 0 for an embedded database.
    pub timeline: u32,
}

/// Whether one node owns everything or many share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// One process owns all shards by joining; there is no leader and nothing to plan.
    Embedded,
    /// Joining owns nothing; a leader assigns shards.
    Shared,
}

/// A node that wants to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// Its name.
    pub node: NodeId,
    /// The new life of its process.
    pub session: Session,
    /// Its share of the load relative to the others.
    pub weight: u32,
    /// How many users it may own.
    pub max_users: u32,
    /// What it can do.
    pub features: Features,
    /// The version of the program.
    pub version: String,
    /// Where it answers a direct probe (`http://host:port`), empty if nowhere.
    pub addr: String,
    /// How long a live predecessor on the same file is waited for before it is taken to be dead (T); of an embedded database only.
    pub patience: Duration,
    /// A shared database: the session under our name that stood still at this heartbeat for T; it is judged BAD and replaced.
    pub replaces: Option<(Session, i64)>,
}

/// What came of joining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// The row is ours: GOOD on an embedded database, JOINING on a shared one.
    Done {
        /// Of which database.
        history: History,
        /// The database's wall clock.
        now: Timestamp,
        /// Whether `enter` is to follow and a leader to be looked for.
        manner: Manner,
    },
    /// Another session under our name may be alive (shared databases only). Nothing was written.
    Occupied {
        /// Who it is.
        session: Session,
        /// Its last heartbeat: if that stands still for T it is dead.
        hb_seq: i64,
    },
}

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
    /// Shards of this session and how often their membership changed.
    pub shards: Vec<ShardSeen>,
    /// Shards that are to become ours.
    pub incoming: Vec<Incoming>,
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
/// still at its heartbeat, every shard still has its epoch, and every receiver is GOOD.
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

/// The port itself.
#[async_trait]
pub trait ClusterStore: Send + Sync + 'static {
    /// Joins with a new session. On SQLite this also takes over all shards of the file: the operating-system lock is taken (at once when the
    /// former process is dead, else after it let go or stood still for `patience`), epochs are bumped and all shards are ours.
    ///
    /// # Errors
    /// `Unusable` when the schema is newer or older than this program's, the file read-only, no host writable, or the database another one than was accepted.
    async fn join(&self, join: &Join) -> Result<Joined, StoreError>;

    /// JOINING becomes GOOD: from here on shards may be assigned. `false`: the session is over.
    async fn enter(&self, node: &NodeId, session: Session) -> Result<bool, StoreError>;

    /// One heartbeat. `None`: this session was replaced or judged BAD; it stops acting and never writes again.
    async fn beat(&self, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError>;

    /// Stamps all mailboxes of the shard with the authority and loads them. `None`: the shard is not ours under this epoch.
    async fn shard_adopt(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError>;

    /// Stamps unstamped mailboxes and loads them again after `change_seq` moved; the same as `shard_adopt` for rows that carry the authority already.
    async fn shard_reload(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError>;

    /// What a receiver needs to warm up for a shard that is planned to become its own; stamps nothing. `None`: it is not.
    async fn shard_peek(&self, shard: ShardId, session: Session) -> Result<Option<AdoptedShard>, StoreError>;

    /// The receiver warmed up: sets `ready` where the target is still this session. Others are left alone.
    async fn shards_ready(&self, session: Session, shards: &[ShardId]) -> Result<(), StoreError>;

    /// The owner hands shards over to their targets, under new epochs; answers with those that went. One goes iff the owner still owns it under the epoch named, and
    /// its target is ready and GOOD.
    async fn hand_over(&self, session: Session, shards: &[(ShardId, Fence)]) -> Result<Vec<ShardId>, StoreError>;

    /// The database's timeline grew: all shards that the table says are ours get a new epoch, so that nothing that was begun before it matches a row.
    async fn reclaim(&self, session: Session) -> Result<(), StoreError>;

    /// A node is to drain: GOOD becomes DRAINING. `false`: there is no such node that is GOOD or DRAINING.
    async fn drain(&self, node: &NodeId) -> Result<bool, StoreError>;

    /// Leaves: owner cleared with new epochs, node LEFT, lock given back.
    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError>;

    /// Looks at the cluster.
    async fn view(&self, depth: Depth) -> Result<ClusterView, StoreError>;

    /// Takes leadership if it is still as it was seen and this session is GOOD. Always `false` on an embedded database.
    async fn lead(&self, session: Session, seen: Option<Session>) -> Result<bool, StoreError>;

    /// Commits a plan; the new `assign_ver`, or `None` when it was refused as a whole.
    async fn plan_commit(&self, plan: &PlanCommit) -> Result<Option<i64>, StoreError>;

    /// All shards require this feature of their owners from here on. Bumps `assign_ver`.
    async fn require(&self, feature: &str) -> Result<(), StoreError>;

    /// The last `limit` changes of ownership, newest first.
    async fn assign_log(&self, limit: u32) -> Result<Vec<AssignLine>, StoreError>;

    /// An operator accepts the database that the URL leads to, though it is another one than was recorded, or an older copy; sending stays paused until it is
    /// allowed. Returns what was accepted.
    async fn accept_database(&self) -> Result<History, StoreError>;
}
