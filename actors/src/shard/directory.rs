//! Which actor watches which mailbox: where hints and questions find their way in.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ractor::ActorRef;

use crate::ids::MailboxId;
use crate::mailbox::message::Message;
use crate::mailbox::slot::Slot;
use crate::mailbox::state::Input;
use crate::ports::HintSink;
use crate::ports::mail_source::Hint;

/// A mailbox's way in.
#[derive(Debug, Clone)]
struct Entry {
    slot: Arc<Slot>,
    actor: ActorRef<Message>,
}

/// All watched mailboxes of a node.
#[derive(Debug, Default)]
pub struct Directory {
    entries: RwLock<BTreeMap<MailboxId, Entry>>,
}

impl Directory {
    /// Enters an actor; it replaces the one before, whose hints it inherits with the slot.
    pub fn enter(&self, mailbox: MailboxId, slot: Arc<Slot>, actor: ActorRef<Message>) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(mailbox, Entry { slot, actor });
    }

    /// Strikes an actor out, unless another one took its place.
    pub fn leave(&self, mailbox: MailboxId, actor: &ActorRef<Message>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.get(&mailbox).is_some_and(|entry| entry.actor.get_id() == actor.get_id()) {
            entries.remove(&mailbox);
        }
    }

    /// The actor of a mailbox.
    #[must_use]
    pub fn find(&self, mailbox: MailboxId) -> Option<ActorRef<Message>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&mailbox).map(|entry| entry.actor.clone())
    }

    /// Tells all actors.
    pub fn tell_all(&self, input: &Input) {
        for entry in self.entries.read().unwrap_or_else(PoisonError::into_inner).values() {
            // One that just ended needs no word.
            let _ = entry.actor.cast(Message::Step(input.clone()));
        }
    }

    /// Tells one actor; one that does not exist is ignored.
    pub fn tell(&self, mailbox: MailboxId, input: Input) {
        if let Some(actor) = self.find(mailbox) {
            let _ = actor.cast(Message::Step(input));
        }
    }
}

impl HintSink for Directory {
    fn hint(&self, mailbox: MailboxId, hint: Hint) {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&mailbox)
            && entry.slot.fold(hint)
        {
            let _ = entry.actor.cast(Message::Hinted);
        }
    }
}
