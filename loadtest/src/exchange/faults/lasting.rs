//! Faults that last until they are lifted: syncs without an end, items that spoil every page they are on, streams for their anchor alone.

use std::collections::HashMap;

use super::{ExchangeFaults, NamedIds, RequestFault};
use crate::exchange::request::OperationName;

/// How SyncFolderItems fails to say that it is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndlessSync {
    /// The same state and nothing new.
    SameState,
    /// The same state, and the same change each time.
    SameStateAndChange,
    /// Another state each time and nothing new.
    NewState,
    /// Another state each time, and a change.
    NewStateAndChange,
}

/// An item that spoils the whole of every answer that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoilt {
    /// What is answered instead.
    pub fault: RequestFault,
    /// Also answers that hold its id alone.
    pub bare_too: bool,
    /// The only operation that is spoilt; all, if none.
    pub only: Option<OperationName>,
}

#[derive(Debug, Default)]
pub(super) struct Lasting {
    endless: HashMap<String, EndlessSync>,
    spoilt: HashMap<String, Spoilt>,
    only_anchor: Option<NamedIds>,
}

impl ExchangeFaults {
    /// From here on syncs of `mailbox` come to no end; `None` lifts it.
    pub fn endless_sync(&self, mailbox: &str, how: Option<EndlessSync>) {
        let (mailbox, mut state) = (mailbox.to_ascii_lowercase(), self.lock());
        state.lasting.endless.remove(&mailbox);
        state.lasting.endless.extend(how.map(|how| (mailbox, how)));
    }

    /// From here on the item of this id spoils answers; `None` lifts it.
    pub fn spoil(&self, item: &str, how: Option<Spoilt>) {
        let mut state = self.lock();
        state.lasting.spoilt.remove(item);
        state.lasting.spoilt.extend(how.map(|how| (item.to_owned(), how)));
    }

    /// From here on a stream carries the subscription of the mailbox that is impersonated alone: the others are refused, named so; `None` lifts it.
    pub fn only_anchor(&self, named: Option<NamedIds>) {
        self.lock().lasting.only_anchor = named;
    }

    pub(in crate::exchange) fn endless(&self, mailbox: &str) -> Option<EndlessSync> {
        self.lock().lasting.endless.get(mailbox).copied()
    }

    pub(in crate::exchange) fn refuses_others(&self) -> Option<NamedIds> {
        self.lock().lasting.only_anchor
    }

    /// What is answered instead of this document, if an item on it spoils it.
    pub(in crate::exchange) fn spoils(&self, operation: OperationName, document: &str) -> Option<RequestFault> {
        let bare = !document.contains("<t:ItemClass>") && !document.contains("<t:Subject>");
        let mut state = self.lock();
        let spoils = |(id, how): &(&String, &Spoilt)| {
            let asked = how.only.is_none_or(|only| only == operation);
            asked && (how.bare_too || !bare) && document.contains(&format!("Id=\"{id}\""))
        };
        let fault = state.lasting.spoilt.iter().find(spoils).map(|(_, how)| how.fault.clone())?;
        *state.counted.entry("spoilt-page").or_default() += 1;
        Some(fault)
    }
}
