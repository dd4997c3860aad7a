//! The breakers of all push channels of a node: whether a push may go, what is made of its verdict, and what a person is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Breaker, Judgement, Trouble, Waits, Whose};
use super::message::code;
use crate::ids::DeviceId;
use crate::ports::push_sender::{Channel, Provider, PushToken, Verdict};
use crate::settings::Settings;
use crate::time::Monotonic;

/// A refusal of single devices is told again after so long, with how many there were.
const TELL_AGAIN: Duration = Duration::from_secs(3_600);

/// A channel and what was told of it.
#[derive(Debug, Default)]
struct Kept {
    breaker: Breaker,
    /// Why the trouble began, in the provider's words, and since when.
    since: Option<(Arc<str>, Monotonic)>,
    /// Pushes refused for their device alone since that was told, and when it was.
    undeliverable: (u64, Option<Monotonic>),
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Pushes over the channel are late from here on.
    Begins(Trouble, Arc<str>),
    /// The channel works again, after so long.
    Ends(Trouble, Duration),
    /// The provider refused so many pushes for their device alone.
    Undeliverable(u64, Arc<str>),
}

/// The channels: as many as are configured.
#[derive(Debug, Default)]
pub struct Channels(BTreeMap<Channel, Kept>);

impl Channels {
    /// Whether a push may be sent at this moment.
    ///
    /// # Errors
    /// How long it has to wait, and for what.
    pub fn room(&mut self, channel: &Channel, whose: Whose, now: Monotonic, settings: &Settings) -> Result<(), Waits> {
        self.0.get_mut(channel).map_or(Ok(()), |kept| kept.breaker.room(now, whose, settings))
    }

    /// Whether a push that was tried before may be read and made again.
    ///
    /// # Errors
    /// How long it has to wait for its turn, and for what.
    pub fn turn(&mut self, channel: &Channel, whose: Whose, now: Monotonic, settings: &Settings) -> Result<(), Waits> {
        self.0.get_mut(channel).map_or(Ok(()), |kept| kept.breaker.turn(now, whose, settings))
    }

    /// A push to the device begins.
    pub fn begins(&mut self, channel: &Channel, device: DeviceId, now: Monotonic) {
        // The channel is cloned only for its first push.
        if !self.0.contains_key(channel) {
            self.0.insert(channel.clone(), Kept::default());
        }
        if let Some(kept) = self.0.get_mut(channel) {
            kept.breaker.begins(now, device);
        }
    }

    /// It ended, answered or not.
    pub fn ended(&mut self, channel: &Channel, device: DeviceId) {
        if let Some(kept) = self.0.get_mut(channel) {
            kept.breaker.ended(device);
        }
    }

    /// Passes a verdict by the channel's breaker; "gone" and "refused" that are not believed become "later".
    pub fn judge(
        &mut self,
        channel: &Channel,
        (whose, token): (Whose, &PushToken),
        now: Monotonic,
        verdict: Verdict,
        settings: &Settings,
    ) -> (Verdict, Option<Told>) {
        if !self.0.contains_key(channel) {
            self.0.insert(channel.clone(), Kept::default());
        }
        let Some(kept) = self.0.get_mut(channel) else { return (verdict, None) };
        let before = kept.breaker.trouble();
        let judgement = kept.breaker.note(now, whose, token, &verdict, settings);
        let told = kept.tell(before, now, &verdict);
        let verdict = match (judgement, verdict) {
            (Judgement::Doubted(after), Verdict::DeviceGone { reason, .. } | Verdict::Refused { reason }) => {
                Verdict::Later { after: Some(after), reason }
            }
            (_, verdict) => verdict,
        };
        (verdict, told)
    }

    /// How many channels of the provider are in trouble that a person has to end, and in trouble of any kind.
    #[must_use]
    pub fn troubled(&self, provider: Provider) -> (u32, u32) {
        let troubles = self.0.iter().filter(|(channel, _)| channel.provider == provider).filter_map(|(_, kept)| kept.breaker.trouble());
        troubles.fold((0, 0), |(alarms, all), trouble| (alarms + u32::from(trouble.alarms()), all + 1))
    }

    /// Why the trouble of a channel began, in the provider's words.
    #[must_use]
    pub fn reason(&self, channel: &Channel) -> Option<Arc<str>> {
        self.0.get(channel)?.since.as_ref().map(|(reason, _)| reason.clone())
    }
}

impl Kept {
    /// What changed by this verdict.
    fn tell(&mut self, before: Option<Trouble>, now: Monotonic, verdict: &Verdict) -> Option<Told> {
        match (before, self.breaker.trouble()) {
            (None, Some(trouble)) => {
                self.since = Some((verdict.reason(), now));
                return Some(Told::Begins(trouble, verdict.reason()));
            }
            // From "away" to "refused" is worth a line of its own.
            (Some(before), Some(trouble)) if !before.alarms() && trouble.alarms() => {
                self.since = Some((verdict.reason(), self.since.as_ref().map_or(now, |(_, since)| *since)));
                return Some(Told::Begins(trouble, verdict.reason()));
            }
            (Some(before), None) => {
                let since = self.since.take().map_or(now, |(_, since)| since);
                return Some(Told::Ends(before, now.since(since)));
            }
            _ => {}
        }
        let Verdict::Undeliverable { reason } = verdict else { return None };
        self.undeliverable.0 += 1;
        if self.undeliverable.1.is_some_and(|at| now.since(at) < TELL_AGAIN) {
            return None;
        }
        self.undeliverable.1 = Some(now);
        Some(Told::Undeliverable(std::mem::take(&mut self.undeliverable.0), reason.clone()))
    }
}

/// What stands for a push that has to wait.
#[must_use]
pub fn waiting(waits: Waits) -> Verdict {
    Verdict::Later { after: Some(waits.left), reason: code(if waits.trouble.is_some() { "channel_rests" } else { "device_rests" }) }
}
