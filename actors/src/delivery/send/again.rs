//! Trying again: whose turn it is while a provider is away, and how long a push that was not taken rests, with its content or as rows.

use std::sync::Arc;
use std::time::Duration;

use super::{ACTOR_BYTES, Effect, Known, Sending, Step};
use crate::delivery::batch::HoldBudget;
use crate::delivery::message::{Moment, code};
use crate::delivery::retry::backoff;
use crate::ports::delivery_store::{Retry, Settled};
use crate::settings::Settings;

impl Sending {
    /// What was tried before asks for its turn before anything is read for it.
    pub(super) fn ask_turn(&mut self, place: usize, effects: &mut Vec<Effect>) {
        let flight = &mut self.flights[place];
        match &flight.push.channel {
            Some(channel) => {
                effects.push(Effect::Turn(place, channel.clone()));
                flight.step = Step::Turn;
            }
            None => self.settle(place, Settled::Superseded, "device_gone"),
        }
    }

    /// Its turn has come, or the row waits for it without anything having been read.
    pub(super) fn turn(&mut self, moment: Moment, place: usize, answer: Result<(), Duration>, settings: &Settings) {
        let Some(flight) = self.flights.get_mut(place) else { return };
        match answer {
            Ok(()) => flight.step = Step::Reading,
            Err(left) => {
                let delay = left + self.chance.below(settings.push_retry_max / 2);
                self.schedule(moment, place, delay, &code("channel_rests"));
            }
        }
    }

    /// A try that was answered, or lost: again soon while content may be held, else later from the rows.
    pub(super) fn rest(
        &mut self,
        moment: Moment,
        place: usize,
        after: Option<Duration>,
        refused: bool,
        reason: &Arc<str>,
        settings: &Settings,
    ) {
        let held = self.hold(moment);
        let push = &mut self.flights[place].push;
        push.attempts = push.attempts.saturating_add(1);
        push.refused &= refused;
        let delay =
            backoff(push.attempts, settings.push_retry_base, settings.push_retry_max, &mut self.chance).max(after.unwrap_or_default());
        if held && moment.at + delay <= self.hold_until {
            self.flights[place].step = Step::Resting(moment.at + delay);
            return;
        }
        self.schedule(moment, place, delay, reason);
    }

    /// Leaves the rows of a push to be read again after a while.
    fn schedule(&mut self, moment: Moment, place: usize, delay: Duration, reason: &Arc<str>) {
        let push = &self.flights[place].push;
        let (mailbox, authority, refused, next_at) = (self.mailbox, self.authority, push.refused, moment.now + delay);
        let rows = push.rows.iter();
        self.retries.extend(rows.map(|row| Retry { id: row.id, mailbox, authority, next_at, refused, reason: reason.clone() }));
        self.flights[place].step = Step::Over;
    }

    /// Nothing is held any more: what rests is left as rows, due when it would have been tried again.
    pub(super) fn settle_down(&mut self, moment: Moment) {
        self.hold_until = moment.at;
        for place in 0..self.flights.len() {
            if let Step::Resting(until) = self.flights[place].step {
                self.schedule(moment, place, until.since(moment.at), &code("hand_over"));
            }
        }
    }

    /// Whether content may stay in memory for another try.
    fn hold(&mut self, moment: Moment) -> bool {
        if self.held.is_none() && moment.at < self.hold_until {
            let content: usize = self.contents.values().map(|known| if let Known::Shows(mail) = known { mail.bytes() } else { 0 }).sum();
            self.held = HoldBudget::take(&self.budget, content + ACTOR_BYTES);
        }
        self.held.is_some()
    }
}
