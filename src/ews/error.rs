//! Everything that can go wrong between us and Exchange, and what the core is told of it.

use std::time::Duration;

use postrider_actors::ports::mail_source::SourceError;

use super::budget::Sign;
use super::response_code::Action;
use super::soap::{AnswerError, Fault};
use crate::exchange::{AuthError, LocateError};
use crate::http::http1::Http1Error;
use crate::http::{BodyError, Cause};
use crate::telemetry::metrics::Answer;

/// Why a call to Exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EwsError {
    /// The server asked for silence, which is not over: no request was made.
    #[error("the server asked for silence, {0:?} of it are left")]
    Silence(Duration),
    /// The call's turn did not come in time: no request was made.
    #[error("the call's turn did not come in time")]
    NoTurn,
    /// The server reports an error.
    #[error("the server answered {}", .0.code)]
    Fault(Fault),
    /// HTTP 503 or 429, or a fault that means the same: asked to wait so long.
    #[error("the server is busy for {retry_after:?} ({code})")]
    Busy {
        /// How long.
        retry_after: Duration,
        /// Response code or HTTP status.
        code: String,
    },
    /// HTTP 401, also with a renewed authorization.
    #[error("the server refuses the authorization")]
    Unauthorized,
    /// HTTP 401 from a server that accepted the same authorization a moment ago: some answer so when they want to be left alone.
    #[error("the server refuses an authorization that it accepted a moment ago")]
    UnauthorizedInBurst,
    /// HTTP 403, with `X-EWS-Policy-Reason` when EWS is switched off for the user or tenant.
    #[error("the server forbids EWS ({0})")]
    Forbidden(&'static str),
    /// Another HTTP status without a readable answer.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A redirection: EWS addresses come from autodiscover alone, so none is followed.
    #[error("the server redirects to {0}, which is not followed")]
    Redirect(String),
    /// The connection failed; for people.
    #[error("{0}")]
    Transport(Cause),
    /// No answer within the deadline.
    #[error("no answer within the deadline")]
    Deadline,
    /// The answer cannot be used.
    #[error("{0}")]
    Answer(AnswerError),
    /// The answer is longer than the bound.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// There is no authorization to send.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The server is not known.
    #[error(transparent)]
    Locate(#[from] LocateError),
}

impl From<AnswerError> for EwsError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Fault(fault) => Self::Fault(fault),
            other => Self::Answer(other),
        }
    }
}

impl From<Http1Error> for EwsError {
    fn from(error: Http1Error) -> Self {
        match error {
            Http1Error::Silent => Self::Deadline,
            Http1Error::Broken(cause) => Self::Transport(cause),
        }
    }
}

impl From<BodyError> for EwsError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong(limit) => Self::TooLong(limit),
            BodyError::Broken(cause) => Self::Transport(cause),
        }
    }
}

impl EwsError {
    /// A short code for metrics and for the core's errors; no text of the server's.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Silence(_) => "Silence".into(),
            Self::NoTurn => "NoTurn".into(),
            Self::Fault(fault) => fault.code.clone(),
            Self::Busy { code, .. } => code.clone(),
            Self::Unauthorized | Self::UnauthorizedInBurst => "HTTP 401".into(),
            Self::Forbidden(reason) => (*reason).into(),
            Self::Status(status) => format!("HTTP {status}"),
            Self::Redirect(_) => "Redirect".into(),
            Self::Transport(cause) => cause.code.to_string(),
            Self::Deadline => "Deadline".into(),
            Self::Answer(_) => "MalformedAnswer".into(),
            Self::TooLong(_) => "AnswerTooLong".into(),
            Self::Auth(AuthError::Refused { code } | AuthError::Unavailable { code }) => code.clone(),
            Self::Auth(AuthError::Rests { all: true, .. }) => "CredentialRefused".into(),
            Self::Auth(AuthError::Rests { all: false, .. }) => "HTTP 401".into(),
            Self::Locate(LocateError::NotAllowed) => "DomainNotAllowed".into(),
            Self::Locate(LocateError::Unauthorized) => "AutodiscoverUnauthorized".into(),
            Self::Locate(LocateError::ForbiddenHost { .. }) => "HostNotAllowed".into(),
            Self::Locate(LocateError::NoSuchMailbox { code } | LocateError::Unavailable { code }) => code.clone(),
        }
    }

    /// What it is in metrics.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Silence(_) | Self::NoTurn | Self::Busy { .. } => Answer::Throttled,
            Self::Unauthorized | Self::UnauthorizedInBurst | Self::Auth(AuthError::Refused { .. } | AuthError::Rests { .. }) => {
                Answer::Unauthorized
            }
            Self::Fault(fault) if fault.action == Action::BackOff => Answer::Throttled,
            Self::Fault(_) | Self::Forbidden(_) => Answer::Refused,
            Self::Status(_)
            | Self::Redirect(_)
            | Self::Transport(_)
            | Self::Deadline
            | Self::Answer(_)
            | Self::TooLong(_)
            | Self::Auth(AuthError::Unavailable { .. })
            | Self::Locate(_) => Answer::Unusable,
        }
    }

    /// What it says of the server.
    #[must_use]
    pub fn sign(&self) -> Sign {
        match self {
            Self::Busy { retry_after, .. } => Sign::Silence(*retry_after),
            Self::Fault(fault) if fault.action == Action::BackOff => {
                fault.back_off.filter(|told| !told.is_zero()).map_or(Sign::Trouble, Sign::Silence)
            }
            // Whatever the server says by itself, it answers.
            Self::Fault(_) | Self::Forbidden(_) | Self::Redirect(_) | Self::TooLong(_) | Self::Answer(AnswerError::WrongOperation) => {
                Sign::Alive
            }
            Self::Status(400..=407 | 409..=428 | 430..=499) => Sign::Alive,
            Self::Status(429 | 502..=504) => Sign::Trouble,
            Self::Status(_) | Self::Transport(_) | Self::Deadline | Self::Answer(_) => Sign::Stumble,
            Self::Silence(_) | Self::NoTurn | Self::Unauthorized | Self::UnauthorizedInBurst | Self::Auth(_) | Self::Locate(_) => {
                Sign::Nothing
            }
        }
    }

    /// Whether something before the server says that what is behind it does not answer: another back end may.
    #[must_use]
    pub fn is_gateway_trouble(&self) -> bool {
        matches!(self, Self::Status(502..=504))
    }

    /// Whether it may be trouble of the mailbox that is impersonated: another one may fare better.
    #[must_use]
    pub fn may_be_the_mailbox_s(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Busy { .. } | Self::Deadline | Self::Unauthorized | Self::Forbidden(_))
    }

    /// Whether the server spoke, but neither of what was asked nor of a silence that ends by itself.
    #[must_use]
    pub fn answered_otherwise(&self) -> bool {
        match self {
            Self::Fault(_) | Self::Status(_) | Self::Redirect(_) | Self::Forbidden(_) | Self::Answer(_) => true,
            // A front end whose back end is gone.
            Self::Busy { code, .. } => code == "HTTP 503",
            _ => false,
        }
    }

    /// Whether the mailbox should be looked for again.
    #[must_use]
    pub fn wants_discovery(&self) -> bool {
        match self {
            Self::Fault(fault) => {
                matches!(fault.action, Action::Rediscover | Action::ResubscribeElsewhere | Action::RediscoverThenPark)
            }
            Self::Status(404) | Self::Redirect(_) => true,
            _ => false,
        }
    }

    /// Whether the server cannot have carried the call out or repeating it does no harm *and* another try at once makes sense.
    #[must_use]
    pub fn wants_fresh_connection(&self) -> bool {
        matches!(self, Self::Answer(AnswerError::WrongOperation))
    }
}

impl From<EwsError> for SourceError {
    fn from(error: EwsError) -> Self {
        let code = error.code();
        match error {
            EwsError::Silence(retry_after) | EwsError::Busy { retry_after, .. } => Self::Throttled { retry_after },
            EwsError::Auth(AuthError::Rests { left, all: false }) => Self::Throttled { retry_after: left },
            EwsError::NoTurn => Self::Throttled { retry_after: Duration::from_secs(5) },
            EwsError::Fault(fault) => from_fault(&fault),
            EwsError::Unauthorized
            | EwsError::Auth(AuthError::Refused { .. } | AuthError::Rests { .. })
            | EwsError::Locate(LocateError::Unauthorized) => Self::Unauthorized { code },
            EwsError::Forbidden(_)
            | EwsError::Locate(LocateError::NotAllowed | LocateError::ForbiddenHost { .. } | LocateError::NoSuchMailbox { .. }) => {
                Self::Refused { code }
            }
            EwsError::Status(404) | EwsError::Redirect(_) => Self::Moved { code },
            EwsError::UnauthorizedInBurst
            | EwsError::Status(_)
            | EwsError::Transport(_)
            | EwsError::Deadline
            | EwsError::Answer(_)
            | EwsError::TooLong(_)
            | EwsError::Auth(AuthError::Unavailable { .. })
            | EwsError::Locate(LocateError::Unavailable { .. }) => Self::Unavailable { code },
        }
    }
}

/// What the core is told of a response code.
fn from_fault(fault: &Fault) -> SourceError {
    let code = fault.code.clone();
    match fault.action {
        Action::BackOff => SourceError::Throttled { retry_after: fault.back_off.unwrap_or(Duration::from_secs(60)) },
        Action::SubscriptionsFull => SourceError::SubscriptionsFull,
        Action::Rediscover | Action::ResubscribeElsewhere | Action::RediscoverThenPark => SourceError::Moved { code },
        Action::Park => SourceError::Refused { code },
        Action::SyncFromStart => SourceError::SyncStateLost,
        Action::Proceed
        | Action::FewerConnections
        | Action::Resubscribe
        | Action::Unsubscribed
        | Action::CatchUp
        | Action::StreamTakenOver
        | Action::RetryLater
        | Action::ItemGone
        | Action::ItemUnreadable => SourceError::Unavailable { code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ews::response_code::action;

    fn told(code: &str) -> SourceError {
        EwsError::Fault(Fault { code: code.into(), action: action(code), back_off: None }).into()
    }

    #[test]
    fn response_codes_become_what_the_core_does_about_them() {
        assert_eq!(told("ErrorServerBusy"), SourceError::Throttled { retry_after: Duration::from_secs(60) });
        assert_eq!(told("ErrorExceededSubscriptionCount"), SourceError::SubscriptionsFull);
        assert_eq!(told("ErrorInvalidSyncStateData"), SourceError::SyncStateLost);
        assert!(matches!(told("ErrorMailboxMoveInProgress"), SourceError::Moved { .. }));
        assert!(matches!(told("ErrorAccountDisabled"), SourceError::Refused { .. }));
        assert!(matches!(told("ErrorInternalServerTransientError"), SourceError::Unavailable { .. }));
    }

    #[test]
    fn a_wrong_password_is_the_tenant_s_trouble_and_a_disabled_account_the_mailbox_s() {
        assert!(matches!(SourceError::from(EwsError::Unauthorized), SourceError::Unauthorized { .. }));
        assert!(matches!(SourceError::from(EwsError::UnauthorizedInBurst), SourceError::Unavailable { .. }));
        assert!(matches!(SourceError::from(EwsError::Forbidden("EwsPolicy")), SourceError::Refused { .. }));
    }
}
