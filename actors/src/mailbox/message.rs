//! What a mailbox actor is told.

use ractor::RpcReplyPort;
use tokio::sync::OwnedSemaphorePermit;

use super::state::Input;
use crate::delivery::message::Order;
use crate::ids::Authority;
use crate::places::Place;
use crate::ports::cluster_store::OwnedMailbox;
use crate::ports::mail_source::{SourceError, SubscriptionRecord};
use crate::snapshot::MailboxSnapshot;

/// Messages of a mailbox actor.
#[derive(Debug)]
pub enum Message {
    /// Hints were folded into the mailbox's slot.
    Hinted,
    /// The answer of the mail source to a request to watch.
    Watched(Result<SubscriptionRecord, SourceError>),
    /// There is a place for this delivery among the node's collections.
    Place(u32, Order, Place),
    /// There is room among the mailboxes that are seeded.
    Room(OwnedSemaphorePermit),
    /// A delivery reports; which of them by its number.
    Delivered(u32, Input),
    /// A delivery ended without its last word: it panicked.
    Crashed(u32),
    /// The mailbox is ours under this authority; what its row says.
    Restamp(Authority, OwnedMailbox),
    /// Anything else that its state machine knows.
    Step(Input),
    /// A task of this actor ended without an answer: it panicked.
    Vanished,
    /// Tell where it stands.
    Inspect(RpcReplyPort<MailboxSnapshot>),
}
