//! What speaks against a channel since its last success: by mailbox, so that one user with many devices and tokens is one witness.

use std::time::Duration;

use crate::ids::MailboxId;
use crate::time::Monotonic;

/// How many witnesses are kept; the oldest is dropped.
const MOST: usize = 128;
/// What was seen longer ago says nothing any more.
const LASTS: Duration = Duration::from_secs(600);

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Not taken, or not answered.
    Unsettled,
    /// Refused for good.
    Refused,
    /// Our credentials were refused.
    Credentials,
    /// A device seemed gone.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    mailbox: MailboxId,
    kind: Kind,
    at: Monotonic,
    /// How often, at most once in each pause.
    rounds: u32,
    counts_from: Monotonic,
    /// How long the provider asked to wait.
    asked: Option<Duration>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Evidence(Vec<Seen>);

impl Evidence {
    /// One mailbox saw something. Repeated within `pause` it counts once.
    pub(super) fn add(&mut self, now: Monotonic, mailbox: MailboxId, kind: Kind, asked: Option<Duration>, pause: Duration) {
        self.0.retain(|seen| now.since(seen.at) < LASTS);
        if let Some(seen) = self.0.iter_mut().find(|seen| seen.mailbox == mailbox && seen.kind == kind) {
            (seen.at, seen.asked) = (now, asked);
            if now >= seen.counts_from {
                seen.rounds = seen.rounds.saturating_add(1);
                seen.counts_from = now + pause;
            }
            return;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Seen { mailbox, kind, at: now, rounds: 1, counts_from: now + pause, asked });
    }

    /// From how many mailboxes.
    pub(super) fn mailboxes(&self, kind: Kind) -> usize {
        self.0.iter().filter(|seen| seen.kind == kind).count()
    }

    /// From how many mailboxes, whatever they saw.
    pub(super) fn mailboxes_of_any_kind(&self) -> usize {
        let first = |place: usize, seen: &Seen| self.0[..place].iter().all(|other| other.mailbox != seen.mailbox);
        self.0.iter().enumerate().filter(|(place, seen)| first(*place, seen)).count()
    }

    /// Whether another mailbox saw the same.
    pub(super) fn others(&self, kind: Kind, mailbox: MailboxId) -> bool {
        self.0.iter().any(|seen| seen.kind == kind && seen.mailbox != mailbox)
    }

    /// How often in all, each mailbox at most once in each pause.
    pub(super) fn rounds(&self, kind: Kind) -> u32 {
        self.0.iter().filter(|seen| seen.kind == kind).map(|seen| seen.rounds).sum()
    }

    /// The shortest wait that the provider asked for, if it asked every mailbox to wait.
    pub(super) fn asked(&self, kind: Kind) -> Option<Duration> {
        let waits: Option<Vec<Duration>> = self.0.iter().filter(|seen| seen.kind == kind).map(|seen| seen.asked).collect();
        waits.and_then(|waits| waits.into_iter().min()).filter(|wait| !wait.is_zero())
    }

    /// Nothing speaks against the channel any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Nothing of that kind does.
    pub(super) fn clear_kind(&mut self, kind: Kind) {
        self.0.retain(|seen| seen.kind != kind);
    }
}
