//! The breaker of a push channel. Against wrong configuration: when too many devices seem gone and few pushes succeed, nobody is forgotten and the channel
//! rests. Against an outage: while the provider is away, what was tried before is not read again for each try.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::ports::push_sender::{PushToken, Verdict};
use crate::settings::Settings;
use crate::time::Monotonic;

/// How many of the last sends are looked at.
const RECENT: u32 = 64;
/// So often, each time [`Settings::breaker_pause`] after the last, must a provider say for certain that a channel's only device is gone before it is believed.
const CERTAIN: u32 = 5;
/// So many tries in a row without an answer that settles anything, and the provider is taken to be away.
const AWAY_AFTER: u32 = 5;

/// What recent sends over one channel (tenant, provider, app) came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// One bit a send, newest lowest: set where the device seemed gone.
    gone: u64,
    /// How many of the bits are sends, at most [`RECENT`].
    sends: u32,
    /// Devices whose "gone" was not believed, at most [`RECENT`]: trying them again counts nothing, so that one device that is gone is not taken for a wrong
    /// configuration.
    doubted: VecDeque<Doubted>,
    /// A channel's only device was believed to be gone; until a push is taken, no other one is.
    believed: bool,
    /// No send before this.
    paused_until: Monotonic,
    /// Whether the pause is an alarm (wrong configuration or credentials).
    alarmed: bool,
    /// Tries in a row that the provider did not settle.
    unsettled: u32,
    /// While it is away: when the next push that was tried before may find out whether it is back.
    probe_at: Monotonic,
}

/// A device whose "gone" was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubted {
    /// The hash of its token.
    device: u64,
    /// How often its provider said so for certain.
    certain: u32,
    /// What is said before this was said already.
    counts_from: Monotonic,
}

/// What is made of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The verdict stands.
    Stands,
    /// "Gone" is not believed: the device is kept and the push tried again after this.
    Doubted(Duration),
}

impl Breaker {
    /// How long the channel still rests.
    #[must_use]
    pub fn rests(&self, now: Monotonic) -> Option<Duration> {
        (now < self.paused_until).then(|| self.paused_until.since(now))
    }

    /// Whether the channel is taken to be wrongly configured.
    #[must_use]
    pub fn alarmed(&self) -> bool {
        self.alarmed
    }

    /// Whether a push that was tried before may be made again, which takes reading its mail again; else how long that has to wait. While the
    /// provider is away it may be once in the longest delay between tries; pushes of new mail find out too.
    ///
    /// # Errors
    /// The time that is left.
    pub fn turn(&mut self, now: Monotonic, settings: &Settings) -> Result<(), Duration> {
        if let Some(left) = self.rests(now) {
            return Err(left);
        }
        if self.unsettled < AWAY_AFTER {
            return Ok(());
        }
        if now < self.probe_at {
            return Err(self.probe_at.since(now));
        }
        self.probe_at = now + settings.push_retry_max;
        Ok(())
    }

    /// Notes a verdict and says what is made of it.
    pub fn note(&mut self, now: Monotonic, token: &PushToken, verdict: &Verdict, settings: &Settings) -> Judgement {
        self.count_unsettled(now, verdict, settings);
        match verdict {
            Verdict::Accepted => {
                self.push(false);
                self.believed = false;
                self.alarmed &= self.suspicious(settings);
                Judgement::Stands
            }
            Verdict::Credentials { .. } => {
                self.pause(now, settings);
                Judgement::Stands
            }
            Verdict::DeviceGone { certain, .. } => {
                // Two in a row may be the first two of everybody: one in between that is taken makes the difference.
                let again = self.sends > 0 && self.gone & 1 == 1;
                let device = hash(token);
                if !self.doubted.iter().any(|doubted| doubted.device == device) {
                    self.push(true);
                }
                if !again && !self.suspicious(settings) {
                    self.doubted.retain(|doubted| doubted.device != device);
                    return Judgement::Stands;
                }
                self.doubt(device);
                if *certain && self.believes_the_only(now, device, settings) {
                    return Judgement::Stands;
                }
                if self.sends >= settings.breaker_sample && self.suspicious(settings) {
                    self.pause(now, settings);
                }
                Judgement::Doubted(settings.breaker_pause)
            }
            Verdict::Later { .. } | Verdict::Unknown { .. } | Verdict::Refused { .. } => Judgement::Stands,
        }
    }

    fn count_unsettled(&mut self, now: Monotonic, verdict: &Verdict, settings: &Settings) {
        if !matches!(verdict, Verdict::Later { .. } | Verdict::Unknown { .. }) {
            self.unsettled = 0;
            return;
        }
        self.unsettled = self.unsettled.saturating_add(1);
        if self.unsettled == AWAY_AFTER {
            self.probe_at = now + settings.push_retry_max;
        }
    }

    fn doubt(&mut self, device: u64) {
        if self.doubted.iter().any(|doubted| doubted.device == device) {
            return;
        }
        if self.doubted.len() == RECENT as usize {
            self.doubted.pop_front();
        }
        self.doubted.push_back(Doubted { device, certain: 0, counts_from: Monotonic(0) });
    }

    /// Whether the one device that seems gone is believed to be: nobody else's success can tell it from a wrong configuration, but its provider's certainty can,
    /// said again and again. As long as any other device is doubted it is everybody, and nobody is forgotten.
    fn believes_the_only(&mut self, now: Monotonic, device: u64, settings: &Settings) -> bool {
        let [doubted] = self.doubted.make_contiguous() else { return false };
        if self.believed || doubted.device != device || now < doubted.counts_from {
            return false;
        }
        doubted.certain += 1;
        doubted.counts_from = now + settings.breaker_pause;
        if doubted.certain < CERTAIN {
            return false;
        }
        self.doubted.clear();
        self.believed = true;
        true
    }

    fn push(&mut self, gone: bool) {
        self.gone = self.gone << 1 | u64::from(gone);
        self.sends = (self.sends + 1).min(RECENT);
    }

    /// Too large a share of the recent sends came back as gone.
    fn suspicious(&self, settings: &Settings) -> bool {
        let seen = if self.sends == RECENT { self.gone } else { self.gone & ((1 << self.sends) - 1) };
        f64::from(seen.count_ones()) > f64::from(self.sends) * settings.breaker_share
    }

    fn pause(&mut self, now: Monotonic, settings: &Settings) {
        self.paused_until = now + settings.breaker_pause;
        self.alarmed = true;
    }
}

fn hash(token: &PushToken) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.0.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn gone() -> Verdict {
        Verdict::DeviceGone { since: None, certain: false, reason: Arc::from("BadDeviceToken") }
    }

    fn certainly_gone() -> Verdict {
        Verdict::DeviceGone { since: None, certain: true, reason: Arc::from("Unregistered") }
    }

    /// One send: the minute, the device, the answer.
    type Send = (i64, i64, Verdict);

    /// The devices that are forgotten after these sends over one channel.
    fn forgotten(sends: impl IntoIterator<Item = Send>) -> Vec<i64> {
        let mut breaker = Breaker::default();
        let mut forgotten = Vec::new();
        for (minute, device, verdict) in sends {
            let gone = matches!(verdict, Verdict::DeviceGone { .. });
            if note(&mut breaker, minute * 60_000_000, device, &verdict) == Judgement::Stands && gone {
                forgotten.push(device);
            }
        }
        forgotten
    }

    #[test]
    fn a_channel_s_only_device_is_forgotten_when_its_provider_is_certain_again_and_again_and_nobody_else_is() {
        let none: [i64; 0] = [];
        let certain = |minutes: std::ops::Range<i64>, device| minutes.map(move |minute| (minute, device, certainly_gone()));
        let table: Vec<(&str, Vec<Send>, Vec<i64>)> = vec![
            ("five times, a minute apart", certain(0..5, 1).collect(), vec![1]),
            ("four times", certain(0..4, 1).collect(), none.into()),
            ("for many mails in one minute", std::iter::repeat_n((7, 1, certainly_gone()), 50).collect(), none.into()),
            ("a wrong environment or topic for one device", (0..100).map(|minute| (minute, 1, gone())).collect(), none.into()),
            (
                "certain now and then only",
                (0..8).map(|minute| (minute, 1, if minute % 2 == 0 { certainly_gone() } else { gone() })).collect(),
                none.into(),
            ),
            ("two devices, in turn", (0..100).map(|minute| (minute, minute % 2, certainly_gone())).collect(), none.into()),
            (
                "everybody, one after the other",
                (0..20).flat_map(|device| certain(device * 10..device * 10 + 10, device)).collect(),
                vec![0],
            ),
            ("another one was doubted before", std::iter::once((0, 2, gone())).chain(certain(1..100, 1)).collect(), none.into()),
            (
                "the next one after a push that was taken",
                certain(0..5, 1).chain([(5, 2, Verdict::Accepted)]).chain(certain(6..11, 3)).collect(),
                vec![1, 3],
            ),
        ];
        for (what, sends, expected) in table {
            assert_eq!(forgotten(sends), expected, "{what}");
        }
    }

    /// The answer to the send at that microsecond, to a device of that number.
    fn note(breaker: &mut Breaker, at: i64, device: i64, verdict: &Verdict) -> Judgement {
        breaker.note(Monotonic(at), &PushToken(device.to_string().into()), verdict, &Settings::default())
    }

    #[test]
    fn a_wrong_topic_for_everybody_forgets_nobody_and_rests() {
        let mut breaker = Breaker::default();
        for send in 0..1_000 {
            assert!(matches!(note(&mut breaker, send, send, &gone()), Judgement::Doubted(_)), "send {send}");
        }
        assert!(breaker.alarmed() && breaker.rests(Monotonic(1_000)).is_some());
    }

    #[test]
    fn a_wrong_topic_from_one_moment_on_forgets_one_device_at_most() {
        let mut breaker = Breaker::default();
        for at in 0..100 {
            note(&mut breaker, at, at, &Verdict::Accepted);
        }
        let forgotten = (0..100).filter(|at| note(&mut breaker, 100 + at, *at, &gone()) == Judgement::Stands).count();
        assert_eq!(forgotten, 1);
    }

    #[test]
    fn one_device_in_ten_is_believed_to_be_gone() {
        let mut breaker = Breaker::default();
        for at in 0..200 {
            let verdict = if at % 10 == 9 { gone() } else { Verdict::Accepted };
            assert_eq!(note(&mut breaker, at, at, &verdict), Judgement::Stands, "send {at}");
        }
        assert!(!breaker.alarmed());
    }

    #[test]
    fn one_device_that_is_gone_among_two_is_believed_after_some_success_of_the_other_and_raises_no_alarm() {
        let mut breaker = Breaker::default();
        let mut tries = 0;
        while note(&mut breaker, tries, 2, &gone()) != Judgement::Stands {
            note(&mut breaker, tries, 1, &Verdict::Accepted);
            tries += 1;
            assert!(tries < 10 && !breaker.alarmed());
        }
    }

    #[test]
    fn a_single_device_that_seems_gone_is_doubted_without_an_alarm() {
        let mut breaker = Breaker::default();
        for at in 0..100 {
            assert!(matches!(note(&mut breaker, at, 1, &gone()), Judgement::Doubted(_)));
        }
        assert!(!breaker.alarmed());
    }

    #[test]
    fn while_a_provider_is_away_one_push_that_was_tried_before_a_minute_finds_out_whether_it_is_back() {
        let settings = Settings::default();
        let later = Verdict::Later { after: None, reason: Arc::from("ServiceUnavailable") };
        let second = |count: i64| Monotonic(count * 1_000_000);
        let mut breaker = Breaker::default();
        for at in 0..4 {
            note(&mut breaker, at, 1, &later);
        }
        assert_eq!(breaker.turn(second(1), &settings), Ok(()), "some tries fail in the best of times");
        note(&mut breaker, 0, 1, &later);
        assert_eq!(breaker.turn(second(20), &settings), Err(Duration::from_secs(40)));
        assert_eq!(breaker.turn(second(60), &settings), Ok(()));
        note(&mut breaker, 60_000_001, 1, &later);
        assert_eq!(breaker.turn(second(61), &settings), Err(Duration::from_secs(59)), "one at a time");
        note(&mut breaker, 62_000_000, 2, &Verdict::Accepted);
        assert_eq!(breaker.turn(second(62), &settings), Ok(()), "it is back");
    }

    #[test]
    fn success_ends_the_alarm() {
        let mut breaker = Breaker::default();
        for at in 0..30 {
            note(&mut breaker, at, at, &gone());
        }
        assert!(breaker.alarmed());
        for at in 0..64 {
            note(&mut breaker, 30 + at, at, &Verdict::Accepted);
        }
        assert!(!breaker.alarmed());
    }
}
