//! The breaker of a push channel (tenant, provider, app): what is concluded about the channel, and what about one device alone.
//!
//! *Rule.* A device's own trouble is its own: it rests as long as its provider asks, and nobody waits for it. A conclusion about the channel takes evidence
//! from several mailboxes with no success between; one mailbox is one witness, however many devices and tokens it has. Any accepted push ends what was concluded.
//!
//! ```text
//!            several unsettled                 several refused / credentials refused / gone, or asked to wait
//!  WORKING ──────────────────> AWAY     WORKING, AWAY ──────────────────────────────────────────> RESTING ──pause over──> TRIAL
//!     ^  <──any other answer────┘          ^                                                        ^                       │
//!     └── a push is accepted, in any state ┘                                                        └─ several again, longer ┘
//! ```
//!
//! AWAY: pushes of new mail are sent, what was tried before has one turn a minute. RESTING: nothing is sent. TRIAL: a few mailboxes at a time send, none of
//! them for long the only one, so that a device that always fails does not decide for all.

mod device;
mod evidence;
mod gone;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::device::Devices;
use self::evidence::{Evidence, Kind};
use self::gone::{Believed, Gone};
use crate::ids::{DeviceId, MailboxId};
use crate::ports::push_sender::{PushToken, Verdict};
use crate::settings::Settings;
use crate::time::Monotonic;

/// So many mailboxes are several.
const SEVERAL: usize = 3;
/// The provider says of the credentials themselves that they are refused: two witnesses are enough.
const SEVERAL_OF_CREDENTIALS: usize = 2;
/// A pause doubles each time that the trial after it fails, up to so many times the first.
const LONGEST_PAUSE: u32 = 5;
/// What part of a pause a refusal waits for a second opinion, and a place in a trial is held.
const PART: u32 = 12;
/// Others were accepted, or heard of, "lately" for so long.
const LATELY: Duration = Duration::from_secs(600);
/// How many refusals may wait for a second opinion.
const MOST_REFUSED: usize = 64;

/// Whose push it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    /// The mailbox: one witness.
    pub mailbox: MailboxId,
    /// The device.
    pub device: DeviceId,
}

/// Why a channel is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Devices of several mailboxes seem gone: topic, environment or project are taken to be wrong.
    Configuration,
    /// Our credentials are refused.
    Credentials,
    /// Pushes to devices of several mailboxes are refused.
    Refused,
    /// The provider asked several mailboxes to wait.
    Asked,
    /// The provider takes nothing of several mailboxes, or does not answer.
    Away,
}

impl Trouble {
    /// Whether a person has to do something about it.
    #[must_use]
    pub fn alarms(self) -> bool {
        matches!(self, Self::Configuration | Self::Credentials | Self::Refused)
    }
}

/// Why a push waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For how long.
    pub left: Duration,
    /// What is wrong with its channel; none: its device rests, and nobody else.
    pub trouble: Option<Trouble>,
}

/// What is made of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The verdict stands.
    Stands,
    /// "Gone", or "refused", is not believed: the device and its rows are kept and the push tried again after this.
    Doubted(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum State {
    #[default]
    Working,
    /// Who had the last turn, and when the next one is.
    Away { turn_at: Monotonic, last: Option<MailboxId> },
    /// Nothing is sent until then, for the so-manieth time.
    Resting { until: Monotonic, round: u32, trouble: Trouble },
    /// Who may try, since when.
    Trial { round: u32, trouble: Trouble, begun: Vec<(MailboxId, Monotonic)> },
}

/// What is concluded of what was heard over one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    evidence: Evidence,
    gone: Gone,
    devices: Devices,
    /// Devices whose refusal waits for a second opinion, and since when.
    refused: Vec<(DeviceId, Monotonic)>,
    accepted_at: Option<Monotonic>,
    /// The two mailboxes heard of last, and when.
    heard: [Option<(MailboxId, Monotonic)>; 2],
    /// What a person is to be told.
    alarm: Option<Trouble>,
}

impl Breaker {
    /// What is wrong with the channel at this moment, as far as is known.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match &self.state {
            State::Working => self.alarm,
            State::Away { .. } => self.alarm.or(Some(Trouble::Away)),
            State::Resting { trouble, .. } | State::Trial { trouble, .. } => self.alarm.or(Some(*trouble)),
        }
    }

    /// Whether a push may be sent.
    ///
    /// # Errors
    /// How long it has to wait, and for what.
    pub fn room(&mut self, now: Monotonic, whose: Whose, settings: &Settings) -> Result<(), Waits> {
        self.channel(now, whose.mailbox, settings)?;
        self.devices.rests(now, whose.device).map_or(Ok(()), |left| Err(Waits { left, trouble: None }))
    }

    /// Whether a push that was tried before may be made again, which takes reading its mail again. While its device fails, or the provider is away, it may
    /// once in the longest delay between tries; pushes of new mail find out too.
    ///
    /// # Errors
    /// How long it has to wait, and for what.
    pub fn turn(&mut self, now: Monotonic, whose: Whose, settings: &Settings) -> Result<(), Waits> {
        if let Some(left) = self.devices.waits(now, whose.device) {
            return Err(Waits { left, trouble: None });
        }
        self.channel(now, whose.mailbox, settings)?;
        if let State::Away { turn_at, last } = &mut self.state {
            // Whoever had the last turn lets others go first.
            let turn_of_mine = if *last == Some(whose.mailbox) { *turn_at + settings.push_retry_max / 2 } else { *turn_at };
            if now < turn_of_mine {
                return Err(Waits { left: turn_of_mine.since(now), trouble: Some(Trouble::Away) });
            }
            (*turn_at, *last) = (now + settings.push_retry_max, Some(whose.mailbox));
        }
        self.devices.took_turn(now, whose.device, settings);
        Ok(())
    }

    /// A push begins: while it is under way for long, others of its device wait.
    pub fn begins(&mut self, now: Monotonic, device: DeviceId) {
        self.devices.begins(now, device);
    }

    /// It ended, answered or not.
    pub fn ended(&mut self, device: DeviceId) {
        self.devices.ended(device);
    }

    /// Notes a verdict and says what is made of it.
    pub fn note(&mut self, now: Monotonic, whose: Whose, token: &PushToken, verdict: &Verdict, settings: &Settings) -> Judgement {
        let alone = !self.hears(now, whose.mailbox);
        if !matches!(verdict, Verdict::Later { .. } | Verdict::Unknown { .. }) {
            self.answers(whose.device);
        }
        match verdict {
            Verdict::Accepted => {
                self.works(now);
                self.gone.accepted(token);
                Judgement::Stands
            }
            Verdict::Undeliverable { .. } => Judgement::Stands,
            Verdict::Later { after, .. } => {
                self.devices.failed(now, whose.device, *after, settings);
                self.unsettled(now, whose, *after, settings);
                Judgement::Stands
            }
            Verdict::Unknown { .. } => {
                self.devices.failed(now, whose.device, None, settings);
                self.unsettled(now, whose, None, settings);
                Judgement::Stands
            }
            Verdict::Credentials { .. } => {
                self.devices.rest(now, whose.device, settings.breaker_pause, false);
                self.credentials(now, whose, settings);
                Judgement::Stands
            }
            Verdict::Refused { .. } => self.refuses(now, whose, alone, settings),
            Verdict::DeviceGone { certain, .. } => {
                let contradicted = self.accepted_lately(now);
                match self.gone.seems(now, (whose.mailbox, token), *certain, contradicted, settings) {
                    Believed::Yes => Judgement::Stands,
                    Believed::No { counts } => {
                        self.doubts(now, whose, counts, settings);
                        Judgement::Doubted(settings.breaker_pause)
                    }
                }
            }
        }
    }

    /// The channel's word on a push of that mailbox.
    fn channel(&mut self, now: Monotonic, mailbox: MailboxId, settings: &Settings) -> Result<(), Waits> {
        if let State::Resting { until, round, trouble } = self.state {
            if now < until {
                return Err(Waits { left: until.since(now), trouble: Some(trouble) });
            }
            self.evidence.clear();
            self.state = State::Trial { round, trouble, begun: Vec::with_capacity(SEVERAL) };
        }
        let State::Trial { begun, trouble, .. } = &mut self.state else { return Ok(()) };
        let held = settings.breaker_pause / PART;
        begun.retain(|(_, since)| now.since(*since) < held);
        if begun.iter().any(|(whose, _)| *whose == mailbox) {
            return Ok(());
        }
        if begun.len() < SEVERAL {
            begun.push((mailbox, now));
            return Ok(());
        }
        // They are answered soon, as a rule.
        let next = begun.iter().map(|(_, since)| *since + held).min().unwrap_or(now);
        Err(Waits { left: next.since(now).min(held * 2 / 5), trouble: Some(*trouble) })
    }

    /// Remembers who was heard of; says whether anybody else was lately.
    fn hears(&mut self, now: Monotonic, mailbox: MailboxId) -> bool {
        if self.heard[0].is_none_or(|(last, _)| last != mailbox) {
            self.heard[1] = self.heard[0];
        }
        self.heard[0] = Some((mailbox, now));
        self.heard[1].is_some_and(|(other, at)| other != mailbox && now.since(at) < LATELY)
    }

    fn accepted_lately(&self, now: Monotonic) -> bool {
        self.accepted_at.is_some_and(|at| now.since(at) < LATELY)
    }

    /// A push was taken: whatever was concluded is over.
    fn works(&mut self, now: Monotonic) {
        if self.state != State::Working {
            self.devices.forgive();
        }
        self.state = State::Working;
        self.evidence.clear();
        self.alarm = None;
        self.accepted_at = Some(now);
    }

    /// The provider answered a push for good: it is not away, and its device is not slow.
    fn answers(&mut self, device: DeviceId) {
        self.devices.settled(device);
        self.evidence.clear_kind(Kind::Unsettled);
        if matches!(self.state, State::Away { .. }) {
            self.state = State::Working;
            self.devices.forgive();
        }
    }

    fn unsettled(&mut self, now: Monotonic, whose: Whose, asked: Option<Duration>, settings: &Settings) {
        self.evidence.add(now, whose.mailbox, Kind::Unsettled, asked, settings.breaker_pause);
        if self.trial_fails(now, settings) || self.evidence.mailboxes(Kind::Unsettled) < SEVERAL {
            return;
        }
        match (&self.state, self.evidence.asked(Kind::Unsettled)) {
            (State::Working | State::Away { .. }, Some(asked)) => {
                self.state = State::Resting { until: now + asked, round: 0, trouble: Trouble::Asked };
            }
            (State::Working, None) => self.state = State::Away { turn_at: now + settings.push_retry_max, last: None },
            _ => {}
        }
    }

    fn credentials(&mut self, now: Monotonic, whose: Whose, settings: &Settings) {
        self.evidence.add(now, whose.mailbox, Kind::Credentials, None, settings.breaker_pause);
        if self.evidence.mailboxes(Kind::Credentials) >= SEVERAL_OF_CREDENTIALS {
            return self.rests(now, Trouble::Credentials, settings);
        }
        // Nobody says otherwise: a person is told, but nobody else is kept from trying.
        if !self.accepted_lately(now) || self.evidence.rounds(Kind::Credentials) > 1 {
            self.alarm.get_or_insert(Trouble::Credentials);
        }
        self.trial_fails(now, settings);
    }

    /// A refusal is the device's own if others are accepted meanwhile, or if there is nobody else; of several with no success between it is everybody's.
    fn refuses(&mut self, now: Monotonic, whose: Whose, alone: bool, settings: &Settings) -> Judgement {
        // Until one is accepted it stays everybody's.
        let others = self.alarm == Some(Trouble::Refused) || self.evidence.others(Kind::Refused, whose.mailbox);
        self.evidence.add(now, whose.mailbox, Kind::Refused, None, settings.breaker_pause);
        let part = settings.breaker_pause / PART;
        let first_at = self.refused.iter().find(|(device, _)| *device == whose.device).map(|(_, at)| *at);
        let accepted_at = self.accepted_at;
        let contradicted = |first_at: Monotonic| accepted_at.is_some_and(|at| at > first_at);
        if self.evidence.mailboxes(Kind::Refused) >= SEVERAL {
            self.rests(now, Trouble::Refused, settings);
        } else if !self.trial_fails(now, settings) && !others {
            let second = first_at.is_some_and(|first_at| contradicted(first_at) || now.since(first_at) >= part / 2);
            if alone || second {
                self.refused.retain(|(device, _)| *device != whose.device);
                return Judgement::Stands;
            }
        }
        if first_at.is_none() {
            if self.refused.len() == MOST_REFUSED {
                self.refused.remove(0);
            }
            self.refused.push((whose.device, now));
        }
        Judgement::Doubted(if others { settings.breaker_pause } else { part })
    }

    fn doubts(&mut self, now: Monotonic, whose: Whose, counts: bool, settings: &Settings) {
        self.devices.rest(now, whose.device, settings.breaker_pause, true);
        if !counts {
            return;
        }
        self.evidence.add(now, whose.mailbox, Kind::Gone, None, settings.breaker_pause);
        let (mailboxes, rounds) = (self.evidence.mailboxes(Kind::Gone), self.evidence.rounds(Kind::Gone));
        if mailboxes >= SEVERAL && rounds >= settings.breaker_sample {
            return self.rests(now, Trouble::Configuration, settings);
        }
        self.trial_fails(now, settings);
    }

    /// In a trial several failures of any kind are enough.
    fn trial_fails(&mut self, now: Monotonic, settings: &Settings) -> bool {
        match self.state {
            State::Trial { trouble, .. } if self.evidence.mailboxes_of_any_kind() >= SEVERAL => {
                self.rests(now, trouble, settings);
                true
            }
            _ => false,
        }
    }

    fn rests(&mut self, now: Monotonic, trouble: Trouble, settings: &Settings) {
        let round = match self.state {
            // What was under way when the rest began says the same again.
            State::Resting { until, .. } if now < until => return,
            State::Resting { round, .. } | State::Trial { round, .. } => round + 1,
            State::Working | State::Away { .. } => 0,
        };
        if trouble.alarms() {
            self.alarm = Some(trouble);
        }
        let times = (1 << round.min(8)).min(LONGEST_PAUSE);
        self.state = State::Resting { until: now + settings.breaker_pause * times, round, trouble };
    }
}
