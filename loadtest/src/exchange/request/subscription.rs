//! Requests about subscriptions, streaming and pull (MS-OXWSNTIF).

use super::super::names::{MESSAGES, TYPES};
use super::super::schema::{Sequence, Violation, number, text, word};
use super::FolderName;
use crate::world::EventKind;
use crate::xml::Element;

/// How the client hears of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exchange) enum Delivery {
    /// By GetStreamingEvents.
    Streaming,
    /// By GetEvents, which must be called within so many minutes.
    Pull {
        /// 1 to 1440.
        minutes: u64,
    },
}

/// A request for a subscription.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct Subscribe {
    /// `None` with SubscribeToAllFolders.
    pub(in crate::exchange) folder: Option<FolderName>,
    pub(in crate::exchange) events: Vec<EventKind>,
    pub(in crate::exchange) delivery: Delivery,
}

impl Subscribe {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        if parts.optional(MESSAGES, "PushSubscriptionRequest").is_some() {
            return Err(Violation::not_simulated("push subscriptions"));
        }
        let pull = parts.optional(MESSAGES, "PullSubscriptionRequest");
        let wanted = match pull {
            Some(pull) => pull,
            None => parts.message("StreamingSubscriptionRequest")?,
        };
        parts.end()?;
        let all = matches!(wanted.attribute("SubscribeToAllFolders"), Some("true" | "1"));
        let mut parts = Sequence::of(wanted);
        let folder = match parts.optional(TYPES, "FolderIds") {
            Some(_) if all => {
                return Err(Violation::new("both folders and SubscribeToAllFolders"));
            }
            Some(list) => Some(FolderName::read_one(list)?),
            None if all => None,
            None => return Err(Violation::new("neither folders nor SubscribeToAllFolders")),
        };
        let types = parts.of_type("EventTypes")?;
        let delivery = match pull {
            None => Delivery::Streaming,
            Some(_) => {
                if parts.optional(TYPES, "Watermark").is_some_and(|watermark| !watermark.trimmed().is_empty()) {
                    return Err(Violation::not_simulated("subscriptions that go on from a watermark"));
                }
                Delivery::Pull { minutes: number(parts.of_type("Timeout")?, 1, 1440)? }
            }
        };
        parts.end()?;
        let mut events = Vec::new();
        let mut list = Sequence::of(types);
        while let Some(kind) = list.optional(TYPES, "EventType") {
            events.extend(read_event_type(kind)?);
        }
        list.end()?;
        if types.children.is_empty() {
            return Err(Violation::new("no event type"));
        }
        Ok(Self { folder, events, delivery })
    }
}

/// The kinds of event; `None` for one that an inbox of this world never causes.
fn read_event_type(element: &Element) -> Result<Option<EventKind>, Violation> {
    let allowed = ["CopiedEvent", "CreatedEvent", "DeletedEvent", "ModifiedEvent", "MovedEvent", "NewMailEvent", "FreeBusyChangedEvent"];
    let name = word(element, &allowed)?;
    let kinds = [EventKind::Copied, EventKind::Created, EventKind::Deleted, EventKind::Modified, EventKind::Moved, EventKind::NewMail];
    Ok(kinds.into_iter().find(|kind| kind.element() == name))
}

/// A request to open a stream.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct GetStreamingEvents {
    pub(in crate::exchange) ids: Vec<String>,
    /// 1 to 30.
    pub(in crate::exchange) minutes: u64,
}

impl GetStreamingEvents {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let list = parts.message("SubscriptionIds")?;
        let timeout = parts.message("ConnectionTimeout")?;
        parts.end()?;
        let mut inner = Sequence::of(list);
        let mut ids = Vec::with_capacity(list.children.len());
        while let Some(id) = inner.optional(TYPES, "SubscriptionId") {
            ids.push(text(id)?);
        }
        inner.end()?;
        if ids.is_empty() {
            return Err(Violation::new("SubscriptionIds is empty"));
        }
        Ok(Self { ids, minutes: number(timeout, 1, 30)? })
    }
}

/// The next events of a pull subscription.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct GetEvents {
    pub(in crate::exchange) id: String,
    pub(in crate::exchange) watermark: String,
}

impl GetEvents {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let id = text(parts.message("SubscriptionId")?)?;
        let watermark = text(parts.message("Watermark")?)?;
        parts.end()?;
        Ok(Self { id, watermark })
    }
}
