//! A small inbox: items, and the log of what happened to them, in which a sync state is a position.

use std::collections::BTreeMap;

use crate::ids::{ItemId, SyncState};
use crate::ports::mail_source::{Change, ChangesPage, ItemFacts};
use crate::time::Timestamp;

/// Most changes in one page (SyncFolderItems `MaxChangesReturned`).
const PAGE: usize = 512;

/// One item of an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `DateTimeReceived`.
    pub received_at: Timestamp,
    /// Whether it is marked read.
    pub read: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether its class is one of mail.
    pub mail_class: bool,
    /// Its subject.
    pub subject: String,
}

impl Mail {
    /// An unread mail received at that time.
    #[must_use]
    pub fn at(received_at: Timestamp) -> Self {
        Self { received_at, read: false, draft: false, mail_class: true, subject: String::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Created,
    Deleted,
    ReadFlag,
}

/// One inbox at the server.
#[derive(Debug, Default)]
pub struct Inbox {
    items: BTreeMap<ItemId, (Mail, usize)>,
    log: Vec<(ItemId, What, usize)>,
    /// States of an older generation are refused.
    generation: u32,
    named: u32,
}

impl Inbox {
    /// Puts an item in, under an id of its own.
    pub fn add(&mut self, owner: &str, mut mail: Mail) -> ItemId {
        self.named += 1;
        let item = ItemId(format!("{owner}/{}", self.named).into());
        if mail.subject.is_empty() {
            mail.subject = format!("mail {}", self.named);
        }
        self.put(item.clone(), mail);
        item
    }

    fn put(&mut self, item: ItemId, mail: Mail) {
        let place = self.log.len();
        self.log.push((item.clone(), What::Created, place));
        self.items.insert(item, (mail, place));
    }

    /// Marks an item read or unread.
    pub fn mark_read(&mut self, item: &ItemId, read: bool) {
        if let Some((mail, created)) = self.items.get_mut(item) {
            mail.read = read;
            self.log.push((item.clone(), What::ReadFlag, *created));
        }
    }

    /// Takes an item out (deleted or moved elsewhere).
    pub fn remove(&mut self, item: &ItemId) {
        if let Some((_, created)) = self.items.remove(item) {
            self.log.push((item.clone(), What::Deleted, created));
        }
    }

    /// Every state handed out so far is refused.
    pub fn refuse_states(&mut self) {
        self.generation += 1;
    }

    /// Every item gets another id, as when the mailbox moves to another server; states handed out so far are refused.
    pub fn change_ids(&mut self) {
        self.refuse_states();
        self.log.clear();
        for (item, (mail, _)) in std::mem::take(&mut self.items) {
            self.put(ItemId(format!("{}'", item.0).into()), mail);
        }
    }

    /// Unread items.
    #[must_use]
    pub fn unread(&self) -> u32 {
        u32::try_from(self.items.values().filter(|(mail, _)| !mail.read).count()).unwrap_or(u32::MAX)
    }

    /// An item, if it is there.
    #[must_use]
    pub fn get(&self, item: &ItemId) -> Option<&Mail> {
        self.items.get(item).map(|(mail, _)| mail)
    }

    /// All items.
    pub fn items(&self) -> impl Iterator<Item = (&ItemId, &Mail)> {
        self.items.iter().map(|(item, (mail, _))| (item, mail))
    }

    /// Items received at that time or later, newest first.
    #[must_use]
    pub fn received_since(&self, since: Timestamp, limit: usize) -> Vec<ItemFacts> {
        let mut found: Vec<ItemFacts> =
            self.items().filter(|(_, mail)| mail.received_at >= since).map(|(item, mail)| facts(item, mail)).collect();
        found.sort_by_key(|facts| std::cmp::Reverse(facts.received_at));
        found.truncate(limit);
        found
    }

    /// The next page after a state; `None` if the state is refused.
    #[must_use]
    pub fn changes(&self, state: Option<&SyncState>) -> Option<ChangesPage> {
        let from = match state {
            None => 0,
            Some(state) => {
                let (generation, place) = state.0.split_once(':')?;
                if generation != self.generation.to_string() {
                    return None;
                }
                place.parse().ok()?
            }
        };
        let (mut changes, mut place) = (Vec::new(), from);
        while place < self.log.len() && changes.len() < PAGE {
            let (item, what, created) = &self.log[place];
            changes.extend(self.tell(item, *what, *created, from));
            place += 1;
        }
        let state = SyncState(format!("{}:{place}", self.generation).into());
        Some(ChangesPage { changes, state, complete: place == self.log.len() })
    }

    /// What the log's entry is to a client that has seen everything before `from`: items that came since are told as they are.
    fn tell(&self, item: &ItemId, what: What, created: usize, from: usize) -> Option<Change> {
        let mail = self.get(item);
        match what {
            What::Created => mail.map(|mail| Change::Created(facts(item, mail))),
            What::Deleted => (created < from).then(|| Change::Deleted(item.clone())),
            What::ReadFlag if created < from => mail.map(|mail| Change::ReadFlag { item: item.clone(), read: mail.read }),
            What::ReadFlag => None,
        }
    }
}

fn facts(item: &ItemId, mail: &Mail) -> ItemFacts {
    ItemFacts { item: item.clone(), received_at: mail.received_at, read: mail.read, draft: mail.draft, mail_class: mail.mail_class }
}
