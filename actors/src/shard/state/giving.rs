//! Handing a shard over: its mailboxes come to rest, the store is asked to let it go, and if it does not the work goes on.

use std::collections::BTreeSet;

use super::{Effect, Shard};
use crate::ids::MailboxId;
use crate::settings::Settings;
use crate::time::Monotonic;

/// How far the hand-over is.
#[derive(Debug, Default)]
pub(super) struct Giving {
    /// Whether the receiver is ready, as the heartbeat said.
    wanted: bool,
    stage: Stage,
    /// After a refusal: not before.
    not_before: Monotonic,
    refusals: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// These are not at rest yet; they are not waited for any longer than that.
    Settling(BTreeSet<MailboxId>, Monotonic),
    /// The store is asked.
    Offered,
}

impl Giving {
    /// Whether the shard is held: nothing is started.
    pub(super) fn holds(&self) -> bool {
        self.stage != Stage::Idle
    }

    pub(super) fn due(&self, asking: bool) -> Monotonic {
        match &self.stage {
            Stage::Idle if self.wanted && !asking => self.not_before,
            Stage::Settling(_, until) => *until,
            Stage::Idle | Stage::Offered => Monotonic::NEVER,
        }
    }

    /// The receiver is ready, or is not (any more); says whether the hold is to end: what was offered is waited for.
    pub(super) fn wanted(&mut self, wanted: bool) -> bool {
        self.wanted = wanted;
        let ends = !wanted && matches!(self.stage, Stage::Settling(..));
        if ends {
            self.stage = Stage::Idle;
        }
        if !wanted {
            (self.refusals, self.not_before) = (0, Monotonic(0));
        }
        ends
    }

    pub(super) fn at_rest(&mut self, mailbox: MailboxId) {
        if let Stage::Settling(left, _) = &mut self.stage {
            left.remove(&mailbox);
        }
    }
}

impl Shard {
    /// The store did not let it go.
    pub(super) fn kept(&mut self, now: Monotonic, settings: &Settings, effects: &mut Vec<Effect>) {
        if self.giving.stage == Stage::Offered {
            self.giving.stage = Stage::Idle;
            self.giving.refusals = self.giving.refusals.saturating_add(1);
            self.giving.not_before = now + settings.heartbeat * self.giving.refusals.min(10);
            effects.push(Effect::Unhold);
            self.go_on(effects);
        }
    }

    pub(super) fn give(&mut self, now: Monotonic, settings: &Settings, effects: &mut Vec<Effect>) {
        let Some(epoch) = self.epoch else { return };
        if self.giving.stage == Stage::Idle && self.giving.wanted && !self.asking && now >= self.giving.not_before {
            self.giving.stage = Stage::Settling(self.running.clone(), now + settings.settle);
            effects.push(Effect::Hold);
        }
        let Stage::Settling(left, until) = &self.giving.stage else { return };
        let late = !left.is_empty() && now >= *until;
        if late {
            effects.push(Effect::GiveUp);
        }
        if late || left.is_empty() {
            self.giving.stage = Stage::Offered;
            effects.push(Effect::Offer(epoch));
        }
    }
}
