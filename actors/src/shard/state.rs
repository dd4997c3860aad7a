//! The state machine of a shard that is ours or is to become ours: warming it up, adopting it, which mailboxes run, handing it over.

mod giving;
mod owning;
mod warming;

use std::collections::{BTreeMap, BTreeSet};

use giving::Giving;
use warming::Warming;

use crate::delivery::retry::{Chance, backoff};
use crate::ids::{Fence, MailboxId};
use crate::ports::StoreError;
use crate::ports::cluster_store::{AdoptedShard, OwnedMailbox, ShardSeen};
use crate::ports::mail_source::{MailboxRef, SourceError};
use crate::settings::Settings;
use crate::supervision::restart::Restarts;
use crate::time::{Monotonic, Timestamp};

/// What a shard is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The heartbeat says that it is planned to become ours, and whether the store knows that we are ready.
    Incoming {
        /// Whether the store knows.
        ready: bool,
    },
    /// The heartbeat says that it is ours.
    Owned(ShardSeen),
    /// The heartbeat says that it neither is nor is to become ours.
    Gone,
    /// Somebody beside us changed its mailboxes: look.
    Look,
    /// The answer to [`Effect::Peek`]; `None`: it is not planned to become ours.
    Peeked(Result<Option<AdoptedShard>, StoreError>),
    /// The answer to [`Effect::Warm`].
    Warmed(MailboxId, Result<(), SourceError>),
    /// The answer to [`Effect::Adopt`] or [`Effect::Reload`] under that epoch; `None`: the shard is not ours under it.
    Rows(Fence, Result<Option<AdoptedShard>, StoreError>),
    /// The answer to [`Effect::AskTurn`]: this mailbox may begin to be watched.
    Turn(MailboxId),
    /// A mailbox is at rest: it was told to be by [`Effect::Hold`].
    Held(MailboxId),
    /// The shard went to its receiver.
    Given,
    /// The shard did not go.
    Kept,
    /// A mailbox actor failed.
    Failed(MailboxId),
    /// A mailbox actor ended by itself.
    Ended(MailboxId),
    /// A mailbox found its row under another authority than ours, and rests until it is told whose it is.
    Doubted(MailboxId),
    /// The store answers again: what waits for it need not wait any longer.
    Reopened,
    /// The time of [`Shard::due`] came.
    Alarm,
}

/// What a shard wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read what there is to warm up.
    Peek,
    /// Wait for the node's turn for one more mailbox; who had mail last comes first.
    AskTurn(MailboxRef, Timestamp),
    /// Make a shadow subscription.
    Warm(MailboxRef),
    /// End the shadow subscription.
    Cool(MailboxId),
    /// Say that the shard is warmed up.
    Ready,
    /// Stamp and load.
    Adopt(Fence),
    /// Load again, and stamp what is not.
    Reload(Fence),
    /// Start a mailbox; how often it was restarted.
    Start(OwnedMailbox, u32),
    /// A running mailbox is ours under this epoch: it goes on under it, without subscribing again.
    Restamp(OwnedMailbox, Fence),
    /// Stop a mailbox and end its subscription.
    Stop(MailboxId),
    /// All running mailboxes begin nothing and say when they are at rest.
    Hold,
    /// All running mailboxes give up what is under way.
    GiveUp,
    /// All running mailboxes go on.
    Unhold,
    /// The shard may be handed over under this epoch.
    Offer(Fence),
    /// The shard is not ours: stop everything, end all subscriptions.
    Release,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    /// The epoch under which it is ours, once it is.
    epoch: Option<Fence>,
    warming: Warming,
    giving: Giving,
    adopted: bool,
    asking: bool,
    again: bool,
    change_seq: i64,
    ask_at: Monotonic,
    failures: u32,
    /// How often in a row the store said that it is not ours, against the heartbeat.
    denied: u32,
    rows: BTreeMap<MailboxId, OwnedMailbox>,
    running: BTreeSet<MailboxId>,
    /// They wait for their turn.
    waiting: BTreeSet<MailboxId>,
    /// Those that failed, and when they are started again.
    later: BTreeSet<(Monotonic, MailboxId)>,
    doubted: BTreeSet<MailboxId>,
    restarts: BTreeMap<MailboxId, Restarts>,
    chance: Chance,
}

impl Shard {
    /// A shard of which nothing is known yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            epoch: None,
            warming: Warming::default(),
            giving: Giving::default(),
            adopted: false,
            asking: false,
            again: false,
            change_seq: i64::MIN,
            ask_at: Monotonic(0),
            failures: 0,
            denied: 0,
            rows: BTreeMap::new(),
            running: BTreeSet::new(),
            waiting: BTreeSet::new(),
            later: BTreeSet::new(),
            doubted: BTreeSet::new(),
            restarts: BTreeMap::new(),
            chance: Chance::new(seed),
        }
    }

    /// The epoch under which it is ours.
    #[must_use]
    pub fn epoch(&self) -> Option<Fence> {
        self.epoch
    }

    /// When the shard acts by itself next.
    #[must_use]
    pub fn due(&self) -> Monotonic {
        let ask = if self.again && !self.asking { self.ask_at } else { Monotonic::NEVER };
        let later = self.later.first().filter(|_| self.adopted && !self.giving.holds()).map_or(Monotonic::NEVER, |(at, _)| *at);
        let stage = if self.epoch.is_some() { self.giving.due(self.asking) } else { self.warming.due() };
        ask.min(later).min(stage)
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, now: Monotonic, input: Input, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            // It was ours, and a promotion lost the hand-over to us: another acts for it.
            Input::Incoming { .. } if self.epoch.is_some() => return self.release(),
            Input::Incoming { ready } => self.incoming(now, ready, settings, &mut effects),
            Input::Owned(seen) => self.owned(now, seen, &mut effects),
            Input::Gone | Input::Given => return self.release(),
            Input::Look => self.again |= self.epoch.is_some(),
            Input::Peeked(answer) => self.peeked(now, answer, settings, &mut effects),
            Input::Warmed(mailbox, answer) => self.warmed(now, mailbox, answer, settings),
            Input::Rows(epoch, answer) => {
                if self.rows(now, epoch, answer, settings, &mut effects) {
                    return self.release();
                }
            }
            Input::Turn(mailbox) if self.epoch.is_none() => self.warm(mailbox, &mut effects),
            Input::Turn(mailbox) => self.turn(mailbox, &mut effects),
            Input::Held(mailbox) => self.giving.at_rest(mailbox),
            Input::Kept => self.kept(now, settings, &mut effects),
            Input::Failed(mailbox) => self.failed(now, mailbox, settings),
            Input::Ended(mailbox) => self.ended(now, mailbox, settings),
            Input::Doubted(mailbox) => {
                if self.running.contains(&mailbox) {
                    self.doubted.insert(mailbox);
                    self.again = true;
                }
            }
            Input::Reopened => self.reopened(now, settings),
            Input::Alarm => {}
        }
        if self.epoch.is_some() {
            self.advance(now, &mut effects);
            self.give(now, settings, &mut effects);
        } else {
            self.warm_up(now, &mut effects);
        }
        effects
    }

    /// Everything ends: what runs, and what was warmed up.
    fn release(&mut self) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.warming.take().into_iter().map(Effect::Cool).collect();
        *self = Self::new(0);
        effects.push(Effect::Release);
        effects
    }

    /// A look that failed is made again soon, however often it failed; neighbours do not come all at once.
    fn reopened(&mut self, now: Monotonic, settings: &Settings) {
        if std::mem::take(&mut self.failures) > 0 {
            self.ask_at = self.ask_at.min(now + self.chance.below(settings.retry_base * 2));
        }
    }

    /// The next look at the store, no sooner than `retry_base` after a failure, later each time.
    fn ask_later(&mut self, now: Monotonic, settings: &Settings) {
        self.failures = self.failures.saturating_add(1);
        self.again = true;
        self.ask_at = now + backoff(self.failures, settings.retry_base, settings.retry_max, &mut self.chance);
    }
}
