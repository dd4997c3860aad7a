//! What an actor tells when it is asked to be inspected: the same view serves the API, the command line and tests.

use async_trait::async_trait;

use crate::ids::{MailboxId, NodeId, Session, ShardId};
use crate::time::Timestamp;

/// Where a watched mailbox stands at its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It has no drained sync state yet.
    Seeding,
    /// It has a sync state and no subscription.
    Catchup,
    /// It is subscribed; its stream has not spoken yet.
    Subscribed,
    /// Events flow and a sync ran after they began to.
    Live,
    /// It has no room for a subscription at the server: it is polled by sync.
    Polling,
    /// It was refused for good: only a person, or a retry much later, helps.
    Parked,
}

impl Phase {
    /// All phases, in the order of a mailbox's life.
    pub const ALL: [Self; 6] = [Self::Seeding, Self::Catchup, Self::Subscribed, Self::Live, Self::Polling, Self::Parked];

    /// The name in the API, metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seeding => "seeding",
            Self::Catchup => "catchup",
            Self::Subscribed => "subscribed",
            Self::Live => "live",
            Self::Polling => "polling",
            Self::Parked => "parked",
        }
    }
}

/// One line of a mailbox's short memory: hints, collections, sends, errors. Codes and counts only, never content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    /// When.
    pub at: Timestamp,
    /// What, in words of its readers, e.g. `the server told of new mail`, `sync found 2 new mails, 4 pushes`, `subscribing failed: ErrorServerBusy`.
    pub what: String,
}

/// One watched mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxSnapshot {
    /// Which.
    pub mailbox: MailboxId,
    /// Where it stands.
    pub phase: Phase,
    /// When it does something by itself next, if it does.
    pub due: Option<Timestamp>,
    /// How often its actor was restarted since this node adopted it.
    pub restarts: u32,
    /// The last things that happened, oldest first, at most 24.
    pub journal: Vec<JournalLine>,
}

/// Where a node stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It looks for its place.
    Joining,
    /// It owns and acts.
    Good,
    /// It hands over and ends.
    Draining,
    /// It left.
    Left,
    /// It was replaced or judged dead: final for this life of the process.
    Bad,
}

impl NodeState {
    /// The name in the store, the API and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "JOINING",
            Self::Good => "GOOD",
            Self::Draining => "DRAINING",
            Self::Left => "LEFT",
            Self::Bad => "BAD",
        }
    }

    /// Reads what [`NodeState::as_str`] wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Joining, Self::Good, Self::Draining, Self::Left, Self::Bad].into_iter().find(|state| state.as_str() == name)
    }
}

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// Its name.
    pub node: NodeId,
    /// This life of its process.
    pub session: Session,
    /// Where it stands.
    pub state: NodeState,
    /// Whether effects may begin at this moment.
    pub gate_open: bool,
    /// Whether the database allows pushes to leave.
    pub sending_allowed: bool,
    /// Shards owned.
    pub shards: u32,
    /// Mailboxes by phase, in the order of [`Phase::ALL`].
    pub mailboxes: [u32; 6],
}

/// How the edges look into the running core and wake it. Handed over in `app.rs`.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Mailboxes of the shard were added, removed, or begin or cease to be watched: look now instead of at the next heartbeat.
    fn shard_changed(&self, shard: ShardId);
    /// This node.
    fn node(&self) -> NodeSnapshot;
    /// One mailbox, if this node owns and watches it; answers within a second or not at all.
    async fn mailbox(&self, mailbox: MailboxId) -> Option<MailboxSnapshot>;
}
