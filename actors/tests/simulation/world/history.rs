//! What happened in a run, in order: what judges read, what a failing seed prints, and the hash by which two runs are known to be the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use postrider_actors::ids::{DeliveryId, DeviceId, EventKey, Fence, MailboxId, Session, ShardId};
use postrider_actors::snapshot::NodeState;
use uuid::Uuid;

use super::scheduler::Micros;

/// One thing that happened.
#[derive(Debug, Clone, Hash)]
pub enum What {
    /// A process starts on the machine.
    Started,
    /// The process dies.
    Killed,
    /// The process is stopped, to go on later.
    Paused,
    /// It goes on.
    Resumed,
    /// Its session is over.
    Ended(String),
    /// An actor of it fails.
    Panicked(&'static str),
    /// A heartbeat was written.
    Beat(i64),
    /// A heartbeat opened the gate until that moment of the machine's clock.
    GateOpened(i64),
    /// The gate is closed until the next heartbeat that opens it.
    Suspended,
    /// The gate is closed for ever.
    GateClosed,
    /// A shard changes hands in the database.
    Owner {
        shard: ShardId,
        from: Option<Session>,
        /// Where the former owner stood then.
        standing: Option<NodeState>,
        to: Option<Session>,
        epoch: Fence,
        /// Watched mailboxes in it.
        users: u32,
        /// Why, as the log says.
        reason: String,
    },
    /// The node's row says BAD from here on; for how long its heartbeat stood still while the database answered.
    /// Times in which other tables answered in the place of these count for nothing.
    Bad { session: Session, silent: Micros, rests: Vec<(Micros, Micros)> },
    /// An owner stamps mailboxes.
    Stamped { shard: ShardId, fence: Fence, mailboxes: Vec<MailboxId> },
    /// A batch is about to be committed.
    CommitBegan { mono: i64, mailboxes: usize },
    /// The entry of a mailbox matched.
    Committed { mailbox: MailboxId, fence: Fence, seq: i64, rows: Vec<(DeviceId, EventKey)> },
    /// The entry of a mailbox did not match.
    Refused { mailbox: MailboxId, fence: Fence },
    /// A push is about to be sent.
    SendBegan { number: u64, mono: i64, mailbox: MailboxId, device: Option<DeviceId>, id: Uuid, events: Vec<EventKey> },
    /// The provider took it.
    Accepted { number: u64 },
    /// What the node heard of it.
    Answered { number: u64, verdict: &'static str },
    /// Rows were settled.
    Marked(Vec<DeliveryId>),
    /// Marks or retries could not be written, or it is not known.
    MarkFailed,
    /// A mail came.
    Arrived { mailbox: MailboxId, event: EventKey },
    /// The tables are those of that moment from here on (a promotion that lost its tail, a restored copy), or the same ones.
    Promoted { timeline: u32, tables_of: Micros },
    /// Something goes wrong.
    Fault(&'static str),
    /// It goes right again.
    Healed(&'static str),
}

/// One line.
#[derive(Debug, Clone, Hash)]
pub struct Entry {
    /// When.
    pub at: Micros,
    /// On which machine; none: elsewhere.
    pub node: Option<usize>,
    /// In which session.
    pub session: Session,
    /// What.
    pub what: What,
}

impl Entry {
    /// The line as text.
    pub fn tell(&self) -> String {
        let node = self.node.map_or_else(|| "-".into(), |node| format!("n{node}"));
        let session = self.session.0 % 100_000;
        format!("{:>12.6} {node:>3} {session:>5} {:?}", self.at as f64 / 1e6, self.what)
    }
}

/// All lines of a run.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
    hash: u64,
}

impl History {
    /// Notes a line.
    pub fn note(&mut self, entry: Entry) {
        let mut hasher = DefaultHasher::new();
        (self.hash, &entry).hash(&mut hasher);
        self.hash = hasher.finish();
        self.entries.push(entry);
    }

    /// All lines, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same for two runs in which the same happened.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}
