//! The labels of the core's metrics: closed sets of values, so that the number of series is known.

use super::catalog::Label;
use crate::delivery::breaker::Trouble;
use crate::label;
use crate::ports::cluster_store::Reason as MoveReason;
use crate::ports::push_sender::{Content, Provider, Verdict};
use crate::snapshot::{NodeState, Phase};

impl Label for Provider {
    const ANY: Self = Self::Apns;
    const VALUES: &'static [&'static str] = &["apns", "apns_sandbox", "fcm"];

    fn value(self) -> &'static str {
        self.as_str()
    }
}

impl Label for Phase {
    const ANY: Self = Self::Live;
    const VALUES: &'static [&'static str] = &["seeding", "catchup", "subscribed", "live", "polling", "parked"];

    fn value(self) -> &'static str {
        self.as_str()
    }
}

/// Where a node may stand, in the order of its life.
pub const NODE_STATES: [NodeState; 5] = [NodeState::Joining, NodeState::Good, NodeState::Draining, NodeState::Left, NodeState::Bad];

impl Label for NodeState {
    const ANY: Self = Self::Good;
    const VALUES: &'static [&'static str] = &["JOINING", "GOOD", "DRAINING", "LEFT", "BAD"];

    fn value(self) -> &'static str {
        self.as_str()
    }
}

impl Label for MoveReason {
    const ANY: Self = Self::Drain;
    const VALUES: &'static [&'static str] =
        &["unowned", "failed", "gone", "ineligible", "drain", "rebalance", "cancelled", "hand_over", "leave", "take_over", "reclaim"];

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
            Verdict::Refused { .. } | Verdict::Undeliverable { .. } => Self::Refused,
            Verdict::Credentials { .. } => Self::Credentials,
        }
    }
}

/// A provider's reason, out of those that are documented; everything else is `other`, so that a server cannot invent series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(&'static str);

impl Label for Reason {
    const ANY: Self = Self("none");
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
            | Verdict::Undeliverable { reason }
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
        /// It found nothing, and the server does not say that there is no more.
        Endless = "endless",
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
    }
}

label! {
    /// Why a push was not needed any more.
    pub enum Superseded {
        /// The mail was deleted, moved or read elsewhere.
        Gone = "gone",
        /// Its device is not registered any more.
        DeviceRemoved = "device_removed",
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
        /// The one that observes the other nodes and leads.
        Placement = "placement",
    }
}

label! {
    /// Why an app's pushes rest.
    pub enum Breaker {
        /// Too many devices gone at once: topic, environment or project are taken to be wrong.
        Configuration = "configuration",
        /// The provider refuses our credentials.
        Credentials = "credentials",
        /// Pushes to devices of several mailboxes are refused.
        Refused = "refused",
        /// The provider asked to wait.
        Asked = "asked",
        /// The provider takes nothing, or does not answer.
        Away = "away",
    }
}

impl Breaker {
    /// The label of a channel's trouble.
    #[must_use]
    pub fn of(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Configuration => Self::Configuration,
            Trouble::Credentials => Self::Credentials,
            Trouble::Refused => Self::Refused,
            Trouble::Asked => Self::Asked,
            Trouble::Away => Self::Away,
        }
    }
}
