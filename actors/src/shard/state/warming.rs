//! Warming up a shard that is planned to become ours: a shadow subscription for each of its mailboxes, then the word that we are ready.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Shard};
use crate::delivery::retry::backoff;
use crate::ids::MailboxId;
use crate::ports::StoreError;
use crate::ports::cluster_store::AdoptedShard;
use crate::ports::mail_source::{MailboxRef, SourceError};
use crate::settings::Settings;
use crate::time::Monotonic;

/// How far the warm-up is.
#[derive(Debug)]
pub(super) struct Warming {
    /// Those that are to be warmed up, until they are, or cannot be.
    cold: BTreeMap<MailboxId, MailboxRef>,
    /// Asked for and not answered, or subscribed.
    touched: BTreeSet<MailboxId>,
    /// Those that failed, and when they are tried again.
    later: BTreeSet<(Monotonic, MailboxId)>,
    failures: BTreeMap<MailboxId, u32>,
    peeked: bool,
    /// From here on we are ready without those that are missing: they are subscribed when the shard is ours.
    until: Monotonic,
    /// Whether we said that we are ready.
    said: bool,
}

impl Default for Warming {
    fn default() -> Self {
        Self {
            cold: BTreeMap::new(),
            touched: BTreeSet::new(),
            later: BTreeSet::new(),
            failures: BTreeMap::new(),
            peeked: false,
            until: Monotonic::NEVER,
            said: false,
        }
    }
}

impl Warming {
    pub(super) fn due(&self) -> Monotonic {
        let again = self.later.first().map_or(Monotonic::NEVER, |(at, _)| *at);
        if self.said || !self.peeked { again } else { again.min(self.until) }
    }

    /// Those that may have a shadow subscription; the warm-up is over.
    pub(super) fn take(&mut self) -> BTreeSet<MailboxId> {
        std::mem::take(self).touched
    }
}

impl Shard {
    pub(super) fn incoming(&mut self, now: Monotonic, ready: bool, settings: &Settings, effects: &mut Vec<Effect>) {
        if self.warming.until == Monotonic::NEVER {
            self.warming.until = now + settings.warm_up;
            self.again = true;
        } else if self.warming.said && !ready {
            effects.push(Effect::Ready);
        }
    }

    pub(super) fn peeked(
        &mut self,
        now: Monotonic,
        answer: Result<Option<AdoptedShard>, StoreError>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        if self.epoch.is_some() {
            return;
        }
        self.asking = false;
        match answer {
            Ok(Some(shard)) => {
                self.failures = 0;
                self.warming.peeked = true;
                for row in shard.mailboxes {
                    effects.push(Effect::AskTurn(row.mailbox.clone(), row.announced_until));
                    self.warming.cold.insert(row.mailbox.id, row.mailbox);
                }
            }
            // The next heartbeat says what became of it.
            Ok(None) => {}
            Err(_) => self.ask_later(now, settings),
        }
    }

    /// The turn of a mailbox that is to be warmed up came.
    pub(super) fn warm(&mut self, mailbox: MailboxId, effects: &mut Vec<Effect>) {
        if let Some(cold) = self.warming.cold.get(&mailbox) {
            self.warming.touched.insert(mailbox);
            effects.push(Effect::Warm(cold.clone()));
        }
    }

    pub(super) fn warmed(&mut self, now: Monotonic, mailbox: MailboxId, answer: Result<(), SourceError>, settings: &Settings) {
        if self.epoch.is_some() || !self.warming.cold.contains_key(&mailbox) {
            return;
        }
        let rest = match answer {
            // Without a subscription it is polled, or parked, at its owner as well.
            Ok(()) | Err(SourceError::SubscriptionsFull | SourceError::Refused { .. }) => {
                self.warming.cold.remove(&mailbox);
                return;
            }
            Err(SourceError::Throttled { retry_after }) => retry_after + self.chance.below(settings.retry_base),
            Err(_) => {
                let failures = self.warming.failures.entry(mailbox).or_default();
                *failures += 1;
                backoff(*failures, settings.retry_base, settings.retry_max, &mut self.chance)
            }
        };
        self.warming.later.insert((now + rest, mailbox));
    }

    pub(super) fn warm_up(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if self.again && !self.asking && now >= self.ask_at {
            self.again = false;
            self.asking = true;
            effects.push(Effect::Peek);
        }
        while let Some(&(at, mailbox)) = self.warming.later.first()
            && at <= now
        {
            self.warming.later.pop_first();
            self.warm(mailbox, effects);
        }
        if self.warming.peeked && !self.warming.said && (self.warming.cold.is_empty() || now >= self.warming.until) {
            self.warming.said = true;
            effects.push(Effect::Ready);
        }
    }
}
