//! Which actor watches which mailbox: where hints and questions find their way in.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ractor::ActorRef;

use crate::ids::{Fence, MailboxId, ShardId};
use crate::mailbox::message::Message;
use crate::mailbox::slot::Slot;
use crate::mailbox::state::Input;
use crate::ports::HintSink;
use crate::ports::mail_source::Hint;
use crate::telemetry::metrics;

/// A mailbox's way in.
#[derive(Debug, Clone)]
struct Entry {
    shard: ShardId,
    slot: Arc<Slot>,
    actor: ActorRef<Message>,
}

/// All watched mailboxes of a node.
#[derive(Debug, Default)]
pub struct Directory {
    entered: RwLock<Entered>,
}

#[derive(Debug, Default)]
struct Entered {
    entries: BTreeMap<MailboxId, Entry>,
    /// The node drains: who is entered late is told too.
    draining: bool,
    /// The epoch under which mailboxes of a shard acted last.
    epochs: BTreeMap<ShardId, Fence>,
}

impl Directory {
    /// Enters an actor; it replaces the one before, whose hints it inherits with the slot.
    pub fn enter(&self, shard: ShardId, mailbox: MailboxId, slot: Arc<Slot>, actor: ActorRef<Message>) {
        let mut entered = self.change();
        if entered.draining {
            // One that just ended needs no word.
            let _ = actor.cast(Message::Step(Input::Drain));
        }
        entered.entries.insert(mailbox, Entry { shard, slot, actor });
    }

    /// Strikes all actors of a shard out, or all actors: whoever supervised them failed, and they ended with it. Says whose they were.
    pub fn strike_out(&self, shard: Option<ShardId>) -> Vec<MailboxId> {
        let struck = |_: &MailboxId, entry: &mut Entry| shard.is_none_or(|shard| shard == entry.shard);
        self.change().entries.extract_if(.., struck).map(|(mailbox, _)| mailbox).collect()
    }

    /// Strikes an actor out, unless another one took its place.
    pub fn leave(&self, mailbox: MailboxId, actor: &ActorRef<Message>) {
        let entries = &mut self.change().entries;
        if entries.get(&mailbox).is_some_and(|entry| entry.actor.get_id() == actor.get_id()) {
            entries.remove(&mailbox);
        }
    }

    /// Notes that mailboxes of a shard act under that epoch from here on.
    pub fn acts(&self, shard: ShardId, epoch: Fence) {
        self.change().epochs.insert(shard, epoch);
    }

    /// The epoch under which mailboxes of a shard acted last in this process, whoever supervised them; what they began may still be under way.
    #[must_use]
    pub fn epoch(&self, shard: ShardId) -> Option<Fence> {
        self.look().epochs.get(&shard).copied()
    }

    /// The actor of a mailbox.
    #[must_use]
    pub fn find(&self, mailbox: MailboxId) -> Option<ActorRef<Message>> {
        self.look().entries.get(&mailbox).map(|entry| entry.actor.clone())
    }

    /// Tells all actors.
    pub fn tell_all(&self, input: &Input) {
        self.look().tell_all(input);
    }

    /// A node begins: what is entered from here on works, though a former life of the node drained before it ended.
    pub fn begin(&self) {
        self.change().draining = false;
    }

    /// Tells all actors, and all that are entered until the next life of the node, that no collections begin any more.
    pub fn drain(&self) {
        let mut entered = self.change();
        entered.draining = true;
        entered.tell_all(&Input::Drain);
    }

    /// Tells one actor; one that does not exist is ignored.
    pub fn tell(&self, mailbox: MailboxId, input: Input) {
        if let Some(actor) = self.find(mailbox) {
            let _ = actor.cast(Message::Step(input));
        }
    }
}

impl Directory {
    // The map is whole after any of its operations.
    fn look(&self) -> RwLockReadGuard<'_, Entered> {
        self.entered.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Entered> {
        self.entered.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    fn tell_all(&self, input: &Input) {
        for entry in self.entries.values() {
            let _ = entry.actor.cast(Message::Step(input.clone()));
        }
    }
}

impl HintSink for Directory {
    fn hint(&self, mailbox: MailboxId, hint: Hint) {
        metrics::hints(1);
        if let Some(entry) = self.look().entries.get(&mailbox)
            && entry.slot.fold(hint)
        {
            let _ = entry.actor.cast(Message::Hinted);
        }
    }

    fn cause(&self, mailbox: MailboxId, code: &Arc<str>) {
        if let Some(entry) = self.look().entries.get(&mailbox) {
            entry.slot.because(code.clone());
        }
    }
}
