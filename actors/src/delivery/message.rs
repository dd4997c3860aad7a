//! What a delivery is ordered to do, what it is told, and how it reports back to its mailbox.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::EventKey;
use crate::ports::StoreError;
use crate::ports::delivery_store::Pending;
use crate::ports::device_store::{DeviceNow, Recipient};
use crate::ports::mail_source::{ChangesPage, ItemFacts, MailContent, SourceError};
use crate::ports::mailbox_store::{Inserted, MailboxState};
use crate::ports::push_sender::{Permit, Verdict};
use crate::time::{Monotonic, Timestamp};

/// What kind of collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// What changed since the sync state, to the end.
    Sync,
    /// One page of a sync state that is not drained yet.
    Seed,
    /// Mail received since the watch began, while the state is being drained.
    Recent,
    /// PENDING rows that nobody holds.
    Resend,
}

/// What a mailbox orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What kind of collection.
    pub work: Work,
    /// When the oldest hint for mail came, for the latency histogram.
    pub hinted_at: Option<Monotonic>,
    /// The unread count that the newest folder event carried.
    pub unread: Option<u32>,
    /// Whether a badge change is to be told even if no mail came.
    pub badge_now: bool,
    /// Whether that unread count is another one than devices were told last: the badge is wrong, whatever the sync says.
    pub recount: bool,
    /// Whether content of pushes that must be repeated may stay in memory for a while. One delivery of a mailbox at a time may, so that a provider
    /// that is away does not keep mail from the devices of another.
    pub hold: bool,
}

/// Why a collection failed; nothing was written, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The mail source says no.
    Source(SourceError),
    /// The store could not be reached, and nothing was written.
    Store,
    /// The commit was not answered: it may have taken effect, or may yet.
    Unknown,
    /// The row moved on under our own authority: read it again.
    Overtaken,
    /// The row is not ours any more.
    NotOurs,
    /// The gate is closed: no effect may begin.
    Gate,
    /// It took longer than it may.
    Late,
    /// The delivery's actor ended by a bug.
    Crashed,
}

impl Failure {
    /// The code in the journal and in metrics.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Source(SourceError::Throttled { .. }) => "throttled".into(),
            Self::Source(SourceError::SyncStateLost) => "sync_state_lost".into(),
            Self::Source(SourceError::SubscriptionsFull) => "subscriptions_full".into(),
            Self::Source(
                SourceError::Moved { code }
                | SourceError::Unauthorized { code }
                | SourceError::Refused { code }
                | SourceError::Unavailable { code },
            ) => code.clone(),
            Self::Store => "store".into(),
            Self::Unknown => "commit_unknown".into(),
            Self::Overtaken => "overtaken".into(),
            Self::NotOurs => "not_ours".into(),
            Self::Gate => "gate_closed".into(),
            Self::Late => "late".into(),
            Self::Crashed => "crashed".into(),
        }
    }
}

/// What is left to be read after a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Nothing: the end was reached.
    Nothing,
    /// A backlog: the pages that were read carried much of it.
    Backlog,
    /// The server does not say that this was the end, and the pages that were read carried little or nothing.
    Endless,
}

/// How the collecting part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectEnd {
    /// It was committed (or queued to be, when it covers no push).
    Done {
        /// Mails announced by it.
        announced: u32,
        /// What is left to be read.
        more: More,
        /// Whether the state is drained.
        seeded: bool,
        /// Whether a badge change is left to be told.
        badge_dirty: bool,
    },
    /// Nothing came of it.
    Failed(Failure),
}

/// What a commit brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitAnswer {
    /// It matched; these rows are new.
    Matched(Vec<Inserted>),
    /// It did not match: somebody else wrote, or owns.
    NotMatched,
    /// The gate was closed before it began.
    Gate,
    /// The store failed.
    Failed(StoreError),
}

/// What the collecting part is told.
#[derive(Debug)]
pub enum Collected {
    /// The mailbox row; `None`: not ours.
    Row(Result<Option<MailboxState>, StoreError>),
    /// One page of changes.
    Page(Result<ChangesPage, SourceError>),
    /// Recently received items.
    Recent(Result<Vec<ItemFacts>, SourceError>),
    /// Rows that wait.
    Pending(Result<Vec<Pending>, StoreError>),
    /// Who is to be told.
    Recipients(Result<Vec<Recipient>, StoreError>),
    /// What the commit brought.
    Committed(CommitAnswer),
}

/// What the sending part is told. `push` counts the pushes of this delivery from zero.
#[derive(Debug)]
pub enum Sent {
    /// What the asked mails show; in the order asked.
    Contents(Vec<EventKey>, Result<Vec<Option<MailContent>>, SourceError>),
    /// The unread count.
    Unread(Result<u32, SourceError>),
    /// Whether a push that was tried before may be read again; else how long that has to wait.
    Turn(usize, Result<(), Duration>),
    /// It was noted that a try begins, or was not.
    Begun(usize, Result<(), StoreError>),
    /// Room at the provider, or the verdict that stands in for it.
    Room(usize, Result<Permit, Verdict>),
    /// The device as it is now; `None`: gone.
    Device(usize, Result<Option<DeviceNow>, StoreError>),
    /// What the provider said.
    Answer(usize, Verdict),
    /// A device was forgotten, or a newer registration of it stands, or the store failed (then the next verdict says it again).
    Forgotten,
    /// Marks or retries were written (or not).
    Written(Result<(), StoreError>),
    /// Come to rest: what is at the provider is waited for, what would be tried later becomes rows.
    Settle {
        /// The mailbox is handed over: what is not at the provider yet is left to the next owner as well, so that no push begins right before it.
        hand_over: bool,
    },
    /// The time of the next deadline came.
    Alarm,
}

/// The moment at which a step is taken.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic time.
    pub at: Monotonic,
    /// Wall-clock time.
    pub now: Timestamp,
    /// Whether effects may begin.
    pub gate_open: bool,
}

/// A short code from anywhere.
#[must_use]
pub fn code(text: &str) -> Arc<str> {
    Arc::from(text)
}
