//! What changed since a sync state, in pages, as SyncFolderItems tells it (MS-OXWSSYNC).
//!
//! A state holds two marks. Items numbered up to `created` are known to the client, and of those every change up to `changed`.
//! A page first tells the changes of known items, then items not known yet, each in its present form. So an item that changes
//! while a client pages is told once, and never as an update of something that the client has not seen.

use super::event::ItemName;
use super::id::SyncMark;
use super::mail::ItemView;
use super::state::{Change, Inbox};

/// One line of a page.
#[derive(Clone, Debug)]
pub enum SyncChange {
    /// The item is not known to the client.
    Create(ItemView),
    /// Something other than the read flag changed.
    Update(ItemView),
    /// The item left the inbox.
    Delete(ItemName),
    /// Only the read flag changed, to this.
    ReadFlag(ItemName, bool),
}

/// A page of changes.
#[derive(Clone, Debug)]
pub struct SyncPage {
    /// The changes, at most as many as asked for.
    pub changes: Vec<SyncChange>,
    /// What to come back with.
    pub sync_state: String,
    /// `IncludesLastItemInRange`: there is nothing further.
    pub is_last: bool,
}

/// The sync state is damaged, another mailbox's, or made unusable by a move: `ErrorInvalidSyncStateData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncStateRefused;

impl Inbox {
    /// What happened since `state`; everything when there is none.
    pub(super) fn sync(&self, state: Option<&str>, max: usize) -> Result<SyncPage, SyncStateRefused> {
        let mut mark = match state {
            None => SyncMark { epoch: self.epoch, created: 0, changed: self.last },
            Some(state) => self.accepted(state)?,
        };
        let mut changes = Vec::new();
        let is_last = self.tell_changes(&mut mark, max, &mut changes) && self.tell_created(&mut mark, max, &mut changes);
        Ok(SyncPage { changes, sync_state: self.signature.sync_state(mark), is_last })
    }

    fn accepted(&self, state: &str) -> Result<SyncMark, SyncStateRefused> {
        let mark = self.signature.read_sync_state(state).ok_or(SyncStateRefused)?;
        let usable = mark.epoch == self.epoch && mark.changed >= self.forgotten && mark.created <= self.last && mark.changed <= self.last;
        usable.then_some(mark).ok_or(SyncStateRefused)
    }

    /// Tells changes of known items; false when the page is full before the end.
    fn tell_changes(&self, mark: &mut SyncMark, max: usize, page: &mut Vec<SyncChange>) -> bool {
        for (&at, &change) in self.changes.range(mark.changed + 1..) {
            let (Change::Updated(number) | Change::ReadFlag(number) | Change::Deleted(number)) = change;
            if number <= mark.created {
                if page.len() >= max {
                    return false;
                }
                page.extend(self.line(change));
            }
            mark.changed = at;
        }
        mark.changed = self.last;
        true
    }

    /// Tells items that the client does not know; false when the page is full before the end.
    fn tell_created(&self, mark: &mut SyncMark, max: usize, page: &mut Vec<SyncChange>) -> bool {
        for &number in self.items.range(mark.created + 1..).map(|(number, _)| number) {
            if page.len() >= max {
                return false;
            }
            page.extend(self.view(number).map(SyncChange::Create));
            mark.created = number;
        }
        mark.created = self.last;
        true
    }

    fn line(&self, change: Change) -> Option<SyncChange> {
        match change {
            Change::Updated(number) => self.view(number).map(SyncChange::Update),
            Change::ReadFlag(number) => {
                let is_read = self.items.get(&number)?.is_read;
                Some(SyncChange::ReadFlag(self.name(number), is_read))
            }
            Change::Deleted(number) => Some(SyncChange::Delete(self.name(number))),
        }
    }
}
