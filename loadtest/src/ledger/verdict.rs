//! The verdict of a run, as a table for people and as JSON for programs.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::push::Provider;

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latency {
    /// Reads a histogram of microseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        if histogram.is_empty() {
            return Self::default();
        }
        Self { count: histogram.len(), p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: histogram.max() as f64 / 1_000.0 }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1} ms  ({})", self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms, self.count)
    }
}

/// A mail that a phone never heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The mailbox's address.
    pub mailbox: String,
    /// The mail's short hash.
    pub mail: String,
    /// The first characters of the phone's token.
    pub device: String,
    /// How long ago it was delivered.
    pub age_ms: u64,
}

/// How often one rule was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MisuseCount {
    /// The server that says so.
    pub server: String,
    /// The rule.
    pub rule: String,
    /// How often.
    pub count: u64,
    /// A few of the cases.
    pub examples: Vec<String>,
}

/// How often a provider refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalCount {
    /// Who refused.
    pub provider: Provider,
    /// The HTTP status; 0 when the connection was cut instead.
    pub status: u16,
    /// The provider's own word.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// What the books say at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Mailboxes seen.
    pub mailboxes: u64,
    /// Phones seen.
    pub devices: u64,
    /// Mails delivered, of any kind.
    pub mails: u64,
    /// Of these, mails that every phone must hear of.
    pub to_announce: u64,
    /// Mails read, deleted or moved while it ran.
    pub gone: u64,
    /// Pushes that Apple accepted.
    pub pushes_apns: u64,
    /// Pushes that Google accepted.
    pub pushes_fcm: u64,
    /// Of both, those that only set a badge.
    pub badge_pushes: u64,
    /// Pairs of mail and phone that were announced.
    pub announced: u64,
    /// Pairs that were never announced and not excused.
    pub lost_count: u64,
    /// The first thousand of them.
    pub lost: Vec<Lost>,
    /// Pairs announced again under another id.
    pub doubled: u64,
    /// Pairs announced again under the same id: the phone shows one.
    pub repeats: u64,
    /// Pairs announced later than the window and two seconds after the hint.
    pub late: u64,
    /// Pairs announced though no hint had been sent: found by a sync, and not judged for lateness.
    pub unhinted: u64,
    /// Pushes that show details past the cut-off.
    pub too_much_content: u64,
    /// Mails announced that were not to be: old, read, or drafts.
    pub unwanted: u64,
    /// Mails named that the mailbox never held.
    pub unknown_mails: u64,
    /// Pushes to phones that nobody entered in the books.
    pub unknown_phones: u64,
    /// Phones whose icon shows another number than the inbox has unread mails.
    pub badges_behind: u64,
    /// Broken rules.
    pub misuse: Vec<MisuseCount>,
    /// What a real server takes though it advises against it, or carries out though the simulated one does not; not judged.
    pub remarks: Vec<MisuseCount>,
    /// Refused pushes, injected faults included.
    pub refusals: Vec<RefusalCount>,
    /// Hint on the wire to push on the wire.
    pub from_hint: Latency,
    /// Of these, mails after quiet: those that are to be pushed at once.
    pub first: Latency,
    /// And mails that came within the window after others, which may wait for its end on purpose.
    pub in_window: Latency,
    /// Delivered to push on the wire.
    pub from_delivery: Latency,
}

impl Verdict {
    /// How many times a rule was broken.
    pub fn misuse_count(&self) -> u64 {
        self.misuse.iter().map(|rule| rule.count).sum()
    }

    /// Nothing lost, no rule broken, nothing shown that should not be.
    pub fn is_clean(&self) -> bool {
        self.lost_count == 0 && self.misuse.is_empty() && self.too_much_content == 0 && self.unwanted == 0 && self.unknown_mails == 0
    }

    /// What the product promises, in words, and how often each was broken.
    pub fn promises(&self) -> [(&'static str, u64); 7] {
        [
            ("no mail is lost", self.lost_count),
            ("no mail is announced twice", self.doubled),
            ("every mail is announced in time", self.late),
            ("no push shows more than it may", self.too_much_content),
            ("nothing is announced that is no new mail", self.unwanted + self.unknown_mails),
            ("badges show what is unread", self.badges_behind),
            ("servers are asked as they demand", self.misuse_count()),
        ]
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let pushes = self.pushes_apns + self.pushes_fcm;
        vec![
            ("mailboxes / devices", format!("{} / {}", self.mailboxes, self.devices)),
            ("mails", format!("{} ({} to announce, {} gone again)", self.mails, self.to_announce, self.gone)),
            ("pushes accepted", format!("{pushes} (APNs {}, FCM {}; badge only {})", self.pushes_apns, self.pushes_fcm, self.badge_pushes)),
            ("announced", self.announced.to_string()),
            ("lost", self.lost_count.to_string()),
            ("doubled", self.doubled.to_string()),
            ("repeated, same id", self.repeats.to_string()),
            ("late", self.late.to_string()),
            ("announced without hint", self.unhinted.to_string()),
            ("too much content", self.too_much_content.to_string()),
            ("not to be announced", self.unwanted.to_string()),
            ("unknown mails / devices", { format!("{} / {}", self.unknown_mails, self.unknown_phones) }),
            ("badges behind", self.badges_behind.to_string()),
            ("misuse", self.misuse_count().to_string()),
            ("hint to push, at once", self.first.to_string()),
            ("hint to push, in window", self.in_window.to_string()),
            ("delivery to push", self.from_delivery.to_string()),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name:<24} {value}")?;
        }
        for refusal in &self.refusals {
            let RefusalCount { provider, status, reason, count } = refusal;
            writeln!(f, "  refused by {provider:<12} {count} x {status} {reason}")?;
        }
        for rule in &self.misuse {
            let example = rule.examples.first().map_or("", String::as_str);
            writeln!(f, "  MISUSE {:<16} {} x {}: {example}", rule.server, rule.count, rule.rule)?;
        }
        for remark in &self.remarks {
            let example = remark.examples.first().map_or("", String::as_str);
            writeln!(f, "  remark {:<16} {} x {}: {example}", remark.server, remark.count, remark.rule)?;
        }
        for lost in self.lost.iter().take(10) {
            writeln!(f, "  LOST {} in {} for device {} ({} ms ago)", lost.mail, lost.mailbox, lost.device, lost.age_ms)?;
        }
        Ok(())
    }
}

/// The running totals, for a display. The sample shows invented mail only.
#[derive(Clone, Default, Serialize)]
pub struct Snapshot {
    /// Mails delivered.
    pub mails: u64,
    /// Pushes accepted by both providers.
    pub pushes: u64,
    /// Pairs of mail and phone announced.
    pub announced: u64,
    /// Hint on the wire to push on the wire.
    pub latency: Latency,
    /// The same of mails after quiet.
    pub first: Latency,
    /// The same of mails that may have waited for the window.
    pub in_window: Latency,
    /// The number on the icon of the phone that was reached last.
    pub last_badge: u64,
    /// Rules broken.
    pub misuse: u64,
    /// One payload of the last fraction of a second.
    pub sample: Option<String>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("mails", &self.mails)
            .field("pushes", &self.pushes)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}
