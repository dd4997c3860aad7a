//! `[placement]`: who owns which mailboxes when several nodes share a database.

use std::time::Duration;

use postrider_actors::placement::tuning::Tuning;

use super::Problems;
use super::section::section;

/// The core's own defaults: the only place where they stand is the core.
fn core() -> Tuning {
    Tuning::default()
}

section! {
    /// Read by the node that leads; the same everywhere is best. Of no use on an embedded database, where one node owns everything.
    pub struct Placement with defaults {
        /// Up to so many nodes everybody observes everybody; beyond, everybody observes the leader and the leader all.
        pub everybody: usize = core().everybody;
        /// How long the leader waits after a change before it plans, so that what happens together is planned together.
        pub debounce: Duration = core().debounce;
        /// Mailboxes move for balance only after this long without a change of membership.
        pub quiet: Duration = core().quiet;
        /// How long mailboxes rest after they moved before they move for balance again.
        pub cooldown: Duration = core().cooldown;
        /// Users that may be on their way to one node out of nodes that drain.
        pub drain_budget: u32 = core().drain_budget;
        /// Users that may be on their way to one node for balance.
        pub move_budget: u32 = core().move_budget;
        /// Nodes within this many per cent of the mean are left alone.
        pub delta_percent: u32 = core().delta_percent;
        /// How far beyond its `max_users` a node may be filled when others failed, in per cent.
        pub overflow_percent: u32 = core().overflow_percent;
        /// A planned move whose receiver is not ready after this is cancelled.
        pub ready_within: Duration = core().ready_within;
        /// A planned move that is not carried out this long after its receiver was ready is cancelled.
        pub release_within: Duration = core().release_within;
        /// How often the leader looks at all mailboxes' places when nothing happens.
        pub look: Duration = core().look;
        /// How often the leader logs a line about every node when nothing happens.
        pub tell: Duration = core().tell;
        /// A loss of more than this share of the nodes, in per cent, and of at least two, is doubted: the leader waits and asks them directly.
        pub guard_percent: u32 = core().guard_percent;
        /// Nodes lost within this time are lost together.
        pub guard_window: Duration = core().guard_window;
        /// From this share of its `max_users` on, in per cent, a node is warned about.
        pub warn_percent: u32 = core().warn_percent;
        /// Deadline of looking at the cluster and of taking leadership.
        pub look_deadline: Duration = core().look_deadline;
        /// Deadline of committing a plan.
        pub commit_deadline: Duration = core().commit_deadline;
        /// Deadline of asking a node directly whether it can act.
        pub probe_deadline: Duration = core().probe_deadline;
    }
}

impl Placement {
    /// The core's settings.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        Tuning {
            everybody: self.everybody,
            debounce: self.debounce,
            quiet: self.quiet,
            cooldown: self.cooldown,
            drain_budget: self.drain_budget,
            move_budget: self.move_budget,
            delta_percent: self.delta_percent,
            overflow_percent: self.overflow_percent,
            ready_within: self.ready_within,
            release_within: self.release_within,
            look: self.look,
            tell: self.tell,
            guard_percent: self.guard_percent,
            guard_window: self.guard_window,
            warn_percent: self.warn_percent,
            look_deadline: self.look_deadline,
            commit_deadline: self.commit_deadline,
            probe_deadline: self.probe_deadline,
        }
    }

    /// What goes together is known by the core.
    pub fn check(&self, problems: &mut Problems) {
        for (key, text) in self.tuning().problems() {
            problems.add(format!("placement.{key}"), format!("must be {text}"));
        }
    }
}
