//! Google's error answers: code, status and, where FCM itself speaks, its own error code among the details.

use http::StatusCode;
use serde_json::{Value, json};

/// FCM's own error codes (`google.firebase.fcm.v1.FcmError`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument,
    Internal,
    QuotaExceeded,
    SenderIdMismatch,
    ThirdPartyAuthError,
    Unavailable,
    Unregistered,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Internal => "INTERNAL",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::SenderIdMismatch => "SENDER_ID_MISMATCH",
            Self::ThirdPartyAuthError => "THIRD_PARTY_AUTH_ERROR",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unregistered => "UNREGISTERED",
        }
    }

    fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
            Self::QuotaExceeded => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            Self::SenderIdMismatch => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::ThirdPartyAuthError => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::Unregistered => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        }
    }
}

/// An answer other than 200.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) http: StatusCode,
    status: &'static str,
    code: Option<Code>,
    /// The field that is wrong, and how.
    violation: Option<Box<(String, String)>>,
    pub(super) retry_after_s: Option<u64>,
    /// The rule that the client broke, and what was seen.
    pub(super) misuse: Option<(&'static str, String)>,
}

impl Refusal {
    /// What FCM itself says.
    pub(super) fn fcm(code: Code) -> Self {
        let (http, status) = code.status();
        Self { http, status, code: Some(code), violation: None, retry_after_s: None, misuse: None }
    }

    /// What Google's front end says before FCM is asked: no FCM error code among the details.
    pub(super) fn plain(http: StatusCode, status: &'static str) -> Self {
        Self { http, status, code: None, violation: None, retry_after_s: None, misuse: None }
    }

    /// A field that cannot be as it is.
    pub(super) fn field(field: &str, description: impl Into<String>) -> Self {
        Self { violation: Some(Box::new((field.to_owned(), description.into()))), ..Self::fcm(Code::InvalidArgument) }
    }

    /// A body that is no message at all: Google's front end says so, FCM is not asked.
    pub(super) fn unreadable(place: &str) -> Self {
        let said = format!("Invalid JSON payload received. {place}");
        Self { violation: Some(Box::new((String::new(), said))), ..Self::plain(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT") }
    }

    /// With `Retry-After`; none for no seconds.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry_after_s: (seconds > 0).then_some(seconds), ..self }
    }

    pub(super) fn blame(self, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { misuse: Some((rule, detail.into())), ..self }
    }

    /// FCM's code, or else Google's status: what a report counts by.
    pub(super) fn reason(&self) -> &'static str {
        self.code.map_or(self.status, Code::as_str)
    }

    /// The JSON body (`google.rpc.Status`). FCM names a field that it refuses only where `names_violations`; the front end always does.
    pub(super) fn body(&self, names_violations: bool) -> String {
        let mut details: Vec<Value> = Vec::new();
        if let Some(code) = self.code {
            details.push(json!({
                "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
                "errorCode": code.as_str(),
            }));
        }
        let violation = self.violation.as_deref().filter(|_| names_violations || self.code.is_none());
        if let Some((field, description)) = violation {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": description}],
            }));
        }
        let mut error = json!({
            "code": self.http.as_u16(),
            "message": format!("Simulated: {}", self.reason()),
            "status": self.status,
        });
        if !details.is_empty() {
            error["details"] = Value::Array(details);
        }
        json!({ "error": error }).to_string()
    }
}
