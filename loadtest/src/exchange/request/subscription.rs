//! Requests about streaming subscriptions (MS-OXWSNTIF).

use super::super::names::TYPES;
use super::super::schema::{Sequence, Violation, number, text, word};
use super::{FolderName, read_folder};
use crate::world::EventKind;
use crate::xml::Element;

/// A request for a streaming subscription.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct Subscribe {
    /// `None` with SubscribeToAllFolders.
    pub(in crate::exchange) folder: Option<FolderName>,
    pub(in crate::exchange) events: Vec<EventKind>,
}

impl Subscribe {
    pub(super) fn read(request: &Element) -> Result<Self, Violation> {
        let mut parts = Sequence::of(request);
        let streaming = parts.message("StreamingSubscriptionRequest")?;
        parts.end()?;
        let all = matches!(streaming.attribute("SubscribeToAllFolders"), Some("true" | "1"));
        let mut parts = Sequence::of(streaming);
        let folder = match parts.optional(TYPES, "FolderIds") {
            Some(_) if all => {
                return Err(Violation::new("both folders and SubscribeToAllFolders"));
            }
            Some(list) => Some(read_folder(list)?),
            None if all => None,
            None => return Err(Violation::new("neither folders nor SubscribeToAllFolders")),
        };
        let types = parts.of_type("EventTypes")?;
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
        Ok(Self { folder, events })
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
