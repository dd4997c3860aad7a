//! Everything about the core that can be tuned, as plain values with their defaults; ratios between them are checked here.

use std::time::Duration;

use crate::placement::tuning::Tuning;

/// `pushDowngradeCutoffSec` of a device that names none: 12 hours.
pub const CUTOFF_DEFAULT: Duration = Duration::from_secs(43_200);
/// Largest `pushDowngradeCutoffSec`: 3 days.
pub const CUTOFF_MAX: Duration = Duration::from_secs(259_200);
/// How many mails of one collection get rows of their own; what is older is counted on the oldest row.
pub const ROWS_PER_COLLECTION: usize = 64;
/// How many short hashes one push carries.
pub const HASHES_PER_PUSH: usize = 16;
/// How many pages of a sync one collection reads before it commits and starts over.
pub const PAGES_PER_COLLECTION: u32 = 4;

/// Settings of the core.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// After a push, further mails of the mailbox within this time share the next one. Zero: every collection at once.
    pub window: Duration,
    /// How long the first mail after quiet waits for server rules to move it.
    pub collect_delay: Duration,
    /// How long a badge change waits for a mail to ride along with.
    pub badge_delay: Duration,
    /// Mail older than this when it is found is not announced.
    pub max_age: Duration,
    /// How far behind the newest announced mail an arrival may have been received.
    pub lateness: Duration,
    /// Every mailbox is synced this often, heard from or not (with 10 % jitter).
    pub reconcile: Duration,
    /// How often a mailbox without room for a subscription is synced.
    pub poll: Duration,
    /// First delay after a failed call; it doubles.
    pub retry_base: Duration,
    /// Largest delay after failed calls.
    pub retry_max: Duration,
    /// How long a parked mailbox rests before it is tried again.
    pub park: Duration,
    /// First delay of a push that the provider wants later; it doubles.
    pub push_retry_base: Duration,
    /// Largest delay between tries of a push.
    pub push_retry_max: Duration,
    /// A push that was not taken within this time after the mail was found is given up.
    pub push_ttl: Duration,
    /// How long content of a push that must be repeated stays in memory.
    pub hold_content: Duration,
    /// How many bytes of such content a node holds.
    pub hold_bytes: usize,
    /// Deadline of one collection, from its first request to its commit.
    pub collect_deadline: Duration,
    /// How many mailboxes a node collects at a time.
    pub collections: usize,
    /// How many mailboxes a node seeds at a time.
    pub seedings: usize,
    /// How many mailboxes a node begins to watch per second.
    pub adopt_rate: u32,
    /// How many of them may be on one mail server.
    pub adopt_rate_back_end: u32,
    /// A shard that is to become ours is said to be warmed up at the latest after this, with or without all of its subscriptions.
    pub warm_up: Duration,
    /// How long a shard that is handed over waits for what is under way.
    pub settle: Duration,
    /// A sync state that covers no push is written at the latest after this.
    pub write_behind: Duration,
    /// Most mailboxes in one commit.
    pub commit_batch: usize,
    /// How often PENDING rows that nobody holds are looked for.
    pub sweep: Duration,
    /// Settled delivery rows are kept this long.
    pub retention: Duration,
    /// How often retention takes a step.
    pub retention_step: Duration,
    /// Lines of the audit trail are kept this long.
    pub audit_retention: Duration,
    /// A mailbox without devices is kept this long.
    pub keep_unwatched: Duration,
    /// Heartbeat period H.
    pub heartbeat: Duration,
    /// T: a node whose heartbeat stood still for this long is taken to be dead.
    pub observe_dead: Duration,
    /// How long before T the node itself stops.
    pub margin: Duration,
    /// Client-side deadline of a heartbeat.
    pub heartbeat_deadline: Duration,
    /// First delay before a failed actor is restarted; it doubles.
    pub restart_base: Duration,
    /// Largest delay before a restart.
    pub restart_max: Duration,
    /// Users this node may own.
    pub max_users: u32,
    /// Share of a channel's recent sends that come back as "device gone" above which its configuration is taken to be wrong.
    pub breaker_share: f64,
    /// How many recent sends it takes to judge that.
    pub breaker_sample: u32,
    /// How long a channel rests when its configuration or credentials are taken to be wrong.
    pub breaker_pause: Duration,
    /// What placement goes by.
    pub placement: Tuning,
}

impl Default for Settings {
    fn default() -> Self {
        let s = Duration::from_secs;
        let ms = Duration::from_millis;
        Self {
            window: s(3),
            collect_delay: Duration::ZERO,
            badge_delay: s(20),
            max_age: s(86_400),
            lateness: s(3_600),
            reconcile: s(1_800),
            poll: s(60),
            retry_base: ms(500),
            retry_max: s(60),
            park: s(3_600),
            push_retry_base: ms(500),
            push_retry_max: s(60),
            push_ttl: s(86_400),
            hold_content: s(60),
            hold_bytes: 64 << 20,
            collect_deadline: s(120),
            collections: 256,
            seedings: 4,
            adopt_rate: 200,
            adopt_rate_back_end: 500,
            warm_up: s(20),
            settle: s(5),
            write_behind: s(5),
            commit_batch: 200,
            sweep: s(5),
            retention: s(7 * 86_400),
            retention_step: s(10),
            audit_retention: s(365 * 86_400),
            keep_unwatched: s(7 * 86_400),
            heartbeat: s(1),
            observe_dead: s(6),
            margin: s(1),
            heartbeat_deadline: ms(2_500),
            restart_base: ms(100),
            restart_max: s(60),
            max_users: 10_000,
            breaker_share: 0.2,
            breaker_sample: 20,
            breaker_pause: s(60),
            placement: Tuning::default(),
        }
    }
}

impl Settings {
    /// All mistakes, as key and sentence.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut demand = |holds: bool, key, text: &str| {
            if !holds {
                found.push((key, text.to_owned()));
            }
        };
        demand(self.window <= Duration::from_secs(300), "window", "at most 5m: a mail would be announced too late to matter");
        demand(self.collect_delay <= Duration::from_secs(60), "collect_delay", "at most 60s");
        demand(self.badge_delay <= Duration::from_secs(600), "badge_delay", "at most 10m");
        demand(!self.reconcile.is_zero(), "reconcile", "more than 0s");
        demand(!self.poll.is_zero(), "poll", "more than 0s");
        demand(!self.retry_base.is_zero() && self.retry_base <= self.retry_max, "retry_base", "more than 0s and at most retry_max");
        demand(
            !self.push_retry_base.is_zero() && self.push_retry_base <= self.push_retry_max,
            "push_retry_base",
            "more than 0s and at most push_retry_max",
        );
        demand(
            !self.restart_base.is_zero() && self.restart_base <= self.restart_max,
            "restart_base",
            "more than 0s and at most restart_max",
        );
        demand(self.collections > 0, "collections", "at least 1");
        demand(self.seedings > 0, "seedings", "at least 1");
        demand(self.adopt_rate > 0, "adopt_rate", "at least 1 mailbox a second");
        demand(self.adopt_rate_back_end > 0, "adopt_rate_back_end", "at least 1 mailbox a second");
        demand(self.warm_up < Duration::from_secs(30), "warm_up", "less than 30s: a planned move is cancelled after that");
        demand(self.settle <= Duration::from_secs(10), "settle", "at most 10s: mail that comes meanwhile waits");
        demand((1..=200).contains(&self.commit_batch), "commit_batch", "1 to 200 mailboxes");
        demand(!self.sweep.is_zero(), "sweep", "more than 0s");
        demand(self.retention >= self.max_age, "retention", "at least max_age: a row says that its mail was announced");
        demand(!self.heartbeat.is_zero(), "heartbeat", "more than 0s");
        demand(self.observe_dead >= self.heartbeat * 5, "observe_dead", "at least five times heartbeat");
        demand(self.heartbeat_deadline < self.observe_dead / 2, "heartbeat_deadline", "less than half of observe_dead");
        // A clock may run 5 % fast here and 5 % slow there: the node itself must still stop before the others take over.
        let fits = self.observe_dead > self.margin
            && (self.observe_dead - self.margin).as_secs_f64() / self.observe_dead.as_secs_f64().max(1e-9) <= 0.95 / 1.05;
        demand(fits, "margin", "large enough that (observe_dead - margin) / observe_dead is at most 0.904 (clocks drift by 5 %)");
        demand(self.max_users > 0, "max_users", "at least 1");
        demand((0.01..=1.0).contains(&self.breaker_share), "breaker_share", "0.01 to 1.0");
        demand(self.breaker_sample >= 5, "breaker_sample", "at least 5 sends");
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problem() {
        assert_eq!(Settings::default().problems(), vec![]);
    }

    #[test]
    fn a_margin_too_small_for_clock_drift_is_refused() {
        let settings = Settings { margin: Duration::from_millis(500), ..Settings::default() };
        assert_eq!(settings.problems().iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["margin"]);
    }
}
