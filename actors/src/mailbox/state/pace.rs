//! How fast a mailbox collects: a server that never says that a sync is at its end, or whose hints lead to nothing, is asked ever more rarely.
//!
//! Rule: a collection is repeated at once only after it brought something. A collection without an end and without a backlog or new mail counts as a
//! failure; the first is repeated at once, each further one makes the next wait twice as long. Hints that lead to nothing cost nothing three times in a row, and the usual window after that.

use std::time::Duration;

use crate::delivery::message::{More, Work};
use crate::delivery::retry::{Chance, backoff};
use crate::settings::Settings;
use crate::time::Monotonic;

/// Collections in a row that read a backlog without a pause: 64 pages either way, 32,000 changes.
const BACKLOG_SYNC: u32 = 16;
/// The same for pages of a first watch.
const BACKLOG_SEED: u32 = 64;
/// Collections in a row that hints may ask for in vain before the window applies to them as if mail had been found.
const IN_VAIN: u32 = 3;
/// Collections without an end in a row after which the mailbox is said to be in that state.
const TOLD_AFTER: u32 = 4;

/// What is remembered of the last collections.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// What is left to be read is read from here on, and the badge told; hints of mail do not wait for it.
    pub more_at: Monotonic,
    /// Collections in a row that had no end and brought nothing.
    endless: u32,
    /// Collections in a row that read a backlog.
    backlog: u32,
    /// Collections in a row that found no mail.
    in_vain: u32,
    /// When the last one began.
    begun: Monotonic,
}

impl Pace {
    /// Whether syncs have not come to an end for a while.
    #[must_use]
    pub fn endless(&self) -> bool {
        self.endless >= TOLD_AFTER
    }

    /// A collection begins. One after a calm is not in vain because of those before it.
    pub fn begins(&mut self, now: Monotonic, settings: &Settings) {
        if now.since(self.begun) >= settings.poll {
            self.in_vain = 0;
        }
        self.begun = now;
    }

    /// A collection found so many mails: says whether the window that it opened is closed again.
    pub fn found(&mut self, announced: u32, work: Work) -> bool {
        match work {
            Work::Resend => return announced == 0,
            Work::Seed => {}
            Work::Sync | Work::Recent if announced > 0 => self.in_vain = 0,
            Work::Sync | Work::Recent => self.in_vain = self.in_vain.saturating_add(1),
        }
        announced == 0 && self.in_vain <= IN_VAIN
    }

    /// While hints are in vain, what else asks for a sync waits for the window too.
    pub fn not_before(&mut self, quiet_until: Monotonic) {
        if self.in_vain > IN_VAIN {
            self.more_at = self.more_at.max(quiet_until);
        }
    }

    /// A collection ended and left so much to be read.
    pub fn ended(&mut self, now: Monotonic, work: Work, announced: u32, more: More, settings: &Settings, chance: &mut Chance) {
        let short = settings.retry_max.min(settings.retry_base * 4);
        let pause = match more {
            More::Nothing => {
                (self.endless, self.backlog) = (0, 0);
                Duration::ZERO
            }
            More::Endless if announced == 0 => {
                self.endless = self.endless.saturating_add(1);
                match self.endless {
                    1 => Duration::ZERO,
                    more => backoff(more - 1, settings.retry_base, settings.retry_max, chance),
                }
            }
            More::Backlog | More::Endless => {
                self.backlog = self.backlog.saturating_add(1);
                let free = if work == Work::Seed { BACKLOG_SEED } else { BACKLOG_SYNC };
                let most = if work == Work::Seed || announced > 0 { short } else { settings.retry_max };
                if self.backlog > free { backoff(self.backlog - free, settings.retry_base, most, chance) } else { Duration::ZERO }
            }
        };
        self.more_at = now + pause;
    }
}
