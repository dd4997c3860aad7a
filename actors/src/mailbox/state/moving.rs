//! What a mailbox does when its shard changes hands, or takes a new epoch.

use super::{Effect, Mailbox};
use crate::delivery::message::{Failure, Work};
use crate::settings::Settings;
use crate::time::Monotonic;

impl Mailbox {
    /// What is under way ends now; what it had not settled is found by the next owner, or by us if the shard stays.
    pub(super) fn give_up(&mut self, now: Monotonic, settings: &Settings, effects: &mut Vec<Effect>) {
        if self.idle() {
            return;
        }
        effects.push(Effect::GiveUpAll);
        self.sending = 0;
        self.resume(now);
        if let Some(running) = self.collecting.take() {
            self.failed(now, running, Failure::Overtaken, settings, effects);
            // It may commit nevertheless.
            self.unsettled |= running.work != Work::Resend;
        }
    }

    /// What came meanwhile is marked, and what was left stands as rows.
    pub(super) fn unhold(&mut self, now: Monotonic) {
        if self.hold.take().is_some() {
            self.resume(now);
        }
    }

    /// The table may have lost its tail, or somebody else wrote in between: read the row again, at once. The subscription is ours and stays.
    pub(super) fn restamped(&mut self, now: Monotonic, seeded: bool, badge_dirty: bool, settings: &Settings, effects: &mut Vec<Effect>) {
        self.doubt = false;
        if let Some(running) = self.collecting.take() {
            effects.push(Effect::GiveUp);
            self.failed(now, running, Failure::Overtaken, settings, effects);
        }
        self.seeded = seeded;
        self.sync_mark = seeded;
        self.caught_up = false;
        self.failures = 0;
        self.retry_at = now;
        self.badge_at = if badge_dirty { Some(now) } else { self.badge_at };
        self.resume(now);
    }
}
