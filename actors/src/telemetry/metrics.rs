//! Every metric of the core, with the sentence that tells an operator what it says.

use super::catalog::Label;
use crate::ports::push_sender::{Content, Provider, Verdict};
use crate::snapshot::Phase;
use crate::{catalog, label};

impl Label for Provider {
    const VALUES: &'static [&'static str] = &["apns", "apns_sandbox", "fcm"];

    fn value(self) -> &'static str {
        self.as_str()
    }
}

impl Label for Phase {
    const VALUES: &'static [&'static str] = &["seeding", "catchup", "subscribed", "live", "polling", "parked"];

    fn value(self) -> &'static str {
        self.as_str()
    }
}

label! {
    /// What a provider's answer means to us.
    pub enum VerdictClass {
        /// Taken.
        Accepted = "accepted",
        /// Again later.
        Later = "later",
        /// No answer came.
        Unknown = "unknown",
        /// The device is gone.
        DeviceGone = "device_gone",
        /// Our fault.
        Refused = "refused",
        /// Our credentials are refused.
        Credentials = "credentials",
    }
}

impl VerdictClass {
    /// The class of a verdict.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accepted => Self::Accepted,
            Verdict::Later { .. } => Self::Later,
            Verdict::Unknown { .. } => Self::Unknown,
            Verdict::DeviceGone { .. } => Self::DeviceGone,
            Verdict::Refused { .. } => Self::Refused,
            Verdict::Credentials { .. } => Self::Credentials,
        }
    }
}

/// A provider's reason, out of those that are documented; everything else is `other`, so that a server cannot invent series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(&'static str);

impl Label for Reason {
    const VALUES: &'static [&'static str] = &[
        "none",
        "other",
        // APNs.
        "BadDeviceToken",
        "DeviceTokenNotForTopic",
        "BadCollapseId",
        "BadExpirationDate",
        "BadMessageId",
        "BadPriority",
        "BadTopic",
        "InvalidPushType",
        "MissingDeviceToken",
        "MissingTopic",
        "PayloadEmpty",
        "TopicDisallowed",
        "DuplicateHeaders",
        "IdleTimeout",
        "BadCertificate",
        "BadCertificateEnvironment",
        "ExpiredProviderToken",
        "Forbidden",
        "InvalidProviderToken",
        "MissingProviderToken",
        "BadPath",
        "MethodNotAllowed",
        "Unregistered",
        "ExpiredToken",
        "PayloadTooLarge",
        "TooManyRequests",
        "TooManyProviderTokenUpdates",
        "InternalServerError",
        "ServiceUnavailable",
        "Shutdown",
        // FCM.
        "UNREGISTERED",
        "INVALID_ARGUMENT",
        "SENDER_ID_MISMATCH",
        "THIRD_PARTY_AUTH_ERROR",
        "UNAUTHENTICATED",
        "QUOTA_EXCEEDED",
        "UNAVAILABLE",
        "INTERNAL",
    ];

    fn value(self) -> &'static str {
        self.0
    }
}

impl Reason {
    /// The reason of a verdict.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accepted => Self("none"),
            Verdict::Later { reason, .. }
            | Verdict::Unknown { reason }
            | Verdict::DeviceGone { reason, .. }
            | Verdict::Refused { reason }
            | Verdict::Credentials { reason } => Self::named(reason),
        }
    }

    fn named(reason: &str) -> Self {
        Self(Self::VALUES.iter().find(|known| **known == reason).copied().unwrap_or("other"))
    }
}

label! {
    /// What a push shows.
    pub enum Shown {
        /// Sender, subject, preview.
        Details = "details",
        /// Only that there is mail.
        MailOnly = "mail_only",
        /// Only the badge.
        Badge = "badge",
    }
}

impl Shown {
    /// What this content shows.
    #[must_use]
    pub fn of(content: &Content) -> Self {
        match content {
            Content::Details { .. } => Self::Details,
            Content::MailOnly => Self::MailOnly,
            Content::BadgeOnly => Self::Badge,
        }
    }
}

label! {
    /// How something ended.
    pub enum Outcome {
        /// As wanted.
        Done = "done",
        /// Somebody else has the authority.
        Stale = "stale",
        /// It failed and is repeated.
        Failed = "failed",
        /// Its outcome is not known.
        Unknown = "unknown",
    }
}

label! {
    /// How a collection ended.
    pub enum Collected {
        /// It found mail to announce.
        Mail = "mail",
        /// It found only changes of the badge.
        Badge = "badge",
        /// It found nothing.
        Nothing = "nothing",
        /// The server asked for silence.
        Throttled = "throttled",
        /// It failed and is repeated.
        Failed = "failed",
    }
}

label! {
    /// Why a delivery row was given up.
    pub enum Dead {
        /// It was not taken in time.
        Expired = "expired",
        /// The provider refused it by our fault.
        Refused = "refused",
        /// Its device is gone.
        DeviceGone = "device_gone",
        /// Its device is not registered any more.
        DeviceRemoved = "device_removed",
    }
}

label! {
    /// Why a push was not needed any more.
    pub enum Superseded {
        /// The mail was deleted, moved or read elsewhere.
        Gone = "gone",
        /// A newer push says it too.
        Newer = "newer",
    }
}

label! {
    /// Which queue.
    pub enum Queue {
        /// Deliveries under way: collecting, sending, resting.
        Deliveries = "deliveries",
        /// Mailboxes that wait for a commit.
        Commits = "commits",
        /// Verdicts that wait to be marked.
        Marks = "marks",
    }
}

label! {
    /// Which actor.
    pub enum Actor {
        /// The node's.
        Node = "node",
        /// A shard's.
        Shard = "shard",
        /// A mailbox's.
        Mailbox = "mailbox",
        /// A delivery's.
        Delivery = "delivery",
        /// The one for what is done by the clock.
        Chores = "chores",
    }
}

label! {
    /// Why an app's pushes rest.
    pub enum Breaker {
        /// Too many devices gone at once: topic, environment or project are taken to be wrong.
        Configuration = "configuration",
        /// The provider refuses our credentials.
        Credentials = "credentials",
    }
}

catalog! {
    /// Pushes that were answered, by provider, what was shown, verdict and the provider's reason. Watch everything but `accepted`.
    counter push_answered(provider: Provider, shown: Shown, verdict: VerdictClass, reason: Reason) = "postrider_push_answered_total";
    /// Time from the hint that something changed to the provider's acceptance of the push; the coalescing window is part of it.
    histogram push_latency(provider: Provider) = "postrider_push_latency_seconds", Patient;
    /// Time from the mail's own received time to the provider's acceptance of the push: what a user feels.
    histogram push_age(provider: Provider) = "postrider_push_age_seconds", Patient;
    /// Pushes given up, by reason. Each has a line in the mailbox's "why".
    counter dead_letters(why: Dead) = "postrider_dead_letters_total";
    /// Pushes that were not needed any more.
    counter superseded(why: Superseded) = "postrider_superseded_total";
    /// Devices forgotten for a definite reason.
    counter devices_forgotten(provider: Provider) = "postrider_devices_forgotten_total";
    /// Apps whose pushes rest because their configuration or credentials are taken to be wrong. Alert above 0.
    gauge breaker_open(provider: Provider) = "postrider_breaker_open";
    /// How often an app's pushes were brought to rest.
    counter breaker_opened(provider: Provider, why: Breaker) = "postrider_breaker_opened_total";
    /// Mailboxes of this node by phase. `live` is where they belong; `parked` needs a person.
    gauge mailboxes(phase: Phase) = "postrider_mailboxes";
    /// Users that this node may own; the mailboxes against it are its load.
    gauge capacity() = "postrider_capacity";
    /// Shards that this node owns.
    gauge shards() = "postrider_shards";
    /// Hints that something changed, from streams, webhooks and people.
    counter hints() = "postrider_hints_total";
    /// Collections (what changed since the sync state) by how they ended.
    counter collections(outcome: Collected) = "postrider_collections_total";
    /// Time of one collection, from its first request to its commit.
    histogram collection_seconds() = "postrider_collection_seconds", Quick;
    /// Pages read to seed mailboxes that are watched for the first time or whose sync state was lost.
    counter seeding_pages() = "postrider_seeding_pages_total";
    /// What waits inside this node.
    gauge queue_depth(queue: Queue) = "postrider_queue_depth";
    /// Commits of sync states and delivery rows by how they ended. `stale` means that another process has the authority.
    counter commits(outcome: Outcome) = "postrider_commits_total";
    /// Time of one commit.
    histogram commit_seconds() = "postrider_commit_seconds", Quick;
    /// Mailboxes in one commit.
    histogram commit_mailboxes() = "postrider_commit_mailboxes", Count;
    /// Verdicts marked at once.
    histogram mark_rows() = "postrider_mark_rows", Count;
    /// Looks for pending pushes that nobody holds.
    counter sweeps(outcome: Outcome) = "postrider_sweeps_total";
    /// Mailboxes whose pending pushes a look found and took up.
    counter swept_mailboxes() = "postrider_swept_mailboxes_total";
    /// Old settled rows removed.
    counter retained_rows() = "postrider_retention_rows_total";
    /// Bytes of mail content held for pushes to be repeated.
    gauge held_bytes() = "postrider_held_content_bytes";
    /// Actors restarted after a failure. Alert on a rate that lasts.
    counter restarts(actor: Actor) = "postrider_restarts_total";
    /// Heartbeats by how they ended.
    counter heartbeats(outcome: Outcome) = "postrider_heartbeats_total";
    /// Time of one heartbeat.
    histogram heartbeat_seconds() = "postrider_heartbeat_seconds", Quick;
    /// Whether this node may act (1) or has stopped because its authority ran out (0).
    gauge gate_open() = "postrider_gate_open";
    /// Whether the database allows pushes to leave (1) or sending is paused (0).
    gauge sending_allowed() = "postrider_sending_allowed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_as_prometheus_wants_and_stand_once() {
        let mut names: Vec<&str> = CATALOG.iter().map(|metric| metric.name).collect();
        for metric in CATALOG {
            let counter = matches!(metric.kind, super::super::catalog::Kind::Counter);
            assert_eq!(metric.name.ends_with("_total"), counter, "{}", metric.name);
            assert!(metric.name.starts_with("postrider_"), "{}", metric.name);
            assert!(metric.sentence.trim().ends_with('.'), "{}", metric.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOG.len());
    }

    #[test]
    fn a_reason_that_is_not_documented_makes_no_series() {
        let later = |reason: &str| Reason::of(&Verdict::Later { after: None, reason: reason.into() }).value();
        assert_eq!(later("QUOTA_EXCEEDED"), "QUOTA_EXCEEDED");
        assert_eq!(later("<script>"), "other");
    }
}
