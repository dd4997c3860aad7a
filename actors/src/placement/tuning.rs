//! What placement can be tuned by, with the defaults that the cluster protocol was thought out for.

use std::time::Duration;

use super::view::Params;

/// Settings of placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Up to so many nodes everybody observes everybody; beyond, everybody observes the leader and the leader all.
    pub everybody: usize,
    /// How long the leader waits after a change before it plans, so that what happens together is planned together.
    pub debounce: Duration,
    /// Shards move for balance only after this long without a change of membership.
    pub quiet: Duration,
    /// How long a shard rests after it moved before it moves for balance again.
    pub cooldown: Duration,
    /// Users that may be on their way to one node out of drains.
    pub drain_budget: u32,
    /// Users that may be on their way to one node for balance.
    pub move_budget: u32,
    /// Nodes within this many per cent of the mean are left alone.
    pub delta_percent: u32,
    /// How far beyond its capacity a node may be filled with users that nobody else has room for, in per cent.
    pub overflow_percent: u32,
    /// A planned move whose receiver is not ready after this is cancelled.
    pub ready_within: Duration,
    /// A planned move that is not carried out this long after its receiver was ready is cancelled.
    pub release_within: Duration,
    /// How often the leader looks at all shards when nothing happens.
    pub look: Duration,
    /// How often the leader tells of all nodes when nothing happens.
    pub tell: Duration,
    /// A loss of more than this share of the nodes, in per cent, and of at least two, is doubted.
    pub guard_percent: u32,
    /// Nodes lost within this time are lost together.
    pub guard_window: Duration,
    /// From this share of its capacity on, in per cent, a node is warned about.
    pub warn_percent: u32,
    /// Deadline of looking and of taking leadership.
    pub look_deadline: Duration,
    /// Deadline of committing a plan.
    pub commit_deadline: Duration,
    /// Deadline of a direct probe.
    pub probe_deadline: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            everybody: 16,
            debounce: Duration::from_millis(200),
            quiet: s(60),
            cooldown: s(300),
            drain_budget: 500,
            move_budget: 500,
            delta_percent: 5,
            overflow_percent: 10,
            ready_within: s(30),
            release_within: s(5),
            look: s(10),
            tell: s(60),
            guard_percent: 40,
            guard_window: s(60),
            warn_percent: 80,
            look_deadline: Duration::from_millis(2_500),
            commit_deadline: s(5),
            probe_deadline: s(2),
        }
    }
}

impl Tuning {
    /// What a planning round goes by.
    #[must_use]
    pub fn params(&self, rebalance: bool) -> Params {
        Params {
            drain_budget: self.drain_budget,
            move_budget: self.move_budget,
            delta_percent: self.delta_percent,
            overflow_percent: self.overflow_percent,
            ready_within: self.ready_within,
            release_within: self.release_within,
            rebalance,
        }
    }

    /// All mistakes, as key and sentence.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let whole = |percent: u32| percent <= 100;
        let told = |key: &'static str, text: &str| (key, text.to_owned());
        let rules = [
            (self.debounce <= Duration::from_secs(5), "debounce", "at most 5s: users wait for it"),
            (self.drain_budget > 0, "drain_budget", "at least 1 user"),
            (self.move_budget > 0, "move_budget", "at least 1 user"),
            (whole(self.delta_percent), "delta_percent", "0 to 100"),
            (whole(self.overflow_percent), "overflow_percent", "0 to 100"),
            (!self.ready_within.is_zero(), "ready_within", "more than 0s"),
            (!self.release_within.is_zero(), "release_within", "more than 0s"),
            (!self.look.is_zero(), "look", "more than 0s"),
            (whole(self.guard_percent), "guard_percent", "0 to 100"),
            (!self.look_deadline.is_zero(), "look_deadline", "more than 0s"),
            (!self.commit_deadline.is_zero(), "commit_deadline", "more than 0s"),
            (!self.probe_deadline.is_zero(), "probe_deadline", "more than 0s"),
        ];
        rules.iter().filter(|(holds, _, _)| !holds).map(|(_, key, text)| told(key, text)).collect()
    }
}
