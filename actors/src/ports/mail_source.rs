//! The port to whatever holds the mail (Exchange through EWS, Microsoft 365 through Graph).
//!
//! Contract. (1) A hint says only *that* something changed; what changed is read with [`MailSource::changes`].
//! (2) `changes` from the same state may be asked any number of times and repeats its answer. (3) Every call ends by itself
//! within a deadline of the adapter's. (4) Every future may be dropped at any await without a leak at the server beyond one
//! subscription, which is reported through `Watch::predecessor` of a later call or expires. (5) Calls for one server are
//! paced by the adapter; a call refused because the server asked for silence is [`SourceError::Throttled`] and made no request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{ItemId, MailboxId, Smtp, SyncState, TenantId};
use crate::time::{Monotonic, Timestamp};

/// Which mailbox a call is about; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRef {
    /// The key of its row.
    pub id: MailboxId,
    /// Whose settings and credentials apply.
    pub tenant: TenantId,
    /// Its primary address, impersonated and used as the anchor.
    pub smtp: Arc<Smtp>,
}

/// What identifies a subscription at the server, kept in the mailbox row so that a successor can end it: subscription id, server URL and
/// affinity cookie in the adapter's own text form, at most 4 KB.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscriptionRecord(pub Box<str>);

impl fmt::Debug for SubscriptionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriptionRecord({} bytes)", self.0.len())
    }
}

/// A server, as far as the adapter tells servers apart: what is asked of one waits when it hangs, and does not when another does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackEnd(pub Arc<str>);

/// What a stream or webhook said about a mailbox since the last hint, folded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Something changed.
    Touched {
        /// Mail may have come (NewMail or Created among the events): worth collecting at once.
        mail: bool,
        /// The inbox's unread count, if the newest folder event carried one.
        unread: Option<u32>,
        /// When the hint's last byte was read.
        at: Monotonic,
    },
    /// The first envelope of a stream that carries this mailbox's subscription was read: events flow from here on.
    /// Also said when the stream was reopened after a gap.
    StreamOpened,
    /// The stream broke or events were lost; the adapter reopens it and says `StreamOpened` again. A sync is due then.
    Gap,
    /// The subscription is gone: subscribe again. With `rediscover` the server may be another one now.
    SubscriptionLost {
        /// Autodiscover again first.
        rediscover: bool,
    },
}

/// Where hints go. Never blocks; a mailbox that nobody watches is ignored.
pub trait HintSink: Send + Sync + 'static {
    /// Hands over one hint.
    fn hint(&self, mailbox: MailboxId, hint: Hint);
    /// Says by its code why the gap or the loss comes that is handed over next; kept for people, nothing is decided by it.
    fn cause(&self, mailbox: MailboxId, code: &Arc<str>) {
        let _ = (mailbox, code);
    }
}

/// What a sync reported about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The item is there and was not before (arrival, move, import, copy).
    Created(ItemFacts),
    /// A known item changed otherwise than in its read flag.
    Updated(ItemId),
    /// The item left the folder.
    Deleted(ItemId),
    /// A known item was marked read or unread.
    ReadFlag {
        /// Which item.
        item: ItemId,
        /// Whether it is read.
        read: bool,
    },
}

/// What the sync tells of a created item, enough to decide whether it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemFacts {
    /// The item, without its change key.
    pub item: ItemId,
    /// `DateTimeReceived`.
    pub received_at: Timestamp,
    /// Whether it is marked read.
    pub read: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether its class is one of mail (`IPM.Note*`, meeting messages `IPM.Schedule.Meeting*`), decided by the adapter.
    pub mail_class: bool,
}

/// One page of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesPage {
    /// At most 512 changes, in the server's order.
    pub changes: Vec<Change>,
    /// Where the next page starts.
    pub state: SyncState,
    /// Whether this page reached the end.
    pub complete: bool,
}

/// What a push shows of a mail. Held only while a push takes; `Debug` tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct MailContent {
    /// Display name of the sender, or the address if there is none.
    pub sender: String,
    /// Subject; may be empty.
    pub subject: String,
    /// The first few hundred characters of the text; may be empty.
    pub preview: String,
    /// Whether it is marked read by now.
    pub read: bool,
}

impl MailContent {
    /// Bytes of content, for the budget of what is held in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sender.len() + self.subject.len() + self.preview.len()
    }
}

impl fmt::Debug for MailContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailContent(…)")
    }
}

/// Why a call to a mail source failed: each variant is what one does about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The server (or our budget for it) wants silence; nothing is asked before.
    #[error("the server asks for {retry_after:?} of silence")]
    Throttled {
        /// How long, exactly as told.
        retry_after: Duration,
    },
    /// The sync state is not accepted: seed again.
    #[error("the server does not accept the sync state")]
    SyncStateLost,
    /// The mailbox has no room for a subscription: poll by sync until there is room.
    #[error("the mailbox holds as many subscriptions as it may")]
    SubscriptionsFull,
    /// The mailbox may live elsewhere: the adapter has dropped what autodiscover said; ask again.
    #[error("the mailbox may have moved ({code})")]
    Moved {
        /// The server's response code.
        code: String,
    },
    /// Our credentials are refused for the whole tenant.
    #[error("credentials are refused ({code})")]
    Unauthorized {
        /// The server's response code or HTTP status.
        code: String,
    },
    /// A permanent refusal that only a person (or much time) mends: park the mailbox.
    #[error("permanently refused ({code})")]
    Refused {
        /// The server's response code.
        code: String,
    },
    /// Passing trouble: try again with growing delay.
    #[error("not available at the moment ({code})")]
    Unavailable {
        /// The server's response code, or what failed on the way there.
        code: String,
    },
}

/// The port itself.
#[async_trait]
pub trait MailSource: Send + Sync + 'static {
    /// Subscribes to the inbox and joins a stream. Hints flow to the sink that the adapter was built with; the first is
    /// `StreamOpened` (or `SubscriptionLost`). A `predecessor` from the mailbox row is ended first, as well as it can be.
    /// Returns the record to be kept in the row. Watching a mailbox that is watched replaces its subscription.
    async fn watch(&self, mailbox: &MailboxRef, predecessor: Option<SubscriptionRecord>) -> Result<SubscriptionRecord, SourceError>;

    /// Makes a shadow subscription: joined to a stream, for a mailbox that is planned to become ours. Ends when the stream spoke for it. What is heard
    /// goes to the sink, which knows nobody who wants it. A later `watch` takes it over: it answers with its record without asking the server, ends no
    /// predecessor (who hands over ends his own), and the sink hears `StreamOpened` again as soon as the stream speaks, or at once if it did.
    async fn warm(&self, mailbox: &MailboxRef) -> Result<(), SourceError>;

    /// Leaves the stream and ends the subscription at the server, in the adapter's own time. Never fails; a mailbox that is not watched is ignored.
    fn unwatch(&self, mailbox: MailboxId);

    /// Which server serves the mailbox, by what is known at this moment: nobody is asked.
    fn back_end(&self, mailbox: &MailboxRef) -> BackEnd;

    /// The next page of changes after `state` (from the very beginning if none), at most 512.
    async fn changes(&self, mailbox: &MailboxRef, state: Option<&SyncState>) -> Result<ChangesPage, SourceError>;

    /// Items of the inbox received at `since` or later, newest first, at most `limit` (<= 100): finds new mail while the state is being seeded.
    async fn received_since(&self, mailbox: &MailboxRef, since: Timestamp, limit: usize) -> Result<Vec<ItemFacts>, SourceError>;

    /// Content of the items (at most 10), in the order asked; `None` for one that is no longer in the inbox.
    async fn contents(&self, mailbox: &MailboxRef, items: &[ItemId]) -> Result<Vec<Option<MailContent>>, SourceError>;

    /// Unread count of the inbox.
    async fn unread(&self, mailbox: &MailboxRef) -> Result<u32, SourceError>;
}
