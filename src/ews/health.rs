//! Whether one server may be asked at this moment, and for which mailbox: decided from what came back, without a clock of its own.
//!
//! The rule: what one mailbox meets counts against that mailbox alone. The server is silent when it said so itself, or when several different mailboxes
//! failed one after the other with no answer between. A silence that was only concluded holds back the mailboxes that failed; any other may find out, one
//! at a time, whether the server answers. After every silence one probe goes first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// So many different mailboxes must fail, with no answer between, before it is concluded that the server is in trouble.
const SEVERAL: usize = 3;
/// A probe that says nothing for so long is waited for no longer: the next one goes beside it.
const LEASE: Duration = Duration::from_secs(5);
/// The pause after a probe that failed; doubled with each ...
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Mailboxes whose failures are remembered at most.
const MAX_FAILING: usize = 10_000;

/// What the caller of a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The call is made; as a probe, if it has a number.
    Go(Option<u64>),
    /// A probe is under way or was a moment ago: asked again at this time, or when something is known.
    Wait(Instant),
    /// Nothing is asked for so long.
    Refuse(Duration),
}

/// A call that was let go.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// For which mailbox; `None` for what many share.
    pub mailbox: Option<&'a str>,
    /// When.
    pub at: Instant,
    /// Its number, if it is a probe.
    pub probe: Option<u64>,
}

/// How pauses grow.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first pause.
    pub first: Duration,
    /// The longest.
    pub limit: Duration,
}

impl Pace {
    /// The pause after so many failures in a row, times a share that chance draws.
    fn pause(self, row: u32, share: f64) -> Duration {
        self.first.saturating_mul(1 << row.saturating_sub(1).min(20)).min(self.limit).mul_f64(share)
    }
}

#[derive(Debug, Clone, Copy)]
struct Silence {
    until: Instant,
    /// The server asked for it.
    told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    row: u32,
    last: Instant,
    until: Instant,
}

/// What is known of a server.
#[derive(Debug, Default)]
pub struct Health {
    silence: Option<Silence>,
    /// Different mailboxes that failed since the last answer.
    failed: Vec<Box<str>>,
    /// When a failure was last counted: what was under way then counts no more.
    counted_at: Option<Instant>,
    /// Silences in a row that were concluded.
    concluded: u32,
    probe: Option<(u64, Instant)>,
    probe_after: Option<Instant>,
    failed_probes: u32,
    probes: u64,
    failing: BTreeMap<Box<str>, Failing>,
}

impl Health {
    /// Until when the server is silent.
    #[must_use]
    pub fn silent_until(&self, now: Instant) -> Option<Instant> {
        self.silence.map(|silence| silence.until).filter(|until| *until > now)
    }

    /// How much is left of a silence that the server asked for.
    #[must_use]
    pub fn told_silence(&self, now: Instant) -> Option<Duration> {
        self.silence.filter(|silence| silence.told && silence.until > now).map(|silence| silence.until - now)
    }

    /// Whether calls go as they come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.silence.is_none()
    }

    /// Whether the last call of a mailbox failed.
    #[must_use]
    pub fn is_failing(&self, mailbox: &str) -> bool {
        self.failing.contains_key(mailbox)
    }

    /// How long nothing is asked for this mailbox, if it is certain without waiting.
    #[must_use]
    pub fn refusal(&self, now: Instant, mailbox: Option<&str>) -> Option<Duration> {
        let own = mailbox.and_then(|mailbox| self.failing.get(mailbox));
        let silence = self.silence.filter(|silence| silence.told || own.is_some()).map(|silence| silence.until);
        let until = silence.into_iter().chain(own.map(|own| own.until)).max()?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Decides about a call.
    pub fn ask(&mut self, now: Instant, mailbox: Option<&str>) -> Decision {
        if let Some(left) = self.refusal(now, mailbox) {
            return Decision::Refuse(left);
        }
        if self.silence.is_none() {
            return Decision::Go(None);
        }
        let under_way = self.probe.map(|(_, since)| since + LEASE);
        match under_way.or(self.probe_after).filter(|at| *at > now) {
            // It failed before: it does not stand in the way of those that did not.
            Some(at) if mailbox.is_some_and(|mailbox| self.is_failing(mailbox)) => Decision::Refuse(at - now),
            Some(at) => Decision::Wait(at),
            None => {
                self.probes += 1;
                self.probe = Some((self.probes, now));
                Decision::Go(Some(self.probes))
            }
        }
    }

    /// A call was answered, with an error or not.
    pub fn answered(&mut self, now: Instant, begun: Begun<'_>) {
        if let Some(mailbox) = begun.mailbox {
            self.failing.remove(mailbox);
        }
        self.heard(now);
    }

    /// The server gave a sign of life.
    pub fn heard(&mut self, now: Instant) {
        self.failed.clear();
        self.concluded = 0;
        self.failed_probes = 0;
        if self.told_silence(now).is_none() {
            self.silence = None;
            self.probe = None;
            self.probe_after = None;
        }
    }

    /// The server asks for silence.
    pub fn told(&mut self, now: Instant, wanted: Duration, begun: Begun<'_>) {
        self.gave_up(begun.probe);
        let before = self.silence.filter(|silence| silence.told).map(|silence| silence.until);
        let until = now + wanted;
        self.silence = Some(Silence { until: before.map_or(until, |before| before.max(until)), told: true });
    }

    /// A call ended without a word about the server.
    pub fn gave_up(&mut self, probe: Option<u64>) {
        if probe.is_some() && self.probe.map(|(number, _)| number) == probe {
            self.probe = None;
        }
    }

    /// A call failed in a way that another call of the mailbox need not share, such as an answer that cannot be read: it counts, and the mailbox may ask on.
    pub fn stumbled(&mut self, now: Instant, begun: Begun<'_>, pace: Pace, share: f64) {
        self.failed(now, begun, pace, share);
        if let Some(failing) = begun.mailbox.and_then(|mailbox| self.failing.get_mut(mailbox)) {
            failing.until = now;
        }
    }

    /// A call failed: says how long its mailbox is left alone.
    pub fn failed(&mut self, now: Instant, begun: Begun<'_>, pace: Pace, share: f64) -> Duration {
        let knew = begun.mailbox.is_some_and(|mailbox| self.is_failing(mailbox));
        let own = begun.mailbox.map_or(pace.pause(1, share), |mailbox| self.mailbox_failed(now, mailbox, begun.at, pace, share));
        if begun.probe.is_some() && self.probe.map(|(number, _)| number) == begun.probe {
            self.probe = None;
        }
        // A mailbox that failed before has a pause of its own, and does not lengthen the others'.
        if begun.probe.is_some() && !knew {
            self.failed_probes = self.failed_probes.saturating_add(1);
            let pause = Pace { first: FIRST_PAUSE, limit: LONGEST_PAUSE }.pause(self.failed_probes, 1.0);
            self.probe_after = Some(now + pause);
        }
        // Calls that were under way together met one and the same moment.
        if self.counted_at.is_some_and(|counted| begun.at <= counted) {
            return own;
        }
        self.counted_at = Some(now);
        let mailbox = begun.mailbox.unwrap_or_default();
        if self.failed.len() < SEVERAL && !self.failed.iter().any(|known| **known == *mailbox) {
            self.failed.push(mailbox.into());
        }
        let over = self.silence.is_none_or(|silence| silence.until <= now);
        if self.failed.len() >= SEVERAL && over {
            self.concluded = self.concluded.saturating_add(1);
            self.silence = Some(Silence { until: now + pace.pause(self.concluded, share), told: false });
        }
        own
    }

    fn mailbox_failed(&mut self, now: Instant, mailbox: &str, began: Instant, pace: Pace, share: f64) -> Duration {
        let before = self.failing.get(mailbox).copied();
        if before.is_none() && self.failing.len() >= MAX_FAILING {
            self.failing.retain(|_, failing| failing.until > now);
            if self.failing.len() >= MAX_FAILING {
                self.failing.clear();
            }
        }
        let failing = match before {
            Some(failing) if began <= failing.last => failing,
            before => {
                let row = before.map_or(0, |failing| failing.row).saturating_add(1);
                Failing { row, last: now, until: now + pace.pause(row, share) }
            }
        };
        self.failing.insert(mailbox.into(), failing);
        failing.until.saturating_duration_since(now)
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
