//! What Apple answers when it takes no push: status and reason, as documented, and whether the client is to blame.

use http::StatusCode;

/// A reason out of Apple's table of error strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as Apple's documentation names it")]
pub enum Reason {
    BadCollapseId,
    BadDeviceToken,
    BadExpirationDate,
    BadMessageId,
    BadPath,
    BadPriority,
    BadTopic,
    DeviceTokenNotForTopic,
    DuplicateHeaders,
    ExpiredProviderToken,
    Forbidden,
    IdleTimeout,
    InternalServerError,
    InvalidProviderToken,
    InvalidPushType,
    MethodNotAllowed,
    MissingDeviceToken,
    MissingProviderToken,
    MissingTopic,
    PayloadEmpty,
    PayloadTooLarge,
    ServiceUnavailable,
    Shutdown,
    TooManyProviderTokenUpdates,
    TooManyRequests,
    TopicDisallowed,
    Unregistered,
}

impl Reason {
    /// Apple's word, the `reason` of the JSON answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadCollapseId => "BadCollapseId",
            Self::BadDeviceToken => "BadDeviceToken",
            Self::BadExpirationDate => "BadExpirationDate",
            Self::BadMessageId => "BadMessageId",
            Self::BadPath => "BadPath",
            Self::BadPriority => "BadPriority",
            Self::BadTopic => "BadTopic",
            Self::DeviceTokenNotForTopic => "DeviceTokenNotForTopic",
            Self::DuplicateHeaders => "DuplicateHeaders",
            Self::ExpiredProviderToken => "ExpiredProviderToken",
            Self::Forbidden => "Forbidden",
            Self::IdleTimeout => "IdleTimeout",
            Self::InternalServerError => "InternalServerError",
            Self::InvalidProviderToken => "InvalidProviderToken",
            Self::InvalidPushType => "InvalidPushType",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::MissingDeviceToken => "MissingDeviceToken",
            Self::MissingProviderToken => "MissingProviderToken",
            Self::MissingTopic => "MissingTopic",
            Self::PayloadEmpty => "PayloadEmpty",
            Self::PayloadTooLarge => "PayloadTooLarge",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Shutdown => "Shutdown",
            Self::TooManyProviderTokenUpdates => "TooManyProviderTokenUpdates",
            Self::TooManyRequests => "TooManyRequests",
            Self::TopicDisallowed => "TopicDisallowed",
            Self::Unregistered => "Unregistered",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::ExpiredProviderToken | Self::Forbidden | Self::InvalidProviderToken | Self::MissingProviderToken => StatusCode::FORBIDDEN,
            Self::BadPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unregistered => StatusCode::GONE,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyProviderTokenUpdates | Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable | Self::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// An answer other than 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Apple's word for it.
    pub reason: Reason,
    /// For `Unregistered`: when the device became unknown, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: Option<i64>,
    /// Seconds for a `Retry-After` header.
    pub retry_after_s: Option<u32>,
    /// The rule that the client broke, and what was seen; `None` when nobody is to blame.
    pub misuse: Option<(&'static str, String)>,
}

impl Refusal {
    /// A refusal for which the client is not to blame.
    pub fn plain(reason: Reason) -> Self {
        Self { reason, timestamp_ms: None, retry_after_s: None, misuse: None }
    }

    /// A refusal of something that a client must never send.
    pub fn misuse(reason: Reason, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { misuse: Some((rule, detail.into())), ..Self::plain(reason) }
    }

    /// The JSON body.
    pub fn body(&self) -> String {
        let reason = self.reason.as_str();
        match self.timestamp_ms {
            Some(timestamp) => format!(r#"{{"reason":"{reason}","timestamp":{timestamp}}}"#),
            None => format!(r#"{{"reason":"{reason}"}}"#),
        }
    }
}
