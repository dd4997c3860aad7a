//! One mailbox: its inbox under a lock, whoever is subscribed to it, and the witness who hears first.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use jiff::Timestamp;

use super::WorldError;
use super::event::{Event, EventKind, EventSink, ItemName};
use super::id::Signature;
use super::mail::{ItemView, MailSpec, is_mail_class};
use super::state::Inbox;
use super::sync::{SyncPage, SyncStateRefused};
use crate::witness::{Gone, MailFact, Witness};

/// A mailbox. Each operation is atomic: witness, subscribers and readers see the same order.
pub struct Mailbox {
    smtp: String,
    folder_id: String,
    group: AtomicUsize,
    witness: Arc<dyn Witness>,
    state: Mutex<State>,
}

struct State {
    inbox: Inbox,
    sinks: Vec<Weak<dyn EventSink>>,
}

/// How a mail comes into the inbox, which decides what subscribers hear.
#[derive(Clone, Copy)]
enum Arrival {
    Delivered,
    MovedIn,
    Copied(u64),
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("smtp", &self.smtp).finish_non_exhaustive()
    }
}

impl Mailbox {
    pub(super) fn new(smtp: String, instance: u64, witness: Arc<dyn Witness>) -> Self {
        let signature = Signature::new(instance, &smtp);
        Self {
            folder_id: signature.folder_id(),
            smtp,
            group: AtomicUsize::new(0),
            witness,
            state: Mutex::new(State { inbox: Inbox::new(signature), sinks: Vec::new() }),
        }
    }

    /// Its SMTP address, lower case.
    pub fn smtp(&self) -> &str {
        &self.smtp
    }

    /// The id of its inbox folder.
    pub fn folder_id(&self) -> &str {
        &self.folder_id
    }

    /// Which of the server's groups it lives in (a position in the server's list, taken modulo its length).
    pub fn group(&self) -> usize {
        self.group.load(Ordering::Relaxed)
    }

    /// Puts it into another group; autodiscover tells so from then on.
    pub fn set_group(&self, group: usize) {
        self.group.store(group, Ordering::Relaxed);
    }

    /// Unread mails in the inbox.
    pub fn unread(&self) -> u64 {
        self.lock().inbox.unread
    }

    /// Items in the inbox.
    pub fn total(&self) -> usize {
        self.lock().inbox.items.len()
    }

    /// One item, if it is there under this id.
    pub fn item(&self, id: &str) -> Option<ItemView> {
        let state = self.lock();
        let number = state.inbox.number(id).ok()?;
        state.inbox.view(number)
    }

    /// Items received at or after `since` (all when `None`), newest first, at most `max`, and how many there are.
    pub fn received_since(&self, since: Option<Timestamp>, max: usize) -> (Vec<ItemView>, usize) {
        let state = self.lock();
        let mut found: Vec<(Timestamp, u64)> = state
            .inbox
            .items
            .iter()
            .filter(|(_, item)| since.is_none_or(|since| item.received_at >= since))
            .map(|(&number, item)| (item.received_at, number))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let total = found.len();
        let page = found.iter().take(max);
        (page.filter_map(|&(_, number)| state.inbox.view(number)).collect(), total)
    }

    /// What changed since `sync_state`.
    ///
    /// # Errors
    /// [`SyncStateRefused`].
    pub fn sync(&self, sync_state: Option<&str>, max: usize) -> Result<SyncPage, SyncStateRefused> {
        self.lock().inbox.sync(sync_state, max)
    }

    /// From here on `sink` hears every event, until it is dropped.
    pub fn subscribe(&self, sink: Weak<dyn EventSink>) {
        let mut state = self.lock();
        state.sinks.retain(|sink| sink.strong_count() > 0);
        state.sinks.push(sink);
    }

    pub(super) fn deliver(&self, mail: MailSpec) -> String {
        self.put(Arc::new(mail), Timestamp::now(), Arrival::Delivered)
    }

    pub(super) fn move_in(&self, mail: MailSpec, received_at: Timestamp) -> String {
        self.put(Arc::new(mail), received_at, Arrival::MovedIn)
    }

    pub(super) fn copy(&self, id: &str) -> Result<String, WorldError> {
        let (mail, received_at, origin) = {
            let state = self.lock();
            let number = state.inbox.number(id)?;
            state.inbox.mail(number).ok_or(WorldError::NoSuchItem)?
        };
        Ok(self.put(mail, received_at, Arrival::Copied(origin)))
    }

    pub(super) fn set_read(&self, id: &str, is_read: bool) -> Result<(), WorldError> {
        let mut state = self.lock();
        let number = state.inbox.number(id)?;
        if !state.inbox.set_read(number, is_read)? {
            return Ok(());
        }
        if is_read {
            self.witness.mail_gone(&self.smtp, id, Gone::Read);
        } else {
            self.witness.mail_unread(&self.smtp, id);
        }
        let name = state.inbox.name(number);
        self.tell(&mut state, &[(EventKind::Modified, name)], None);
        Ok(())
    }

    /// Changes something of an item that nobody needs to hear of: a category, a flag.
    ///
    /// # Errors
    /// [`WorldError::NoSuchItem`].
    pub fn touch(&self, id: &str) -> Result<(), WorldError> {
        let mut state = self.lock();
        let number = state.inbox.number(id)?;
        state.inbox.touch(number)?;
        let name = state.inbox.name(number);
        self.tell(&mut state, &[(EventKind::Modified, name)], None);
        Ok(())
    }

    pub(super) fn remove(&self, id: &str, why: Gone) -> Result<(), WorldError> {
        let mut state = self.lock();
        let number = state.inbox.number(id)?;
        let name = state.inbox.name(number);
        state.inbox.remove(number)?;
        self.witness.mail_gone(&self.smtp, id, why);
        match why {
            Gone::Moved => {
                let old = Some(name.clone());
                self.tell(&mut state, &[(EventKind::Moved, name)], old);
            }
            Gone::Read | Gone::Deleted => self.tell(&mut state, &[(EventKind::Deleted, name)], None),
        }
        Ok(())
    }

    pub(super) fn seed_old_mails(&self, count: usize) {
        let mut state = self.lock();
        state.inbox.add_old(count, Timestamp::now());
        self.witness.unread_count(&self.smtp, state.inbox.unread);
    }

    pub(super) fn relocate(&self) {
        let mut state = self.lock();
        let numbers: Vec<u64> = state.inbox.items.keys().copied().collect();
        let former: Vec<String> = numbers.iter().map(|&n| state.inbox.id(n)).collect();
        state.inbox.relocate();
        for (number, old) in numbers.into_iter().zip(former) {
            let id = state.inbox.id(number);
            self.witness.mail_renamed(&self.smtp, &old, &id);
        }
        for sink in std::mem::take(&mut state.sinks) {
            if let Some(sink) = sink.upgrade() {
                sink.mailbox_moved();
            }
        }
    }

    pub(super) fn refuse_sync_states(&self) {
        self.lock().inbox.epoch += 1;
    }

    fn put(&self, mail: Arc<MailSpec>, received_at: Timestamp, arrival: Arrival) -> String {
        let mut state = self.lock();
        let origin = match arrival {
            Arrival::Copied(origin) => Some(origin),
            Arrival::Delivered | Arrival::MovedIn => None,
        };
        let number = state.inbox.add(Arc::clone(&mail), received_at, origin);
        let name = state.inbox.name(number);
        let is_news = matches!(arrival, Arrival::Delivered);
        self.witness.mail_delivered(&MailFact {
            mailbox: self.smtp.clone(),
            item_id: name.id.clone(),
            at: Instant::now(),
            received_at,
            sender: mail.sender_name.clone(),
            subject: mail.subject.clone(),
            preview: mail.preview.clone(),
            to_announce: is_news && is_mail_class(&mail.class) && !mail.is_read && !mail.is_draft,
        });
        let id = name.id.clone();
        match arrival {
            Arrival::Delivered => {
                let created = (EventKind::Created, name.clone());
                self.tell(&mut state, &[created, (EventKind::NewMail, name)], None);
            }
            Arrival::MovedIn => {
                let elsewhere = ItemName { id: id[..id.len() - 8].to_owned(), change_key: name.change_key.clone() };
                self.tell(&mut state, &[(EventKind::Moved, name)], Some(elsewhere));
            }
            Arrival::Copied(_) => self.tell(&mut state, &[(EventKind::Created, name)], None),
        }
        id
    }

    /// Tells subscribers of the items' events and of the folder's own; the unread count is told to the witness as well.
    fn tell(&self, state: &mut State, items: &[(EventKind, ItemName)], old: Option<ItemName>) {
        let unread = state.inbox.unread;
        self.witness.unread_count(&self.smtp, unread);
        if state.sinks.is_empty() {
            return;
        }
        let at = Timestamp::now();
        let old = old.map(Arc::new);
        let mut events: Vec<Event> = items
            .iter()
            .map(|(kind, name)| Event { kind: *kind, at, item: Some(Arc::new(name.clone())), old_item: old.clone(), unread: None })
            .collect();
        events.push(Event { kind: EventKind::Modified, at, item: None, old_item: None, unread: Some(unread) });
        state.sinks.retain(|sink| {
            let Some(sink) = sink.upgrade() else {
                return false;
            };
            sink.push(&events);
            true
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
