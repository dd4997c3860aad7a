//! The port to the push providers (APNs, FCM).
//!
//! Contract. (1) A sender reports, it never touches a store. (2) [`PushSender::permit`] waits for room at the provider (in-flight
//! limits are separate per provider and credential, so that an outage of one does not starve another) and ends by itself;
//! what a device may see, and the gate, are decided *after* it. (3) [`PushSender::send`] ends within a deadline. (4) A repeat with
//! the same ids replaces at the provider instead of doubling. (5) Dropping a future of `send` may leave the push accepted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::ids::{EventKey, TenantId};
use crate::time::Timestamp;

/// Which push provider a device belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Apple Push Notification service, production environment.
    Apns,
    /// Apple Push Notification service, sandbox environment.
    ApnsSandbox,
    /// Firebase Cloud Messaging, HTTP v1.
    Fcm,
}

impl Provider {
    /// The name in the store, the API and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::ApnsSandbox => "apns_sandbox",
            Self::Fcm => "fcm",
        }
    }
}

/// A provider and the app on it: which credential, topic or project serves a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel {
    /// Whose credentials apply.
    pub tenant: TenantId,
    /// The provider.
    pub provider: Provider,
    /// The app (bundle id or Android package name) as registered.
    pub app: Arc<str>,
}

/// A device token as the provider gave it to the app. Prints nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushToken(pub Box<str>);

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushToken(…)")
    }
}

/// What a push shows, after policy.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Sender, subject and preview of the newest mail.
    Details {
        /// Sender's display name.
        sender: String,
        /// Subject, possibly empty.
        subject: String,
        /// Preview, possibly empty.
        preview: String,
    },
    /// Only that there is mail.
    MailOnly,
    /// Only the badge.
    BadgeOnly,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Details { .. } => "Details(…)",
            Self::MailOnly => "MailOnly",
            Self::BadgeOnly => "BadgeOnly",
        })
    }
}

/// One push, ready to be put into a provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Where it goes.
    pub channel: Channel,
    /// To which device.
    pub token: PushToken,
    /// `apns-id`: UUIDv5 of (mailbox, device, event key), the same in every repeat.
    pub id: Uuid,
    /// What `apns-collapse-id` and the notification tag are made of.
    pub event: EventKey,
    /// What it shows.
    pub content: Content,
    /// Unread count for the badge, if known.
    pub badge: Option<u32>,
    /// How many mails it announces (0 for a badge push).
    pub count: u32,
    /// Short hashes of the newest of them, newest first, at most 16.
    pub hashes: Vec<EventKey>,
    /// When the provider must forget it, if it could not deliver it before.
    pub expires_at: Timestamp,
}

/// What a provider said to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Accepted,
    /// Definitely not taken; again later.
    Later {
        /// Not before this, if the provider said so.
        after: Option<Duration>,
        /// The provider's code.
        reason: Arc<str>,
    },
    /// Sent, but no answer came: it may have been taken. A repeat carries the same ids.
    Unknown {
        /// What broke.
        reason: Arc<str>,
    },
    /// The device is definitely gone.
    DeviceGone {
        /// Since when, if the provider says so (APNs 410): a registration after it stands.
        since: Option<Timestamp>,
        /// Whether the provider says this of the very device (APNs 410 with its time, FCM `UNREGISTERED`), so that no wrong configuration can be behind it:
        /// said again and again it is believed even of the only device of a channel.
        certain: bool,
        /// The provider's code.
        reason: Arc<str>,
    },
    /// Refused for good, by our fault: a dead letter, unless the same happens to several.
    Refused {
        /// The provider's code.
        reason: Arc<str>,
    },
    /// Refused for good for this device alone, as the code says (its platform's credential at the provider is wrong, its token cannot be sent): a dead letter
    /// that says nothing about the channel.
    Undeliverable {
        /// The provider's code.
        reason: Arc<str>,
    },
    /// Our credentials are refused: the channel is to be paused, nobody forgotten.
    Credentials {
        /// The provider's code.
        reason: Arc<str>,
    },
}

impl Verdict {
    /// The code.
    #[must_use]
    pub fn reason(&self) -> Arc<str> {
        match self {
            Self::Accepted => Arc::from("ok"),
            Self::Later { reason, .. }
            | Self::Unknown { reason }
            | Self::DeviceGone { reason, .. }
            | Self::Refused { reason }
            | Self::Undeliverable { reason }
            | Self::Credentials { reason } => reason.clone(),
        }
    }
}

/// Room for one push at a provider; given back when dropped.
pub struct Permit(#[allow(dead_code, reason = "held for its Drop")] Option<Box<dyn Send + Sync>>);

impl Permit {
    /// Wraps whatever gives the room back when it is dropped.
    #[must_use]
    pub fn new(room: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(room)))
    }

    /// A permit that holds nothing.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// The port itself.
#[async_trait]
pub trait PushSender: Send + Sync + 'static {
    /// Waits for room on the channel, at most as long as the adapter's deadline.
    ///
    /// # Errors
    /// The verdict that stands for a push that cannot be tried: `Later` when there was no room in time, `Refused` when no credential is configured for the channel.
    async fn permit(&self, channel: &Channel) -> Result<Permit, Verdict>;

    /// Sends one push and says what became of it. The permit is given back when the answer is there.
    async fn send(&self, permit: Permit, push: Push) -> Verdict;
}
