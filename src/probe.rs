//! One step of a check that an operator asked for: what was tried, and what came back or what to do.

use postrider_actors::ids::{EventKey, TenantId};
use postrider_actors::ports::push_sender::{Channel, Content, Provider, Push, PushToken};
use postrider_actors::time::Timestamp;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Well.
    Well,
    /// It came to nothing; whether that matters is seen by what follows.
    Nowhere,
    /// Wrong: somebody has to do something.
    Wrong,
}

impl Went {
    /// The word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Nowhere => "nowhere",
            Self::Wrong => "wrong",
        }
    }
}

/// A step of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was tried, for people, with the names of the configuration.
    pub tried: String,
    /// What came back, or what is wrong and what to do about it. Never a secret, never mail content.
    pub told: String,
    /// How it went.
    pub went: Went,
}

impl Step {
    /// A step that went well.
    #[must_use]
    pub fn good(tried: impl Into<String>, found: impl Into<String>) -> Self {
        Self { tried: tried.into(), told: found.into(), went: Went::Well }
    }

    /// A step that failed.
    #[must_use]
    pub fn bad(tried: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { tried: tried.into(), told: advice.into(), went: Went::Wrong }
    }
}

/// A push for a device that nobody has: what a service says to it tells whether everything else is right.
#[must_use]
pub fn push_to_nobody(provider: Provider, token: &str, now: Timestamp) -> Push {
    Push {
        channel: Channel { tenant: TenantId("check".into()), provider, app: "check".into() },
        token: PushToken(token.into()),
        id: uuid::Uuid::nil(),
        event: EventKey([0; 16]),
        content: Content::BadgeOnly,
        badge: Some(0),
        count: 0,
        hashes: Vec::new(),
        expires_at: now,
    }
}
