//! Whether a credential may be tried at this moment: so that a wrong one locks no account. Decided without a clock of its own.
//!
//! The rule: a credential that was not accepted a moment ago is tried by as many at once as may be refused in a minute, no more. Refusals of several mailboxes
//! with no success between close it; from then on one try finds out now and then. A refusal of one mailbox while others get in stays that mailbox's own.
//! Nothing of it outlives the process: one that starts again has the first minute's tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// The time for which refusals are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// For so long an acceptance lets everybody pass.
const PROOF: Duration = Duration::from_secs(1);
/// A try that says nothing for so long is no longer waited for.
const LEASE: Duration = Duration::from_secs(2);
/// The first pause of a mailbox that was refused.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A probe without a verdict is followed by the next after this.
const PROBE_AGAIN: Duration = Duration::from_secs(10);
/// Refused mailboxes that are remembered at most.
const MAX_OWN: usize = 10_000;

/// What may be tried.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Refusals before the credential rests.
    pub most: usize,
    /// The pause between two tries from then on.
    pub probe: Duration,
}

/// What becomes of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It is made, under this number.
    Go(u64),
    /// Others are at it: asked again at this time, or when one of them is answered.
    Wait(Instant),
    /// This mailbox was refused and rests for so long.
    Rest(Duration),
    /// The credential rests for so long.
    Closed(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Own {
    row: u32,
    last: Instant,
}

/// One credential.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    accepted_at: Option<Instant>,
    /// Whether it was ever accepted.
    ever: bool,
    /// Refusals since it was accepted: when.
    refused: Vec<Instant>,
    /// Of whom, at most as many as matter.
    of: BTreeSet<Box<str>>,
    /// Whoever tried, at most as many as matter.
    users: BTreeSet<Box<str>>,
    /// Tries whose answer is waited for.
    under_way: BTreeMap<u64, Instant>,
    own: BTreeMap<Box<str>, Own>,
    /// While it rests: when it is tried next.
    probe_at: Option<Instant>,
    counter: u64,
}

impl Gate {
    /// A credential that nobody has tried.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            accepted_at: None,
            ever: false,
            refused: Vec::new(),
            of: BTreeSet::new(),
            users: BTreeSet::new(),
            under_way: BTreeMap::new(),
            own: BTreeMap::new(),
            probe_at: None,
            counter: 0,
        }
    }

    /// Whether it rests.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.probe_at.is_some()
    }

    /// Whether a refusal may be one of those that a server gives when it wants to be left alone.
    #[must_use]
    pub fn was_good(&self) -> bool {
        self.ever && !self.is_closed()
    }

    /// Decides about a try for a mailbox.
    pub fn ask(&mut self, now: Instant, who: &str) -> Passage {
        if let Some(at) = self.probe_at {
            if at > now {
                return Passage::Closed(at - now);
            }
            self.probe_at = Some(now + self.rules.probe);
            return self.go(now);
        }
        if let Some(left) = self.own.get(who).map(|own| self.rests_until(own)).and_then(|until| until.checked_duration_since(now))
            && !left.is_zero()
        {
            return Passage::Rest(left);
        }
        if self.users.len() < self.rules.most && !self.users.contains(who) {
            self.users.insert(who.into());
        }
        if self.refused.is_empty() && self.accepted_at.is_some_and(|at| now < at + PROOF) {
            return self.go(now);
        }
        self.under_way.retain(|_, since| now < *since + LEASE);
        let recent = self.refused.iter().filter(|at| now < **at + WINDOW);
        if recent.clone().count() + self.under_way.len() < self.rules.most {
            return self.go(now);
        }
        match self.under_way.values().min() {
            Some(since) => Passage::Wait(*since + LEASE),
            None => Passage::Closed(recent.min().map_or(WINDOW, |at| *at + WINDOW - now)),
        }
    }

    fn go(&mut self, now: Instant) -> Passage {
        self.counter += 1;
        self.under_way.insert(self.counter, now);
        Passage::Go(self.counter)
    }

    /// Until when a mailbox that was refused rests: not for long if others got in since, for they did not meet what it met.
    fn rests_until(&self, own: &Own) -> Instant {
        let doubled = FIRST_PAUSE.saturating_mul(1 << own.row.saturating_sub(1).min(20)).min(self.rules.probe);
        let others_got_in = self.accepted_at.is_some_and(|at| at > own.last);
        own.last + if others_got_in || own.row <= 1 { doubled } else { doubled.max(WINDOW.min(self.rules.probe)) }
    }

    /// A try got in. `true` if the credential rested until then.
    pub fn accepted(&mut self, now: Instant, who: &str, number: u64) -> bool {
        self.under_way.remove(&number);
        self.accepted_at = Some(now);
        self.ever = true;
        self.refused.clear();
        self.of.clear();
        self.own.remove(who);
        self.probe_at.take().is_some()
    }

    /// A try was refused. `true` if the credential rests from here on and did not before.
    pub fn refused(&mut self, now: Instant, who: &str, number: u64) -> bool {
        self.under_way.remove(&number);
        if self.own.len() >= MAX_OWN && !self.own.contains_key(who) {
            self.own.clear();
        }
        let row = self.own.get(who).map_or(0, |own| own.row).saturating_add(1);
        self.own.insert(who.into(), Own { row, last: now });
        self.count(now, who)
    }

    /// The identity provider refused it, whoever asked.
    pub fn refused_by_provider(&mut self, now: Instant, number: u64) -> bool {
        self.under_way.remove(&number);
        self.ever = false;
        self.count(now, "")
    }

    fn count(&mut self, now: Instant, who: &str) -> bool {
        if self.probe_at.is_some() {
            return false;
        }
        if self.refused.len() >= self.rules.most {
            self.refused.remove(0);
        }
        self.refused.push(now);
        if self.of.len() < self.rules.most {
            self.of.insert(who.into());
        }
        let several = !self.ever || self.of.len() >= self.rules.most.min(self.users.len());
        let closes = several && self.refused.len() >= self.rules.most;
        if closes {
            self.probe_at = Some(now + self.rules.probe);
        }
        closes
    }

    /// A try ended without a verdict; `broke` if the connection did, after which another server may answer.
    pub fn gave_up(&mut self, now: Instant, number: u64, broke: bool) {
        let counted = self.under_way.remove(&number).is_some();
        if broke {
            self.accepted_at = None;
        }
        if let Some(at) = self.probe_at.filter(|_| counted) {
            self.probe_at = Some(at.min(now + PROBE_AGAIN.min(self.rules.probe)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { most: 3, probe: Duration::from_secs(300) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sixty mailboxes try every 100 ms for so long; says how many tries were made in each minute.
    fn tried(gate: &mut Gate, now: &mut Instant, minutes: u64, good: impl Fn(&str) -> bool) -> Vec<u32> {
        let mut counts = Vec::new();
        for _ in 0..minutes {
            let (end, mut count) = (*now + seconds(60), 0);
            while *now < end {
                let asked: Vec<(String, Passage)> = (0..60)
                    .map(|n| format!("m{n}"))
                    .map(|who| {
                        let passage = gate.ask(*now, &who);
                        (who, passage)
                    })
                    .collect();
                *now += Duration::from_millis(100);
                for (who, passage) in asked {
                    let Passage::Go(number) = passage else { continue };
                    count += u32::from(!good(&who));
                    if good(&who) {
                        gate.accepted(*now, &who, number)
                    } else {
                        gate.refused(*now, &who, number)
                    };
                }
            }
            counts.push(count);
        }
        counts
    }

    #[test]
    fn a_credential_that_is_wrong_from_the_start_is_tried_three_times_then_once_in_five_minutes() {
        let (mut gate, mut now) = (Gate::new(RULES), Instant::now());
        assert_eq!(tried(&mut gate, &mut now, 12, |_| false), [3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
        assert!(gate.is_closed());
    }

    #[test]
    fn a_password_that_changes_while_all_is_quiet_is_refused_three_times_and_a_probe_opens_the_gate() {
        let (mut gate, mut now) = (Gate::new(RULES), Instant::now());
        tried(&mut gate, &mut now, 1, |_| true);
        now += seconds(10);
        assert_eq!(tried(&mut gate, &mut now, 5, |_| false), [3, 0, 0, 0, 0]);
        tried(&mut gate, &mut now, 1, |_| true);
        assert!(!gate.is_closed());
        assert!((0..60).all(|n| matches!(gate.ask(now, &format!("m{n}")), Passage::Go(_))));
    }

    #[test]
    fn forty_seven_at_once_do_not_slip_through() {
        let (mut gate, now) = (Gate::new(RULES), Instant::now());
        let passages: Vec<_> = (0..47).map(|n| gate.ask(now, &format!("m{n}"))).collect();
        assert_eq!(passages.iter().filter(|passage| matches!(passage, Passage::Go(_))).count(), 3);
        assert!(passages[3..].iter().all(|passage| *passage == Passage::Wait(now + LEASE)));
    }

    #[test]
    fn a_mailbox_that_is_refused_while_others_get_in_backs_off_alone() {
        let (mut gate, mut now) = (Gate::new(RULES), Instant::now());
        let refused = tried(&mut gate, &mut now, 20, |who| who != "m7");
        assert!(!gate.is_closed());
        assert!(refused[0] <= 7 && refused[15..].iter().sum::<u32>() <= 2, "{refused:?}");
    }

    #[test]
    fn one_mailbox_that_is_refused_while_nobody_else_asks_closes_nothing_for_the_others() {
        let (mut gate, mut now) = (Gate::new(RULES), Instant::now());
        tried(&mut gate, &mut now, 1, |_| true);
        for _ in 0..3_600 {
            if let Passage::Go(number) = gate.ask(now, "bad") {
                gate.refused(now, "bad", number);
            }
            assert!(!gate.is_closed());
            now += seconds(1);
        }
        let Passage::Go(number) = gate.ask(now, "m1") else { panic!("it may") };
        gate.accepted(now, "m1", number);
    }

    #[test]
    fn the_only_mailbox_of_a_tenant_closes_it_and_the_identity_provider_does() {
        let (mut gate, mut now) = (Gate::new(RULES), Instant::now());
        let Passage::Go(number) = gate.ask(now, "only") else { panic!() };
        gate.accepted(now, "only", number);
        let mut refused = 0;
        while !gate.is_closed() {
            now += seconds(1);
            if let Passage::Go(number) = gate.ask(now, "only") {
                gate.refused(now, "only", number);
                refused += 1;
            }
        }
        assert_eq!(refused, 3);
        let mut gate = Gate::new(RULES);
        for n in 0..3 {
            let Passage::Go(number) = gate.ask(now, &format!("m{n}")) else { panic!() };
            assert_eq!(gate.refused_by_provider(now, number), n == 2);
        }
    }

    #[test]
    fn a_try_or_a_probe_that_hangs_or_is_dropped_blocks_nobody_for_ever() {
        let (mut gate, mut now) = (Gate::new(RULES), Instant::now());
        let hanging: Vec<_> = (0..3).map(|n| gate.ask(now, &format!("m{n}"))).collect();
        assert!(hanging.iter().all(|passage| matches!(passage, Passage::Go(_))));
        assert!(matches!(gate.ask(now + LEASE, "m4"), Passage::Go(_)));
        for n in 1..=3 {
            gate.refused(now, &format!("m{n}"), n);
        }
        now += seconds(300);
        let Passage::Go(probe) = gate.ask(now, "m9") else { panic!("a probe") };
        assert_eq!(gate.ask(now, "m8"), Passage::Closed(seconds(300)));
        gate.gave_up(now, probe, false);
        assert!(matches!(gate.ask(now + PROBE_AGAIN, "m8"), Passage::Go(_)));
        assert!(matches!(gate.ask(now + PROBE_AGAIN + seconds(300), "m8"), Passage::Go(_)), "it hangs: the next goes at its time");
    }
}
