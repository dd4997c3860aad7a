//! The port to the delivery rows after they were committed: verdicts, retries, what was left behind, retention.
//!
//! Contract. (1) A verdict is a fact and needs no fence: it is set on a PENDING row, once, and clears the item id. (2) Scheduling a retry is
//! fenced. (3) `stranded` finds every PENDING row that is due, whatever its fence, for mailboxes that the session owns. (4) Reading rows to send them is fenced by
//! their mailbox: whoever was overtaken, be it by a promotion that he has not heard of, finds nothing to send.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ids::{Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId, Session};
use crate::ports::error::StoreError;
use crate::ports::mailbox_store::DeliveryKind;
use crate::time::Timestamp;

/// A PENDING row as it is read to be sent (again).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its key.
    pub id: DeliveryId,
    /// For which device.
    pub device: DeviceId,
    /// The registration that it was made for.
    pub generation: Generation,
    /// What it is about.
    pub event: EventKey,
    /// The push that carries it.
    pub group: EventKey,
    /// Mail or badge.
    pub kind: DeliveryKind,
    /// Which mail.
    pub item: Option<ItemId>,
    /// When it was received.
    pub received_at: Timestamp,
    /// How many mails it stands for.
    pub count: u32,
    /// How often a try to send it ended.
    pub attempts: u32,
    /// Whether every try that began was definitely not taken, so that it may ride along with a newer push.
    pub refused: bool,
    /// Not to be sent before.
    pub next_at: Timestamp,
    /// Not worth sending after.
    pub expires_at: Timestamp,
}

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Settled {
    /// The provider took it.
    Sent,
    /// It will never be sent: expired, refused for good, device gone.
    Dead,
    /// There was nothing to announce any more: read, deleted or moved elsewhere.
    Superseded,
}

/// The end of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which row.
    pub id: DeliveryId,
    /// How it ended.
    pub settled: Settled,
    /// Why, in a code (a provider's reason, `read`, `deleted`, `expired`, ...).
    pub reason: Arc<str>,
}

/// A row that is to be tried again, or whose next try begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Which row.
    pub id: DeliveryId,
    /// Of which mailbox: fenced by it.
    pub mailbox: MailboxId,
    /// Under which authority.
    pub authority: Authority,
    /// The push that carries it from here on.
    pub group: EventKey,
    /// Not before.
    pub next_at: Timestamp,
    /// Whether a try ended: it is counted.
    pub ended: bool,
    /// Whether every try that began was definitely not taken.
    pub refused: bool,
    /// The provider's code.
    pub reason: Arc<str>,
}

/// The port itself.
#[async_trait]
pub trait DeliveryStore: Send + Sync + 'static {
    /// PENDING rows of a mailbox that carries this authority, whatever the fence of the rows, oldest first, at most 1,024. None when it carries another.
    async fn pending(&self, mailbox: MailboxId, authority: Authority) -> Result<Vec<Pending>, StoreError>;

    /// Settles rows; one that is settled already stays as it is. At most 1,000.
    async fn mark(&self, marks: &[Mark]) -> Result<(), StoreError>;

    /// Sets group, `next_at` and `refused` for PENDING rows under their authority, and adds one to `attempts` where a try ended. At most 1,000.
    async fn schedule(&self, retries: &[Retry]) -> Result<(), StoreError>;

    /// Mailboxes of the session that hold a PENDING row with `next_at <= now`, at most `limit`, longest due first.
    async fn stranded(&self, session: Session, now: Timestamp, limit: u32) -> Result<Vec<MailboxId>, StoreError>;

    /// Removes up to `limit` settled rows older than `before`; says how many.
    async fn retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError>;
}
