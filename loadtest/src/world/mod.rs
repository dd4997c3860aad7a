//! The world that the simulators share: mailboxes by address, the mails in their inboxes, and what happens to them.

mod event;
mod id;
mod mail;
mod mailbox;
mod state;
mod sync;

pub use event::{Event, EventKind, EventSink, ItemName};
pub use mail::{Importance, ItemView, MailSpec, is_mail_class};
pub use mailbox::Mailbox;
pub use sync::{SyncChange, SyncPage, SyncStateRefused};

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::witness::Witness;

/// Why the world did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// Nobody has a mailbox at that address.
    #[error("no mailbox at that address")]
    NoSuchMailbox,
    /// The inbox holds no item of that id (it never did, it was deleted, or a mailbox move changed its id).
    #[error("no item of that id in the inbox")]
    NoSuchItem,
}

/// All mailboxes of the simulated company. Thread-safe; ten thousand empty mailboxes cost a few megabytes.
pub struct World {
    /// Tells this run's item ids and sync states from those of any other run.
    instance: u64,
    witness: Arc<dyn Witness>,
    mailboxes: RwLock<HashMap<String, Arc<Mailbox>>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("mailboxes", &self.addresses().len()).finish_non_exhaustive()
    }
}

impl World {
    /// An empty world whose item ids differ from those of every other run, as those of a fresh server do.
    pub fn new(witness: Arc<dyn Witness>) -> Arc<Self> {
        Self::with_instance(witness, rand::random())
    }

    /// An empty world whose item ids depend on `instance` alone: two runs of one number make the same ids.
    pub fn with_instance(witness: Arc<dyn Witness>, instance: u64) -> Arc<Self> {
        Arc::new(Self { instance, witness, mailboxes: RwLock::default() })
    }

    /// Whoever is told what happens here.
    pub fn witness(&self) -> &Arc<dyn Witness> {
        &self.witness
    }

    /// Makes an empty mailbox; false when the address has one already. Addresses do not mind case.
    pub fn add_mailbox(&self, smtp: &str) -> bool {
        let smtp = smtp.to_ascii_lowercase();
        let mut all = self.mailboxes.write().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&smtp) {
            return false;
        }
        let mailbox = Mailbox::new(smtp.clone(), self.instance, Arc::clone(&self.witness));
        all.insert(smtp, Arc::new(mailbox));
        true
    }

    /// The mailbox at this address.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn mailbox(&self, smtp: &str) -> Result<Arc<Mailbox>, WorldError> {
        let all = self.mailboxes.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&smtp.to_ascii_lowercase()).cloned().ok_or(WorldError::NoSuchMailbox)
    }

    /// All addresses, sorted.
    pub fn addresses(&self) -> Vec<String> {
        let all = self.mailboxes.read().unwrap_or_else(PoisonError::into_inner);
        let mut addresses: Vec<String> = all.keys().cloned().collect();
        addresses.sort();
        addresses
    }

    /// A mail arrives in the inbox: sync reports it as created, subscribers hear NewMail, Created and the folder's Modified.
    /// Returns the item id.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn deliver(&self, smtp: &str, mail: MailSpec) -> Result<String, WorldError> {
        Ok(self.mailbox(smtp)?.deliver(mail))
    }

    /// Somebody drags a mail into the inbox: a new id, its old DateTimeReceived. Returns the item id.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn move_in(&self, smtp: &str, mail: MailSpec, received_at: Timestamp) -> Result<String, WorldError> {
        Ok(self.mailbox(smtp)?.move_in(mail, received_at))
    }

    /// Copies a mail within the inbox; the copy has an id of its own and the original's DateTimeReceived. Returns the copy's id.
    ///
    /// # Errors
    /// Both kinds of [`WorldError`].
    pub fn copy(&self, smtp: &str, item_id: &str) -> Result<String, WorldError> {
        self.mailbox(smtp)?.copy(item_id)
    }

    /// The owner reads a mail elsewhere.
    ///
    /// # Errors
    /// Both kinds of [`WorldError`].
    pub fn mark_read(&self, smtp: &str, item_id: &str) -> Result<(), WorldError> {
        self.mailbox(smtp)?.set_read(item_id, true)
    }

    /// The owner marks a mail as unread.
    ///
    /// # Errors
    /// Both kinds of [`WorldError`].
    pub fn mark_unread(&self, smtp: &str, item_id: &str) -> Result<(), WorldError> {
        self.mailbox(smtp)?.set_read(item_id, false)
    }

    /// The owner deletes a mail.
    ///
    /// # Errors
    /// Both kinds of [`WorldError`].
    pub fn delete(&self, smtp: &str, item_id: &str) -> Result<(), WorldError> {
        self.mailbox(smtp)?.remove(item_id, crate::witness::Gone::Deleted)
    }

    /// The owner moves a mail to another folder.
    ///
    /// # Errors
    /// Both kinds of [`WorldError`].
    pub fn move_out(&self, smtp: &str, item_id: &str) -> Result<(), WorldError> {
        self.mailbox(smtp)?.remove(item_id, crate::witness::Gone::Moved)
    }

    /// Lays `count` read mails of the past years into the inbox, as if they had always been there: nobody is notified and the
    /// witness is not told. Fifty thousand take some ten milliseconds and three megabytes.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn seed_old_mails(&self, smtp: &str, count: usize) -> Result<(), WorldError> {
        self.mailbox(smtp)?.seed_old_mails(count);
        Ok(())
    }

    /// Moves the mailbox to another database: every item id changes, sync states are refused from here on, and its
    /// subscriptions die with `MailboxMoveStarted`.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn move_mailbox(&self, smtp: &str) -> Result<(), WorldError> {
        self.mailbox(smtp)?.relocate();
        Ok(())
    }

    /// Makes every sync state handed out so far unusable (`ErrorInvalidSyncStateData`); ids stay.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn refuse_sync_states(&self, smtp: &str) -> Result<(), WorldError> {
        self.mailbox(smtp)?.refuse_sync_states();
        Ok(())
    }

    /// How many unread mails the inbox holds.
    ///
    /// # Errors
    /// [`WorldError::NoSuchMailbox`].
    pub fn unread(&self, smtp: &str) -> Result<u64, WorldError> {
        Ok(self.mailbox(smtp)?.unread())
    }
}

#[cfg(test)]
mod tests;
