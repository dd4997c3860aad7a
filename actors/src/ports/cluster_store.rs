//! The port to what nodes agree on: membership, heartbeats, shards and their owners.
//!
//! Contract. (1) Ownership reads no wall clock. (2) `join`, `release` and `shard_adopt` are one transaction each.
//! (3) A session that was replaced or judged BAD gets `None` from `beat` and nothing from `shard_adopt`, for ever.
//! (4) After `shard_adopt` returned, no write about its mailboxes under an older authority commits. (5) Adding or removing a mailbox
//! updates its shard's `change_seq` in the same transaction, so that it conflicts with `shard_adopt` and the owner sees it.

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{Authority, Fence, NodeId, Session, ShardId};
use crate::ports::error::StoreError;
use crate::ports::mail_source::MailboxRef;
use crate::time::Timestamp;

/// A node that wants to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// Its name.
    pub node: NodeId,
    /// The new life of its process.
    pub session: Session,
    /// How many users it may own.
    pub max_users: u32,
    /// The version of the program.
    pub version: String,
    /// How long a live predecessor on the same name or file is waited for before it is taken to be dead (T).
    pub patience: Duration,
}

/// What a heartbeat brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The heartbeat's number.
    pub hb_seq: i64,
    /// Grows with each change of ownership anywhere.
    pub assign_ver: i64,
    /// Whether pushes may leave at all (a restored copy and the pause switch say no).
    pub sending_allowed: bool,
    /// The database's wall clock.
    pub now: Timestamp,
    /// Shards of this session and how often their membership changed.
    pub shards: Vec<ShardSeen>,
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

/// The port itself.
#[async_trait]
pub trait ClusterStore: Send + Sync + 'static {
    /// Joins with a new session. On SQLite this also takes over all shards of the file: the operating-system lock is taken (at once when the
    /// former process is dead, else after it let go or stood still for `patience`), epochs are bumped and all shards are ours.
    ///
    /// # Errors
    /// `Unusable` when the schema is newer or the file read-only.
    async fn join(&self, join: &Join) -> Result<(), StoreError>;

    /// One heartbeat. `None`: this session was replaced or judged BAD; it stops acting and never writes again.
    async fn beat(&self, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError>;

    /// Stamps all mailboxes of the shard with the authority and loads them. `None`: the shard is not ours under this epoch.
    async fn shard_adopt(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError>;

    /// Stamps unstamped mailboxes and loads them again after `change_seq` moved; the same as `shard_adopt` for rows that carry the authority already.
    async fn shard_reload(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError>;

    /// Leaves: owner cleared with new epochs, node LEFT, lock given back.
    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError>;
}
