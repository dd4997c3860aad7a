//! The port to what nodes agree on: membership, heartbeats, shards and their owners, and the moves between them.
//!
//! Contract. (1) Ownership reads no wall clock. (2) Every method is one transaction, and what changes an owner bumps `assign_ver` in it and builds the epoch from
//! the timeline read in it. (3) A session that was replaced, left or was judged BAD gets `None` from `beat` and nothing from any other method, for ever.
//! (4) After `shard_adopt` returned, no write about its mailboxes under an older authority commits. (5) Adding or removing a mailbox
//! updates its shard's `change_seq` and `users` in the same transaction, so that it conflicts with `shard_adopt` and the owner sees it. (6) A heartbeat and
//! the judgement that its session is BAD exclude each other: whoever commits second changes nothing. (7) A call that a changed timeline or another
//! database makes meaningless is refused, never carried out on the wrong one.

mod membership;
mod ownership;
mod plan;
mod view;

use async_trait::async_trait;

use crate::ids::{Authority, Fence, NodeId, Session, ShardId};
use crate::ports::error::StoreError;

pub use membership::{Features, History, Join, Joined, Manner};
pub use ownership::{AdoptedShard, Beat, Incoming, OwnedMailbox, ShardSeen, Target};
pub use plan::{Assign, AssignLine, PlanCommit, Reason, Retarget, Victim};
pub use view::{ClusterView, Depth, NodeSeen, ShardView};

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

    /// Of these shards, or of all, those that the table says are ours get a new epoch, so that nothing that was begun before matches them: a hand-over of unknown
    /// outcome, or anything at all after the database's timeline grew. Plans for them stay.
    async fn reclaim(&self, session: Session, shards: Option<&[ShardId]>) -> Result<(), StoreError>;

    /// A node is to drain: GOOD becomes DRAINING. `false`: there is no such node that is GOOD or DRAINING.
    async fn drain(&self, node: &NodeId) -> Result<bool, StoreError>;

    /// Leaves: owner cleared with new epochs, node LEFT, lock given back.
    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError>;

    /// Looks at the cluster.
    async fn view(&self, depth: Depth) -> Result<ClusterView, StoreError>;

    /// The same for people: it takes nothing from heartbeats, observers and leaders. Its `link` says nothing.
    async fn view_for_people(&self, depth: Depth) -> Result<ClusterView, StoreError> {
        self.view(depth).await
    }

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
