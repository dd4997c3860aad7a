//! The collecting part of a delivery: from the sync state to the commit of the rows that it covers.

use crate::ids::{Authority, EventKey, MailboxId, SyncState};
use crate::ports::StoreError;
use crate::ports::device_store::Recipient;
use crate::ports::mail_source::{Change, ChangesPage, ItemFacts, SourceError};
use crate::ports::mailbox_store::{Commit, MailboxState, NewDelivery};
use crate::settings::{PAGES_PER_COLLECTION, ROWS_PER_COLLECTION, Settings};
use crate::time::Timestamp;

use super::fanout::{self, NewMail};
use super::message::{CollectEnd, Collected, CommitAnswer, Failure, Moment, More, Order, Work};
use super::outgoing::Outgoing;

/// A page that is not the last of its sync and holds at least so many changes is part of a backlog: a server fills its pages.
const BACKLOG: usize = 64;

/// What the collecting part wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the mailbox row.
    Load,
    /// Ask what changed after the state.
    Page(Option<SyncState>),
    /// Ask what was received at that time or later.
    Recent(Timestamp),
    /// Read the rows that wait.
    Pending,
    /// Ask who is to be told, and which of these events they know.
    Recipients(Vec<EventKey>),
    /// Write, with the rows covered.
    Commit(Commit),
    /// Write when there is time: it covers no push.
    WriteBehind(Commit),
    /// The collecting part is over; with pushes, the sending part begins.
    End(CollectEnd, Vec<Outgoing>),
}

/// One collection.
#[derive(Debug)]
pub struct Collect {
    mailbox: MailboxId,
    authority: Authority,
    order: Order,
    row: Option<MailboxState>,
    /// Where the next sync starts, as read so far.
    state: Option<SyncState>,
    /// New mails found so far.
    found: Vec<ItemFacts>,
    mails: Vec<NewMail>,
    recipients: Vec<Recipient>,
    rows: Vec<NewDelivery>,
    waiting: Vec<crate::ports::delivery_store::Pending>,
    badge_changed: bool,
    complete: bool,
    /// A page carried a backlog.
    backlog: bool,
    /// The server refused the sync state: it is to be seeded again.
    lost: bool,
    pages: u32,
    badge_told: bool,
}

impl Collect {
    /// A collection about to begin.
    #[must_use]
    pub fn new(mailbox: MailboxId, authority: Authority, order: Order) -> Self {
        Self {
            mailbox,
            authority,
            order,
            row: None,
            state: None,
            found: Vec::new(),
            mails: Vec::new(),
            recipients: Vec::new(),
            rows: Vec::new(),
            waiting: Vec::new(),
            badge_changed: false,
            complete: true,
            backlog: false,
            lost: false,
            pages: 0,
            badge_told: false,
        }
    }

    /// The first thing to do.
    #[must_use]
    pub fn begin(&self) -> Effect {
        if self.order.work == Work::Resend { Effect::Pending } else { Effect::Load }
    }

    /// Takes one answer and says what comes next.
    pub fn step(&mut self, moment: Moment, answer: Collected, settings: &Settings) -> Effect {
        match answer {
            Collected::Row(answer) => self.loaded(moment, answer),
            Collected::Page(answer) => self.page(moment, answer, settings),
            Collected::Recent(answer) => self.recent(moment, answer, settings),
            Collected::Pending(Ok(rows)) if rows.is_empty() => self.done(0),
            // Nothing could be sent: no mail is read for it.
            Collected::Pending(Ok(_)) if !moment.gate_open => failed(Failure::Gate),
            Collected::Pending(Ok(rows)) => {
                self.waiting = rows;
                Effect::Recipients(Vec::new())
            }
            Collected::Recipients(Ok(recipients)) => self.fan_out(moment, recipients, settings),
            Collected::Committed(answer) => self.committed(answer),
            Collected::Pending(Err(_)) | Collected::Recipients(Err(_)) => failed(Failure::Store),
        }
    }

    fn loaded(&mut self, moment: Moment, answer: Result<Option<MailboxState>, StoreError>) -> Effect {
        let row = match answer {
            // Nothing could come of it: the mail server is not asked. Nor does it say whose the mailbox is: a promotion may be under way.
            Ok(_) if !moment.gate_open => return failed(Failure::Gate),
            Ok(Some(row)) => row,
            Ok(None) => return failed(Failure::NotOurs),
            Err(_) => return failed(Failure::Store),
        };
        let next = if self.order.work == Work::Recent { Effect::Recent(row.watch_since) } else { Effect::Page(row.sync_state.clone()) };
        self.state = row.sync_state.clone();
        self.row = Some(row);
        next
    }

    fn page(&mut self, moment: Moment, answer: Result<ChangesPage, SourceError>, settings: &Settings) -> Effect {
        let Some(row) = &self.row else { return failed(Failure::Crashed) };
        match answer {
            Ok(page) => {
                let known_before = row.seeded;
                // A server whose state stands still, or that says nothing and not that this is all, would say the same at once again.
                let moves = Some(&page.state) != self.state.as_ref() && !page.changes.is_empty();
                self.backlog |= moves && page.changes.len() >= BACKLOG;
                for change in page.changes {
                    self.note(moment.now, change, known_before, settings);
                }
                self.state = Some(page.state);
                self.complete = page.complete;
                self.pages += 1;
                let more_now = moves && !self.complete && self.order.work == Work::Sync && self.pages < PAGES_PER_COLLECTION;
                if more_now { Effect::Page(self.state.clone()) } else { self.gathered(moment, settings) }
            }
            // The path of a first watch: drained anew from the beginning, and the rule for new mail keeps what is known quiet.
            Err(SourceError::SyncStateLost) if self.state.is_some() => {
                self.state = None;
                self.lost = true;
                self.complete = false;
                self.gathered(moment, settings)
            }
            Err(SourceError::SyncStateLost) => {
                failed(Failure::Source(SourceError::Unavailable { code: "sync_state_lost_without_one".into() }))
            }
            // What was read before is kept: the next collection goes on from there, and meets the trouble again if it lasts.
            Err(_) if self.pages > 0 => {
                self.complete = false;
                self.gathered(moment, settings)
            }
            Err(error) => failed(Failure::Source(error)),
        }
    }

    fn note(&mut self, now: Timestamp, change: Change, seeded: bool, settings: &Settings) {
        let Some(row) = &self.row else { return };
        match change {
            Change::Created(facts) => {
                // While the state is being drained everything looks created: that says nothing about the badge.
                self.badge_changed |= seeded;
                if fanout::is_new_mail(&facts, row, now, settings) {
                    self.found.push(facts);
                }
            }
            // Some servers tell so that an item was read.
            Change::Updated(_) => self.badge_changed |= seeded,
            Change::Deleted(item) => {
                self.badge_changed |= seeded;
                self.found.retain(|facts| facts.item != item);
            }
            Change::ReadFlag { item, read } => {
                self.badge_changed |= seeded;
                if read {
                    self.found.retain(|facts| facts.item != item);
                }
            }
        }
    }

    fn recent(&mut self, moment: Moment, answer: Result<Vec<ItemFacts>, SourceError>, settings: &Settings) -> Effect {
        match answer {
            Ok(items) => {
                self.found = items;
                self.complete = false;
                self.gathered(moment, settings)
            }
            Err(error) => failed(Failure::Source(error)),
        }
    }

    /// All that changed is known: is there anybody to be told?
    fn gathered(&mut self, moment: Moment, settings: &Settings) -> Effect {
        let Some(row) = &self.row else { return failed(Failure::Crashed) };
        self.mails = fanout::new_mails(&self.found, row, moment.now, settings);
        self.found = Vec::new();
        let badge = self.badge_due(row);
        if self.mails.is_empty() && !badge {
            return self.write(moment);
        }
        Effect::Recipients(self.mails.iter().take(ROWS_PER_COLLECTION).map(|mail| mail.event).collect())
    }

    fn badge_due(&self, row: &MailboxState) -> bool {
        self.order.badge_now && (row.badge_dirty || self.badge_changed || self.order.recount)
    }

    fn fan_out(&mut self, moment: Moment, recipients: Vec<Recipient>, settings: &Settings) -> Effect {
        self.recipients = recipients;
        if self.order.work == Work::Resend {
            let (pushes, waiting) = (&self.waiting, &self.recipients);
            let pushes = Outgoing::from_pending(pushes, waiting, moment.now);
            return Effect::End(CollectEnd::Done { announced: 0, more: More::Nothing, seeded: true, badge_dirty: false }, pushes);
        }
        let Some(row) = &self.row else { return failed(Failure::Crashed) };
        let badge = self.badge_due(row);
        for recipient in &self.recipients {
            let mut rows = fanout::mail_rows(&self.mails, recipient, moment.now, settings);
            if rows.is_empty() && badge {
                rows.push(fanout::badge_row(row.sync_seq, recipient, moment.now, settings));
            }
            self.rows.append(&mut rows);
        }
        self.badge_told = badge || !self.rows.is_empty();
        self.write(moment)
    }

    /// The commit of what was found; nothing is written when nothing changed.
    fn write(&mut self, moment: Moment) -> Effect {
        let Some(row) = &self.row else { return failed(Failure::Crashed) };
        let newest = self.rows.iter().filter(|row| row.item.is_some()).map(|row| row.received_at.min(moment.now)).max();
        let commit = Commit {
            mailbox: self.mailbox,
            authority: self.authority,
            sync_seq: row.sync_seq,
            sync_state: self.state.clone(),
            seeded: match self.order.work {
                Work::Recent => row.seeded,
                _ => !self.lost && (self.complete || row.seeded),
            },
            badge_dirty: !self.badge_told && (row.badge_dirty || self.badge_changed),
            announced_until: newest.unwrap_or(row.announced_until).max(row.announced_until),
            rows: std::mem::take(&mut self.rows),
        };
        let unchanged = commit.rows.is_empty()
            && commit.sync_state == row.sync_state
            && commit.seeded == row.seeded
            && commit.badge_dirty == row.badge_dirty;
        if unchanged {
            return self.done(0);
        }
        if !moment.gate_open {
            return failed(Failure::Gate);
        }
        // What a page of seeding read is saved page by page, and so is a backlog of many pages; a state at the end that covers no push may wait.
        let may_wait = commit.rows.is_empty() && self.order.work == Work::Sync && self.complete && commit.seeded == row.seeded;
        self.rows.clone_from(&commit.rows);
        if may_wait { Effect::WriteBehind(commit) } else { Effect::Commit(commit) }
    }

    /// The answer to a commit. A write-behind is answered as matched at once: should it be lost, the same changes are read again.
    fn committed(&mut self, answer: CommitAnswer) -> Effect {
        match answer {
            CommitAnswer::Matched(inserted) => {
                let pushes = Outgoing::from_inserted(&self.rows, &inserted, &self.recipients);
                let mut events: Vec<EventKey> = inserted.iter().map(|row| row.event).collect();
                events.sort_unstable();
                events.dedup();
                let mails = self.mails.iter().filter(|mail| events.binary_search(&mail.event).is_ok()).count();
                match self.done(u32::try_from(mails).unwrap_or(u32::MAX)) {
                    Effect::End(end, _) => Effect::End(end, pushes),
                    other => other,
                }
            }
            CommitAnswer::NotMatched => failed(Failure::Overtaken),
            CommitAnswer::Gate => failed(Failure::Gate),
            CommitAnswer::Failed(StoreError::OutcomeUnknown(_)) => failed(Failure::Unknown),
            CommitAnswer::Failed(_) => failed(Failure::Store),
        }
    }

    fn done(&self, announced: u32) -> Effect {
        let row_seeded = self.row.as_ref().is_none_or(|row| row.seeded);
        let end = CollectEnd::Done {
            announced,
            more: match (self.complete, self.backlog) {
                (true, _) => More::Nothing,
                (false, true) => More::Backlog,
                (false, false) => More::Endless,
            },
            seeded: if self.order.work == Work::Recent { row_seeded } else { !self.lost && (self.complete || row_seeded) },
            badge_dirty: !self.badge_told && (self.badge_changed || self.row.as_ref().is_some_and(|row| row.badge_dirty)),
        };
        Effect::End(end, Vec::new())
    }
}

fn failed(failure: Failure) -> Effect {
    Effect::End(CollectEnd::Failed(failure), Vec::new())
}
