//! What an inbox tells its subscribers, as Exchange names it (MS-OXWSNTIF).

use std::sync::Arc;

use jiff::Timestamp;

/// The name of an item as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemName {
    /// The opaque item id.
    pub id: String,
    /// The change key of the item's version.
    pub change_key: String,
}

/// The kinds of notification that an inbox can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A mail arrived by delivery.
    NewMail,
    /// An item was created (delivery, or a copy).
    Created,
    /// An item or the folder changed; for the folder [`Event::unread`] is set.
    Modified,
    /// An item was deleted.
    Deleted,
    /// An item was moved, into the inbox or out of it.
    Moved,
    /// An item was copied.
    Copied,
}

impl EventKind {
    /// The name in `t:EventType` and of the event's element.
    pub fn element(self) -> &'static str {
        match self {
            Self::NewMail => "NewMailEvent",
            Self::Created => "CreatedEvent",
            Self::Modified => "ModifiedEvent",
            Self::Deleted => "DeletedEvent",
            Self::Moved => "MovedEvent",
            Self::Copied => "CopiedEvent",
        }
    }
}

/// One notification about one inbox.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When, by the server's clock; all events of one cause carry the same time.
    pub at: Timestamp,
    /// The item concerned; absent when the folder itself changed.
    pub item: Option<Arc<ItemName>>,
    /// For Moved and Copied: the item's name before.
    pub old_item: Option<Arc<ItemName>>,
    /// For the folder's Modified: its unread count.
    pub unread: Option<u64>,
}

/// Whoever is subscribed to a mailbox. Called under the mailbox's lock, in the order of the events: must be quick.
pub trait EventSink: Send + Sync {
    /// Something happened.
    fn push(&self, events: &[Event]);
    /// The mailbox left for another database; no event follows.
    fn mailbox_moved(&self);
}
