//! What a mailbox collects next and when, and what becomes of its marks when a collection ends.

use std::time::Duration;

use super::{Effect, MOST_SENDING, Mailbox, Room, Running, Watch};
use crate::delivery::message::{CollectEnd, Failure, More, Order, Work};
use crate::delivery::retry::{Chance, backoff};
use crate::ports::mail_source::SourceError;
use crate::settings::Settings;
use crate::time::Monotonic;

impl Mailbox {
    pub(super) fn collected(&mut self, now: Monotonic, end: CollectEnd, sending: bool, settings: &Settings, effects: &mut Vec<Effect>) {
        let Some(running) = self.collecting.take() else { return };
        self.sending = self.sending.saturating_add(u8::from(sending));
        let read_on = !matches!(&end, CollectEnd::Failed(failure) if *failure != Failure::Overtaken);
        if read_on && running.work != Work::Resend && std::mem::take(&mut self.unsettled) {
            // The row was read, and written or found changed, after that commit began: it took effect by now, or never will.
            self.resume(now);
        }
        match end {
            CollectEnd::Done { announced, more, seeded, badge_dirty } => {
                self.failures = 0;
                if sending {
                    self.told = running.unread;
                }
                if self.pace.found(announced, running.work) {
                    self.quiet_until = running.quiet_until;
                }
                if matches!(running.work, Work::Sync | Work::Seed) {
                    self.pace.ended(now, running.work, announced, more, settings, &mut self.chance);
                    self.pace.not_before(self.quiet_until);
                    let more = more != More::Nothing;
                    self.seeded = seeded;
                    self.sync_mark |= more;
                    self.caught_up |= self.watch == Watch::Streaming && !self.sync_mark && seeded;
                    self.sync_by = now + self.chance.around(self.cadence(settings));
                }
                if badge_dirty {
                    let at = running.badge.unwrap_or(now + settings.badge_delay).max(now + settings.retry_base);
                    self.badge_at = Some(self.badge_at.map_or(at, |other| other.min(at)));
                }
            }
            CollectEnd::Failed(failure) => self.failed(now, running, failure, settings, effects),
        }
    }

    /// How often a mailbox is synced that nothing is heard from.
    pub(super) fn cadence(&self, settings: &Settings) -> Duration {
        if self.watch == Watch::Streaming { settings.reconcile } else { settings.poll.min(settings.reconcile) }
    }

    pub(super) fn failed(&mut self, now: Monotonic, running: Running, failure: Failure, settings: &Settings, effects: &mut Vec<Effect>) {
        match running.work {
            Work::Resend => self.resume(now),
            Work::Recent => {}
            Work::Sync | Work::Seed => self.sync_mark |= self.seeded,
        }
        // What it committed before it failed, if it did, is in nobody's hands; it may also take effect after a look that found nothing.
        if matches!(failure, Failure::Store | Failure::Unknown | Failure::Crashed | Failure::Late) {
            self.resume(now);
            self.unsettled |= failure != Failure::Store && running.work != Work::Resend;
        }
        self.waits_for_store = matches!(failure, Failure::Store | Failure::Unknown | Failure::Gate);
        self.unread = self.unread.or(running.unread);
        self.mail_mark = running.mail.or(self.mail_mark);
        self.badge_at = running.badge.or(self.badge_at);
        self.quiet_until = running.quiet_until;
        match failure {
            Failure::NotOurs => {
                self.doubt = true;
                effects.push(Effect::Doubt);
            }
            Failure::Source(SourceError::Throttled { retry_after }) => {
                self.retry_at = now + retry_after + rest_after(retry_after, &mut self.failures, settings, &mut self.chance)
            }
            Failure::Source(SourceError::Refused { .. }) => self.park(now, settings, effects),
            Failure::Source(SourceError::Moved { .. }) => {
                self.subscribe_again(now, settings);
                self.back_off(now, settings);
            }
            // A state written behind came in between: read again at once.
            Failure::Overtaken if self.failures == 0 => self.failures = 1,
            Failure::Overtaken
            | Failure::Source(_)
            | Failure::Store
            | Failure::Unknown
            | Failure::Gate
            | Failure::Crashed
            | Failure::Late => self.back_off(now, settings),
        }
    }

    pub(super) fn back_off(&mut self, now: Monotonic, settings: &Settings) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + backoff(self.failures, settings.retry_base, settings.retry_max, &mut self.chance);
    }

    /// Whether pages of old mail are to be drained: subscribed first, so that mail that comes meanwhile is heard of.
    pub(super) fn to_seed(&self) -> bool {
        !self.seeded && matches!(self.watch, Watch::Silent | Watch::Streaming | Watch::Full(_))
    }

    /// Whether a page of old mail could be read at this moment.
    pub(super) fn can_seed(&self, now: Monotonic) -> bool {
        self.to_seed() && now >= self.retry_at.max(self.pace.more_at)
    }

    /// All that is to be collected, and when each may begin.
    pub(super) fn work(&self, settings: &Settings) -> impl Iterator<Item = (Monotonic, Work)> {
        let free = !self.rests() && self.sending < MOST_SENDING;
        let collects = free && !matches!(self.watch, Watch::Parked(_));
        let resend = self.resume_at.filter(|_| free && self.sending == 0).map(|at| (at, Work::Resend));
        let for_mail = self.mail_mark.map(|at| (at + settings.collect_delay).max(self.quiet_until));
        let sync = (collects && self.seeded).then(|| {
            let forced = if self.sync_mark { self.pace.more_at } else { self.sync_by };
            let for_badge = self.badge_at.map(|at| at.max(self.pace.more_at));
            (forced.min(for_mail.unwrap_or(Monotonic::NEVER)).min(for_badge.unwrap_or(Monotonic::NEVER)), Work::Sync)
        });
        let recent = for_mail.filter(|_| collects && !self.seeded).map(|at| (at, Work::Recent));
        let page = (collects && self.to_seed() && self.room == Room::Given).then_some((self.pace.more_at, Work::Seed));
        resend.into_iter().chain(sync).chain(recent).chain(page).map(|(at, work)| (at.max(self.retry_at), work))
    }

    pub(super) fn begin(&mut self, now: Monotonic, work: Work, settings: &Settings) -> Order {
        let mut order = Order { work, hinted_at: None, unread: None, badge_now: false, recount: false, hold: self.sending == 0 };
        let mut running = Running {
            work,
            deadline: now + settings.collect_deadline + settings.retry_max,
            unread: None,
            mail: None,
            badge: None,
            quiet_until: self.quiet_until,
        };
        match work {
            Work::Resend => self.resume_at = None,
            Work::Seed => {
                self.sync_mark = false;
                self.room = Room::None;
            }
            Work::Recent | Work::Sync => {
                running.mail = self.mail_mark.take();
                running.badge = self.badge_at.take();
                order.hinted_at = running.mail;
                running.unread = self.unread.take();
                order.unread = running.unread;
                order.badge_now = running.badge.is_some_and(|at| at <= now);
                order.recount = running.unread.zip(self.told).is_some_and(|(heard, told)| heard != told);
                self.pace.begins(now, settings);
                self.sync_mark &= work == Work::Recent;
                self.quiet_until = now + settings.window;
            }
        }
        self.collecting = Some(running);
        order
    }
}

/// What is added to a time that a server asked for: a server that says "at once" again and again is asked ever more rarely.
pub(super) fn rest_after(told: Duration, failures: &mut u32, settings: &Settings, chance: &mut Chance) -> Duration {
    if told >= settings.retry_base * 2 {
        return chance.below(settings.retry_base);
    }
    *failures = failures.saturating_add(1);
    backoff(*failures, settings.retry_base, settings.retry_max, chance)
}
