//! Apple's answers in our words: status and reason become a verdict, and nothing but a named reason makes a device be gone.

use std::time::Duration;

use postrider_actors::ports::push_sender::Verdict;
use postrider_actors::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::http::code::code;

/// What an answer calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The push is settled with this.
    Settled(Verdict),
    /// The provider token has expired: renew it and repeat, once; if that has been done, this is the verdict.
    TokenExpired(Verdict),
    /// The provider token is refused, expired or not: if another one is worth a try, repeat, once; else this is the verdict.
    TokenInvalid(Verdict),
    /// The payload is too large: shorten it and repeat, once; if that has been done, this is the verdict.
    TooLarge(Verdict),
}

/// The body of an error (Apple, "Handling notification responses from APNs").
#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(default)]
    reason: String,
    /// Since when the device token is not valid, in milliseconds since 1970.
    #[serde(default)]
    timestamp: Value,
}

/// Reads an answer.
#[must_use]
pub fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Reading {
    if status == 200 {
        return Reading::Settled(Verdict::Accepted);
    }
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let reason = code(status, &refusal.reason);
    match (status, refusal.reason.as_str()) {
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => Reading::Settled(Verdict::DeviceGone { since: None, certain: false, reason }),
        (410, "Unregistered" | "ExpiredToken") => {
            let since = refusal.timestamp.as_i64().filter(|millis| *millis > 0).map(|millis| Timestamp(millis.saturating_mul(1_000)));
            Reading::Settled(Verdict::DeviceGone { since, certain: since.is_some(), reason })
        }
        (403, "InvalidProviderToken") => Reading::TokenInvalid(Verdict::Credentials { reason }),
        (403, "ExpiredProviderToken") => Reading::TokenExpired(Verdict::Credentials { reason }),
        // A topic that the key may not use, or that is none, is the configuration's: every push of the app would come back so.
        (401 | 403, _) | (400, "BadTopic" | "MissingTopic" | "TopicDisallowed") => Reading::Settled(Verdict::Credentials { reason }),
        (413, _) => Reading::TooLarge(Verdict::Refused { reason }),
        // The server was tired of the connection, not of the push.
        (400, "IdleTimeout") | (408 | 429 | 500..=599, _) => Reading::Settled(Verdict::Later { after: retry_after, reason }),
        _ => Reading::Settled(Verdict::Refused { reason }),
    }
}
