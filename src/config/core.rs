//! `[core]`: what the core decides by.

use std::time::Duration;

use postrider_actors::placement::tuning::Tuning;
use postrider_actors::settings::Settings;

use super::Problems;
use super::section::section;
use super::setting::Bytes;

/// The core's own defaults: the only place where they stand is the core.
fn core() -> Settings {
    Settings::default()
}

section! {
    /// The defaults suit a node with 10,000 mailboxes; the timings of the cluster are checked against each other.
    pub struct Core with defaults {
        /// After a push, further mails of the mailbox within this time share the next one. `"0s"`: every collection pushes at once.
        pub window: Duration = core().window;
        /// How long the first mail after quiet waits, for server rules to move it.
        pub collect_delay: Duration = core().collect_delay;
        /// How long a badge change waits for a mail to ride along with.
        pub badge_delay: Duration = core().badge_delay;
        /// Mail that is older than this when it is found is not announced.
        pub max_age: Duration = core().max_age;
        /// How far behind the newest announced mail an arrival may have been received; what is older was moved or restored.
        pub lateness: Duration = core().lateness;
        /// Every mailbox is synced this often, heard from or not (with 10 % jitter): finds streams that went silent.
        pub reconcile: Duration = core().reconcile;
        /// How often a mailbox for which the server has no room for a subscription is synced.
        pub poll: Duration = core().poll;
        /// First delay after a failed call to the mail server; it doubles up to `retry_max`.
        pub retry_base: Duration = core().retry_base;
        /// Largest delay after failed calls.
        pub retry_max: Duration = core().retry_max;
        /// How long a mailbox that was refused for good rests before it is tried again.
        pub park: Duration = core().park;
        /// First delay of a push that the provider wants later; it doubles up to `push_retry_max`.
        pub push_retry_base: Duration = core().push_retry_base;
        /// Largest delay between tries of a push.
        pub push_retry_max: Duration = core().push_retry_max;
        /// A push that was not taken within this time after its mail was found is given up.
        pub push_ttl: Duration = core().push_ttl;
        /// How long the content of a push that must be repeated stays in memory; a later repeat reads the mail again.
        pub hold_content: Duration = core().hold_content;
        /// How much of such content a node holds.
        pub hold_bytes: Bytes = Bytes(core().hold_bytes as u64);
        /// Deadline of one collection, from its first request to its commit.
        pub collect_deadline: Duration = core().collect_deadline;
        /// How many mailboxes a node collects at a time.
        pub collections: usize = core().collections;
        /// How many mailboxes a node seeds at a time (a mailbox with years of mail is read once, in pages).
        pub seedings: usize = core().seedings;
        /// How many mailboxes a node begins to watch per second.
        pub adopt_rate: u32 = core().adopt_rate;
        /// How many of these may be on one mail server.
        pub adopt_rate_back_end: u32 = core().adopt_rate_back_end;
        /// A node that is to receive users subscribes to their mailboxes first; it says that it is ready at the latest after this, with or without all of them.
        pub warm_up: Duration = core().warm_up;
        /// How long users that move to another node wait for what is under way for them.
        pub settle: Duration = core().settle;
        /// A sync state that covers no push is written at the latest after this.
        pub write_behind: Duration = core().write_behind;
        /// Most mailboxes in one commit.
        pub commit_batch: usize = core().commit_batch;
        /// How often pending pushes that nobody holds are looked for.
        pub sweep: Duration = core().sweep;
        /// Settled delivery rows, which answer "why no push", are kept this long.
        pub retention: Duration = core().retention;
        /// How often retention takes a small step.
        pub retention_step: Duration = core().retention_step;
        /// Lines of the audit trail, one for each admin call, are kept this long.
        pub audit_retention: Duration = core().audit_retention;
        /// The state of a mailbox without devices is kept this long.
        pub keep_unwatched: Duration = core().keep_unwatched;
        /// Heartbeat period of the node.
        pub heartbeat: Duration = core().heartbeat;
        /// A node whose heartbeat stood still for this long is taken to be dead; at least five heartbeats.
        pub observe_dead: Duration = core().observe_dead;
        /// How long before `observe_dead` the node itself stops acting; large enough for clocks that drift by 5 %.
        pub margin: Duration = core().margin;
        /// Deadline of one heartbeat; less than half of `observe_dead`.
        pub heartbeat_deadline: Duration = core().heartbeat_deadline;
        /// First delay before a failed actor is restarted; it doubles up to `restart_max`.
        pub restart_base: Duration = core().restart_base;
        /// Largest delay before a restart.
        pub restart_max: Duration = core().restart_max;
        /// Users that this node may own.
        pub max_users: u32 = core().max_users;
        /// Share of an app's recent pushes that come back as "device gone" above which none of them is believed: they are tried again, and no device is forgotten. A mailbox counts once.
        pub breaker_share: f64 = core().breaker_share;
        /// So many times, from several mailboxes and with no push accepted between, must devices seem gone before the app's configuration is taken to be wrong and its pushes rest.
        pub breaker_sample: u32 = core().breaker_sample;
        /// How long an app's pushes rest first when its configuration or credentials are taken to be wrong, or everything is refused; up to five times as long if the pushes that try it after that fail.
        pub breaker_pause: Duration = core().breaker_pause;
    }
}

impl Core {
    /// The core's settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            window: self.window,
            collect_delay: self.collect_delay,
            badge_delay: self.badge_delay,
            max_age: self.max_age,
            lateness: self.lateness,
            reconcile: self.reconcile,
            poll: self.poll,
            retry_base: self.retry_base,
            retry_max: self.retry_max,
            park: self.park,
            push_retry_base: self.push_retry_base,
            push_retry_max: self.push_retry_max,
            push_ttl: self.push_ttl,
            hold_content: self.hold_content,
            hold_bytes: self.hold_bytes.len(),
            collect_deadline: self.collect_deadline,
            collections: self.collections,
            seedings: self.seedings,
            adopt_rate: self.adopt_rate,
            adopt_rate_back_end: self.adopt_rate_back_end,
            warm_up: self.warm_up,
            settle: self.settle,
            write_behind: self.write_behind,
            commit_batch: self.commit_batch,
            sweep: self.sweep,
            retention: self.retention,
            retention_step: self.retention_step,
            audit_retention: self.audit_retention,
            keep_unwatched: self.keep_unwatched,
            heartbeat: self.heartbeat,
            observe_dead: self.observe_dead,
            margin: self.margin,
            heartbeat_deadline: self.heartbeat_deadline,
            restart_base: self.restart_base,
            restart_max: self.restart_max,
            max_users: self.max_users,
            breaker_share: self.breaker_share,
            breaker_sample: self.breaker_sample,
            breaker_pause: self.breaker_pause,
            // A section of its own.
            placement: Tuning::default(),
        }
    }

    /// What goes together is known by the core.
    pub fn check(&self, problems: &mut Problems) {
        for (key, text) in self.settings().problems() {
            problems.add(format!("core.{key}"), format!("must be {text}"));
        }
    }
}
