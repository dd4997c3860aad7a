//! What one inbox holds and what became of it, without locks and without listeners.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};

use super::WorldError;
use super::event::ItemName;
use super::id::{ItemNumber, Signature};
use super::mail::{ItemView, MailSpec};

/// Changes that an inbox remembers. A sync state that lags behind more than this is refused, as old ones are by real servers.
const CHANGES_KEPT: usize = 20_000;
/// Every so many of the old mails one is unread: whoever announces them by their flag alone is found out.
const OLD_UNREAD_EVERY: usize = 10;

/// An item as it is kept; its key is its number, which grows in the order of creation.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) received_at: Timestamp,
    pub(super) is_read: bool,
    /// Counts its changes; the change key follows it.
    version: u32,
    /// The number of its newest change, 0 when it never changed.
    changed: u64,
    /// The item that it is a copy of, or itself: copies share their InternetMessageId.
    origin: u64,
    /// `None` for the mails of the past, which all read alike.
    mail: Option<Arc<MailSpec>>,
}

/// The newest change of an item, in the order in which changes happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Updated(u64),
    ReadFlag(u64),
    Deleted(u64),
}

/// One inbox.
pub(super) struct Inbox {
    pub(super) signature: Signature,
    /// Refused sync states carry another one.
    pub(super) epoch: u64,
    generation: u32,
    /// The last number given to an item or a change.
    pub(super) last: u64,
    pub(super) items: BTreeMap<u64, Item>,
    pub(super) changes: BTreeMap<u64, Change>,
    /// Changes up to this number are no longer all remembered.
    pub(super) forgotten: u64,
    pub(super) unread: u64,
}

impl Inbox {
    pub(super) fn new(signature: Signature) -> Self {
        Self { signature, epoch: 1, generation: 1, last: 0, items: BTreeMap::new(), changes: BTreeMap::new(), forgotten: 0, unread: 0 }
    }

    /// Adds an item and returns its number.
    pub(super) fn add(&mut self, mail: Arc<MailSpec>, received_at: Timestamp, origin: Option<u64>) -> u64 {
        let is_read = mail.is_read;
        let number = self.next();
        self.unread += u64::from(!is_read);
        self.items
            .insert(number, Item { received_at, is_read, version: 1, changed: 0, origin: origin.unwrap_or(number), mail: Some(mail) });
        number
    }

    /// Adds mails of the past, one an hour, the newest two days before `now`.
    pub(super) fn add_old(&mut self, count: usize, now: Timestamp) {
        for position in 0..count {
            let hours = i64::try_from(48 + count - position).unwrap_or(i64::MAX);
            let number = self.next();
            let is_read = position % OLD_UNREAD_EVERY != 0;
            self.unread += u64::from(!is_read);
            self.items.insert(
                number,
                Item {
                    received_at: now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(now),
                    is_read,
                    version: 1,
                    changed: 0,
                    origin: number,
                    mail: None,
                },
            );
        }
    }

    /// Sets the read flag; false when it was set so already.
    pub(super) fn set_read(&mut self, number: u64, is_read: bool) -> Result<bool, WorldError> {
        let item = self.items.get_mut(&number).ok_or(WorldError::NoSuchItem)?;
        if item.is_read == is_read {
            return Ok(false);
        }
        item.is_read = is_read;
        if is_read {
            self.unread -= 1;
        } else {
            self.unread += 1;
        }
        self.record(number, Change::ReadFlag(number));
        Ok(true)
    }

    /// Changes something of the item that is not its read flag.
    pub(super) fn touch(&mut self, number: u64) -> Result<(), WorldError> {
        if !self.items.contains_key(&number) {
            return Err(WorldError::NoSuchItem);
        }
        self.record(number, Change::Updated(number));
        Ok(())
    }

    /// Takes the item out of the inbox.
    pub(super) fn remove(&mut self, number: u64) -> Result<(), WorldError> {
        let item = self.items.remove(&number).ok_or(WorldError::NoSuchItem)?;
        self.unread -= u64::from(!item.is_read);
        self.changes.remove(&item.changed);
        let at = self.next();
        self.remember(at, Change::Deleted(number));
        Ok(())
    }

    /// Gives every item another id and refuses all sync states.
    pub(super) fn relocate(&mut self) {
        self.generation += 1;
        self.epoch += 1;
    }

    /// The number behind an id of this inbox.
    pub(super) fn number(&self, id: &str) -> Result<u64, WorldError> {
        match self.signature.read_item_id(id) {
            Some(item) if item.generation == self.generation && self.items.contains_key(&item.number) => Ok(item.number),
            _ => Err(WorldError::NoSuchItem),
        }
    }

    /// The id of an item, whether it is there or was.
    pub(super) fn id(&self, number: u64) -> String {
        self.signature.item_id(self.name_of(number))
    }

    /// The id and change key of an item, whether it is there or was.
    pub(super) fn name(&self, number: u64) -> ItemName {
        let version = self.items.get(&number).map_or(0, |item| item.version);
        ItemName { id: self.id(number), change_key: self.signature.change_key(self.name_of(number), version) }
    }

    /// The item as clients read it.
    pub(super) fn view(&self, number: u64) -> Option<ItemView> {
        let item = self.items.get(&number)?;
        let ItemName { id, change_key } = self.name(number);
        Some(ItemView {
            id,
            change_key,
            received_at: item.received_at,
            is_read: item.is_read,
            mail: item.mail.clone().unwrap_or_else(old_mail),
            internet_message_id: format!("<{:x}.{}@partner.example>", item.origin, self.signature.short_name()),
        })
    }

    /// The mail of an item, to be copied.
    pub(super) fn mail(&self, number: u64) -> Option<(Arc<MailSpec>, Timestamp, u64)> {
        let item = self.items.get(&number)?;
        let mail = item.mail.clone().unwrap_or_else(old_mail);
        let mail = if mail.is_read == item.is_read { mail } else { Arc::new(MailSpec { is_read: item.is_read, ..MailSpec::clone(&mail) }) };
        Some((mail, item.received_at, item.origin))
    }

    fn name_of(&self, number: u64) -> ItemNumber {
        ItemNumber { generation: self.generation, number }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn record(&mut self, number: u64, change: Change) {
        let at = self.next();
        let Some(item) = self.items.get_mut(&number) else {
            return;
        };
        item.version += 1;
        let former = std::mem::replace(&mut item.changed, at);
        // An earlier update that a client has not heard of yet must not shrink to a change of the flag.
        let change = match self.changes.remove(&former) {
            Some(Change::Updated(_)) => Change::Updated(number),
            _ => change,
        };
        self.remember(at, change);
    }

    fn remember(&mut self, at: u64, change: Change) {
        self.changes.insert(at, change);
        while self.changes.len() > CHANGES_KEPT {
            if let Some((oldest, _)) = self.changes.pop_first() {
                self.forgotten = oldest;
            }
        }
    }
}

/// What every mail of the past reads like.
fn old_mail() -> Arc<MailSpec> {
    static MAIL: OnceLock<Arc<MailSpec>> = OnceLock::new();
    let mail = MAIL.get_or_init(|| Arc::new(MailSpec::new("An Old Friend", "A mail of years ago", "Nobody is to hear of this again.")));
    Arc::clone(mail)
}
