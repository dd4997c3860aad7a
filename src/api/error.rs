//! What the API answers: problem+json (RFC 9457) for everything that went wrong, and the only place with HTTP status codes of ours.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_actors::ports::StoreError;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Why a request was not carried out. Texts are for people; programs read `code` and the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// A field, path segment, query parameter or the body as a whole is not what it must be.
    Invalid {
        /// Which, e.g. `pushDowngradeCutoffSec`; empty for the body as a whole.
        field: Cow<'static, str>,
        /// What it must be; never what it was.
        detail: Cow<'static, str>,
    },
    /// No credentials, or none that are believed. The caller is not told more than this sentence.
    Unauthenticated(&'static str),
    /// No credentials of a kind that could be believed were sent.
    NoCredentials(&'static str),
    /// Recognised, but not allowed to.
    Forbidden(&'static str),
    /// The mail domain is not one of the tenant's.
    ForeignDomain,
    /// There is no such thing.
    NotFound(&'static str),
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The mailbox has as many devices as it may have.
    TooManyDevices,
    /// The body is larger than the limit (bytes).
    TooLarge(usize),
    /// The body is not JSON by its content type or is encoded.
    MediaType,
    /// The body did not come in time.
    SlowBody,
    /// Too many requests of this address or subject.
    RateLimited(Duration),
    /// The push tokens of the mailbox changed too often; when the next change may be made.
    TokenChanges(Duration),
    /// Too many requests at once on this node.
    Overloaded,
    /// The request took longer than it may.
    Timeout,
    /// The database is out of reach, or it is not known whether it did what it was asked.
    Store,
    /// The identity provider's keys cannot be read and there are none from before.
    IdentityProvider,
    /// This node does not work yet or any more; the reason.
    NotReady(Cow<'static, str>),
    /// A mistake of ours.
    Internal,
}

impl ApiError {
    /// A field that is not what it must be.
    #[must_use]
    pub fn invalid(field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid { field: field.into(), detail: detail.into() }
    }

    /// A body that could not be read to its end: too large by the router's word, or broken off.
    #[must_use]
    pub fn unreadable_body(status: StatusCode, limit: usize) -> Self {
        if status == StatusCode::PAYLOAD_TOO_LARGE { Self::TooLarge(limit) } else { Self::invalid("", "the body broke off") }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) | Self::NoCredentials(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::ForeignDomain => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyDevices => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::RateLimited(_) | Self::TokenChanges(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Timeout | Self::Store | Self::IdentityProvider | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable name of the kind of problem.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Unauthenticated(_) | Self::NoCredentials(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::ForeignDomain => "foreign-domain",
            Self::NotFound(_) => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::TooManyDevices => "too-many-devices",
            Self::TooLarge(_) => "too-large",
            Self::MediaType => "media-type",
            Self::SlowBody => "slow-body",
            Self::RateLimited(_) => "rate-limited",
            Self::TokenChanges(_) => "too-many-token-changes",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Store => "store-unavailable",
            Self::IdentityProvider => "identity-provider-unavailable",
            Self::NotReady(_) => "not-ready",
            Self::Internal => "internal",
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Invalid { field, detail } if field.is_empty() => detail.clone(),
            Self::Invalid { field, detail } => Cow::Owned(format!("{field}: {detail}")),
            Self::Unauthenticated(why) | Self::NoCredentials(why) | Self::Forbidden(why) => Cow::Borrowed(why),
            Self::ForeignDomain => Cow::Borrowed("the mail domain is not one of the allowed domains of this tenant"),
            Self::NotFound(what) => Cow::Owned(format!("there is no such {what}")),
            Self::MethodNotAllowed => Cow::Borrowed("this path does not know the method"),
            Self::TooManyDevices => {
                Cow::Owned(format!("the mailbox has {} devices; remove one first", postrider_actors::ports::registry_store::MAX_DEVICES))
            }
            Self::TooLarge(limit) => Cow::Owned(format!("the body is larger than {limit} bytes")),
            Self::MediaType => Cow::Borrowed("the body must be sent as Content-Type: application/json, without Content-Encoding"),
            Self::SlowBody => Cow::Borrowed("the body did not come in time"),
            Self::RateLimited(_) => Cow::Borrowed("too many requests; wait as long as Retry-After says"),
            Self::TokenChanges(_) => {
                Cow::Borrowed("the push tokens of this mailbox changed too often within an hour; wait as long as Retry-After says")
            }
            Self::Overloaded => Cow::Borrowed("too many requests are under way on this node; try again"),
            Self::Timeout => Cow::Borrowed("the request took too long; it may or may not have been carried out, repeating it is safe"),
            Self::Store => Cow::Borrowed("the database is not available; repeating the request is safe"),
            Self::IdentityProvider => Cow::Borrowed("the identity provider's keys cannot be read; try again"),
            Self::NotReady(why) => why.clone(),
            Self::Internal => Cow::Borrowed("a mistake in the service; it was logged"),
        }
    }

    /// What `WWW-Authenticate` says (RFC 6750 section 3): no error to callers who sent no token.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials(_) => Some("Bearer"),
            Self::Unauthenticated(_) => Some("Bearer error=\"invalid_token\""),
            Self::Forbidden(_) => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(wait) | Self::TokenChanges(wait) => Some(*wait),
            Self::Overloaded | Self::NotReady(_) => Some(Duration::from_secs(1)),
            Self::Timeout | Self::Store | Self::IdentityProvider => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

/// A problem as it is sent (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, as a URI: `urn:postrider:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The phrase of the status.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what would be right, for a person.
    detail: String,
    /// The stable name of the kind of problem, for a program.
    code: String,
    /// Which field, path segment or query parameter is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// What every route may answer beside what it says itself; for the description of the API.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only its description is used")]
pub enum Refusals {
    /// The request was not carried out: the caller can do something about it.
    #[response(status = "4XX", content_type = "application/problem+json")]
    Caller(#[to_schema] Problem),
    /// The request was not carried out, or that is not known: repeating it later is safe.
    #[response(status = "5XX", content_type = "application/problem+json")]
    Service(#[to_schema] Problem),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, challenge) = (self.status(), self.challenge());
        let field = match &self {
            Self::Invalid { field, .. } if !field.is_empty() => Some(field.to_string()),
            _ => None,
        };
        let problem = Problem {
            kind: format!("urn:postrider:problem:{}", self.code()),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: self.detail().into_owned(),
            code: self.code().to_owned(),
            field,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after() {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    /// The database's own words go to the log, not to the caller.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request could not be carried out");
        Self::Store
    }
}

/// The answer to something that was made or was there: 201 or 200 with a body.
pub fn made<T: Serialize>(created: bool, body: T) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(body)).into_response()
}

/// The answer to something that was done and has nothing to show: 204.
pub fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Nothing is served at this path.
pub async fn no_route() -> ApiError {
    ApiError::NotFound("path")
}

/// The path is served, but not with this method; the router adds the `Allow` header.
pub async fn no_method() -> ApiError {
    ApiError::MethodNotAllowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_told_in_whole_seconds_rounded_up() {
        let response = ApiError::RateLimited(Duration::from_millis(1_200)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn a_store_out_of_reach_is_503_and_keeps_its_words_to_itself() {
        let error = ApiError::from(StoreError::Unavailable("secret host".into()));
        assert!(!error.detail().contains("secret"));
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
    }
}
