//! FCM's answers in our words: status and error code become a verdict, and only "unregistered", a violation of the target field or an invalid argument without a field makes a device be gone.

use std::time::Duration;

use postrider_actors::ports::push_sender::Verdict;
use serde::Deserialize;

use super::payload::TARGET;
use crate::http::code::code;

/// Without a `Retry-After` an exhausted quota is back with the next bucket of one minute.
const QUOTA_REST: Duration = Duration::from_secs(60);

/// What an answer calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The push is settled with this.
    Settled(Verdict),
    /// The access token is refused: renew it and repeat, once; if that has been done, this is the verdict.
    TokenRefused(Verdict),
    /// A quota is used up, the device's or the project's: the core tells them apart by who else is told so.
    QuotaExceeded(Verdict),
}

/// The body of an error (google.rpc.Status, with details of `FcmError` and `BadRequest`).
#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    error: Status,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(rename = "@type", default)]
    kind: String,
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    field_violations: Vec<Violation>,
}

#[derive(Deserialize, Default)]
struct Violation {
    #[serde(default)]
    field: String,
}

impl Status {
    /// FCM's own error code; there may be none where another part of Google answers.
    fn fcm_code(&self) -> &str {
        let own = self.details.iter().find(|detail| detail.kind.ends_with("google.firebase.fcm.v1.FcmError"));
        own.map_or("", |detail| &detail.error_code)
    }

    /// Whether it is the device's token that cannot be: the field is named, or no field is, as FCM answers since 2021.
    fn blames_the_target(&self) -> bool {
        let mut fields =
            self.details.iter().flat_map(|detail| &detail.field_violations).map(|violation| violation.field.as_str()).peekable();
        match fields.peek() {
            Some(_) => fields.any(|field| field == TARGET),
            None => self.fcm_code() == "INVALID_ARGUMENT",
        }
    }
}

/// Reads an answer.
#[must_use]
pub fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Reading {
    if status == 200 {
        return Reading::Settled(Verdict::Accepted);
    }
    let error = serde_json::from_slice::<Body>(body).unwrap_or_default().error;
    let fcm_code = error.fcm_code();
    let reason = code(status, if fcm_code.is_empty() { &error.status } else { fcm_code });
    match (status, fcm_code) {
        (404, "UNREGISTERED") => Reading::Settled(Verdict::DeviceGone { since: None, certain: true, reason }),
        // It may be a fault of ours in the message as well: others that are accepted meanwhile tell the difference.
        (400, "INVALID_ARGUMENT" | "") if error.blames_the_target() => {
            Reading::Settled(Verdict::DeviceGone { since: None, certain: false, reason })
        }
        // The device is another project's: a mistake of the app or of the configuration, not the device's end.
        (403, "SENDER_ID_MISMATCH") => Reading::Settled(Verdict::Refused { reason }),
        // The project's credential for Apple or for web browsers is wrong: our token is good, and Android devices are not concerned.
        (401, "THIRD_PARTY_AUTH_ERROR") => Reading::Settled(Verdict::Undeliverable { reason }),
        (401, _) => Reading::TokenRefused(Verdict::Credentials { reason }),
        (403, _) => Reading::Settled(Verdict::Credentials { reason }),
        (429, _) => {
            let rest = retry_after.filter(|told| !told.is_zero()).unwrap_or(QUOTA_REST);
            Reading::QuotaExceeded(Verdict::Later { after: Some(rest), reason })
        }
        (408 | 500..=599, _) => Reading::Settled(Verdict::Later { after: retry_after, reason }),
        _ => Reading::Settled(Verdict::Refused { reason }),
    }
}
