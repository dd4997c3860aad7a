//! Trying again: whose turn it is while a provider is away, and how long a push that was not taken rests, with its content or as rows.

use std::sync::Arc;
use std::time::Duration;

use super::{ACTOR_BYTES, Effect, Sending, Step};
use crate::delivery::batch::HoldBudget;
use crate::delivery::message::{Moment, code};
use crate::delivery::retry::backoff;
use crate::ports::delivery_store::{Retry, Settled};
use crate::settings::Settings;
use crate::time::Timestamp;

impl Sending {
    /// What was tried before asks for its turn before anything is read for it.
    pub(super) fn ask_turn(&mut self, place: usize, effects: &mut Vec<Effect>) {
        let flight = &mut self.flights[place];
        match &flight.push.channel {
            Some(channel) => {
                effects.push(Effect::Turn(place, channel.clone(), flight.push.device));
                flight.step = Step::Turn;
            }
            None => self.settle(place, Settled::Superseded, "device_gone"),
        }
    }

    /// Its turn has come, or the row waits for it without anything having been read.
    pub(super) fn turn(
        &mut self,
        moment: Moment,
        place: usize,
        answer: Result<(), Duration>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.flights.get_mut(place).filter(|flight| matches!(flight.step, Step::Turn)) else { return };
        match answer {
            // What may have been taken keeps its ids anyway.
            Ok(()) if !flight.push.refused => flight.step = Step::Reading,
            Ok(()) => {
                flight.step = Step::Beginning;
                effects.push(Effect::Begin(place, self.retries_of(place, moment.now, (false, false), &code("under_way"))));
            }
            Err(left) => {
                let delay = left + self.chance.below(left.min(settings.push_retry_max / 2));
                self.schedule(moment, place, delay, &code("channel_rests"));
            }
        }
    }

    /// It is noted that the try begins: should nobody hear how it ended, the rows are repeated as this push, and not with others.
    pub(super) fn begun(&mut self, place: usize, noted: bool) {
        let Some(flight) = self.flights.get_mut(place) else { return };
        if matches!(flight.step, Step::Beginning) {
            if noted && !self.hands_over { flight.step = Step::Reading } else { self.leave(place) }
        }
    }

    /// The rows of a push as they are to be written; whether a try ended, and whether all were definitely not taken.
    fn retries_of(&self, place: usize, next_at: Timestamp, (ended, refused): (bool, bool), reason: &Arc<str>) -> Vec<Retry> {
        let (push, mailbox, authority) = (&self.flights[place].push, self.mailbox, self.authority);
        let retry = |id| Retry { id, mailbox, authority, group: push.group, next_at, ended, refused, reason: reason.clone() };
        push.rows.iter().map(|row| retry(row.id)).collect()
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
        let refused = self.flights[place].push.refused;
        let mut retries = self.retries_of(place, moment.now + delay, (true, refused), reason);
        self.retries.append(&mut retries);
        self.flights[place].step = Step::Over;
    }

    /// Nothing is held any more: what rests is left as rows, due when it would have been tried again. At a hand-over so is what is not at its
    /// provider yet: the next owner sends it at once, and is not kept waiting by a mail server that is slow.
    pub(super) fn settle_down(&mut self, moment: Moment, hand_over: bool) {
        self.hold_until = moment.at;
        for place in 0..self.flights.len() {
            match self.flights[place].step {
                Step::Resting(until) => self.schedule(moment, place, until.since(moment.at), &code("hand_over")),
                // Whether it is noted that the try begins is waited for: it is not to be noted after the rows went.
                Step::Answer | Step::Beginning | Step::Over => {}
                _ if hand_over => self.leave(place),
                _ => {}
            }
        }
        self.hands_over |= hand_over;
    }

    /// What was written, or is to be written again.
    pub(super) fn written(&mut self, moment: Moment, ok: bool, settings: &Settings) {
        let Some((mut marks, mut retries)) = self.writing.take() else { return };
        if ok {
            self.write_failures = 0;
            return;
        }
        self.write_failures += 1;
        self.write_at = moment.at + backoff(self.write_failures, settings.retry_base, settings.retry_max, &mut self.chance);
        self.marks.append(&mut marks);
        self.retries.append(&mut retries);
    }

    /// What rests is tried again; what takes too long is given up.
    pub(super) fn alarm(&mut self, moment: Moment) {
        if moment.at >= self.give_up {
            self.left = true;
            self.over = true;
        }
        if self.content_retry.is_some_and(|at| moment.at >= at) {
            self.content_retry = None;
        }
        for flight in &mut self.flights {
            if matches!(flight.step, Step::Resting(until) if moment.at >= until) {
                flight.step = Step::Reading;
            }
        }
    }

    /// Whether content may stay in memory for another try.
    fn hold(&mut self, moment: Moment) -> bool {
        if self.held.is_none() && moment.at < self.hold_until {
            let content = self.contents.bytes();
            self.held = HoldBudget::take(&self.budget, content + ACTOR_BYTES);
        }
        self.held.is_some()
    }
}
