//! The port to the mailbox rows: sync state, and the one transaction that moves it together with the delivery rows it covers.
//!
//! Contract of `commit`. (1) One transaction for the whole batch; at most one entry per mailbox, applied in order of mailbox id. (2) An entry
//! matches iff fence, session and sync_seq of the row are those it names; it then sets state, flags and `sync_seq + 1`. (3) Rows
//! are inserted for entries that matched only, `ON CONFLICT (mailbox, device, event) DO NOTHING`, and only for devices of the
//! mailbox that exist, whatever their generation: a token that was refreshed meanwhile loses no mail. (4) It answers with both sets: matched mailboxes and inserted rows. (5) Nothing of it is content.

use async_trait::async_trait;

use crate::ids::{Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId, SyncSeq, SyncState};
use crate::ports::error::StoreError;
use crate::ports::mail_source::SubscriptionRecord;
use crate::time::Timestamp;

/// The row of a mailbox as a collection reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxState {
    /// Where the next sync starts; none before the first page of seeding.
    pub sync_state: Option<SyncState>,
    /// The number of the last commit.
    pub sync_seq: SyncSeq,
    /// Whether the state was drained to the end once since it was lost.
    pub seeded: bool,
    /// Whether a badge change waits to be told.
    pub badge_dirty: bool,
    /// Mail received before this is not announced.
    pub watch_since: Timestamp,
    /// The newest receive time that was announced; zero if none was.
    pub announced_until: Timestamp,
}

/// Why a delivery row exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryKind {
    /// It announces one mail (or, through `count`, older ones with it).
    Mail,
    /// It only corrects the badge.
    Badge,
}

/// A delivery row to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// For which device.
    pub device: DeviceId,
    /// The registration that was seen.
    pub generation: Generation,
    /// What it is about.
    pub event: EventKey,
    /// The event whose push carries it: rows of one device with one group are one push, whose ids derive from the group.
    pub group: EventKey,
    /// Mail or badge.
    pub kind: DeliveryKind,
    /// Which mail to read when the push is made; none for a badge.
    pub item: Option<ItemId>,
    /// When the mail was received.
    pub received_at: Timestamp,
    /// How many mails this row stands for: 1, or more on the oldest row of a very large burst; 0 for a badge.
    pub count: u32,
    /// The sweep leaves it alone until then: it is in the hands of whoever commits it.
    pub next_at: Timestamp,
    /// After this it is not worth sending.
    pub expires_at: Timestamp,
}

/// What one collection writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// About which mailbox.
    pub mailbox: MailboxId,
    /// Under which authority.
    pub authority: Authority,
    /// The number that was read.
    pub sync_seq: SyncSeq,
    /// The new sync state; `None` sets it to NULL (it was refused: seed again).
    pub sync_state: Option<SyncState>,
    /// Whether the state is drained to the end.
    pub seeded: bool,
    /// Whether a badge change waits.
    pub badge_dirty: bool,
    /// The newest receive time announced.
    pub announced_until: Timestamp,
    /// The rows that it covers.
    pub rows: Vec<NewDelivery>,
}

/// A row that a commit inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// Its key.
    pub id: DeliveryId,
    /// Of which mailbox.
    pub mailbox: MailboxId,
    /// For which device.
    pub device: DeviceId,
    /// About what.
    pub event: EventKey,
}

/// The two sets that a commit answers with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// Mailboxes whose entry matched.
    pub matched: Vec<MailboxId>,
    /// Rows that are new; a row that conflicted exists already and is in good hands.
    pub inserted: Vec<Inserted>,
}

/// The port itself.
#[async_trait]
pub trait MailboxStore: Send + Sync + 'static {
    /// The row, if it is there and carries the authority.
    async fn mailbox_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<MailboxState>, StoreError>;

    /// The transaction of the contract above; at most 200 entries.
    async fn sync_state_commit(&self, batch: &[Commit]) -> Result<Committed, StoreError>;

    /// The record of the subscription that the last owner had.
    async fn subscription_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<SubscriptionRecord>, StoreError>;

    /// Keeps the record of the subscription for a successor; `false` when the authority does not match. Does not touch `sync_seq`.
    async fn subscription_set(
        &self,
        mailbox: MailboxId,
        authority: Authority,
        record: Option<&SubscriptionRecord>,
    ) -> Result<bool, StoreError>;
}
