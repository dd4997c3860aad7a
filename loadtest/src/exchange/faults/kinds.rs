//! The kinds of fault, from what clients of real servers have reported.

use std::time::Duration;

/// What happens to an ordinary request, or to a stream before it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// A response code inside the operation's response, status 200.
    Code {
        /// As in `m:ResponseCode`.
        code: &'static str,
        /// `m:MessageText`.
        text: &'static str,
    },
    /// A response code as a SOAP fault; the status is 500, or 200 where `is_ok`, as one public server answers.
    Fault {
        /// As in `e:ResponseCode`.
        code: &'static str,
        /// The fault's text.
        text: &'static str,
        /// Status 200 in spite of the fault.
        is_ok: bool,
    },
    /// `ErrorServerBusy`; the account must stay away for this long.
    Busy(Duration),
    /// The same as the inner error of `ErrorInternalServerError` in the operation's response, with status 200.
    BusyInside(Duration),
    /// One of the subscriptions that a stream is asked for is gone: the bad one of many. Other operations are not touched.
    LoseSubscription,
    /// A bare HTTP status, as load balancers and overloaded front ends give it.
    Status(u16),
    /// 302 to the generic error page.
    ErrorPage,
    /// 403 with this `X-EWS-Policy-Reason`.
    PolicyBlocked(&'static str),
    /// 401 with the challenge for an empty bearer.
    Challenge,
    /// The connection is reset; the request was not carried out.
    Reset,
    /// The request is carried out and the connection reset before the answer.
    LoseAnswer,
    /// The answer is that of another operation.
    WrongAnswer,
    /// The request reaches a back end that knows nothing of the client's subscriptions.
    WrongBackEnd,
    /// The answer is cut off in the middle, by the end of the connection.
    Truncate,
    /// Answered correctly, after this long.
    Slow(Duration),
    /// Status 200 and a document that is no XML.
    Garbage,
    /// Status 200 and a document of so many bytes, of which most are words.
    Long(usize),
    /// Status 200 and a document of so many empty elements.
    Elements(usize),
}

impl RequestFault {
    /// The kind's name in a report.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Code { code, .. } | Self::Fault { code, .. } => code,
            Self::Busy(_) | Self::BusyInside(_) => "back-off",
            Self::LoseSubscription => "subscription-lost",
            Self::Status(_) => "http-status",
            Self::ErrorPage => "error-page",
            Self::PolicyBlocked(_) => "policy-blocked",
            Self::Challenge => "challenge",
            Self::Reset => "reset",
            Self::LoseAnswer => "answer-lost",
            Self::WrongAnswer => "wrong-answer",
            Self::WrongBackEnd => "wrong-back-end",
            Self::Truncate => "truncated",
            Self::Slow(_) => "slow",
            Self::Garbage => "garbage",
            Self::Long(_) => "long-answer",
            Self::Elements(_) => "many-elements",
        }
    }
}

/// A fault of a stream and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlan {
    /// Counted from the first envelope.
    pub after: Duration,
    /// What happens then.
    pub fault: StreamFault,
}

/// Which subscriptions an error message names in ErrorSubscriptionIds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedIds {
    /// The element is missing.
    Absent,
    /// The element is empty.
    Empty,
    /// One that is none of the stream's; all of the stream's are dead from then on.
    Strange,
    /// One of the stream's; it is dead from then on.
    One,
    /// All of the stream's; they are dead from then on.
    All,
}

/// What an error message says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorStatus {
    /// Nothing; the stream goes on for the others.
    Absent,
    /// OK; the stream stays open, and tells nothing further (a bug that clients have met).
    Ok,
    /// Closed; the stream ends.
    Closed,
}

/// What happens to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// Nothing is sent any more, not even heartbeats, and the connection stays open.
    Silence,
    /// A TCP reset.
    Reset,
    /// Closed before its time, and once more where `twice`.
    Close {
        /// The final envelope comes twice.
        twice: bool,
    },
    /// An error message.
    Error {
        /// As in `m:ResponseCode`.
        code: &'static str,
        /// Which ids it names.
        ids: NamedIds,
        /// What it says about the connection.
        status: ErrorStatus,
    },
    /// `ErrorMissedNotificationEvents` for one subscription, which lives on.
    Missed,
    /// Events of this long are lost, then the connection is reset.
    Deaf(Duration),
    /// The mailbox of one subscription moves to another database.
    MoveMailbox,
    /// The back end restarts: every subscription of the stream is gone, the connection reset.
    Restart,
    /// Sixty folder events at once, more than one poll takes.
    Burst,
}

impl StreamFault {
    /// The kind's name in a report.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Silence => "stream-silence",
            Self::Reset => "stream-reset",
            Self::Close { twice: false } => "stream-closed-early",
            Self::Close { twice: true } => "stream-closed-twice",
            Self::Error { .. } => "stream-error",
            Self::Missed => "stream-missed-events",
            Self::Deaf(_) => "stream-deaf",
            Self::MoveMailbox => "mailbox-moved",
            Self::Restart => "back-end-restart",
            Self::Burst => "stream-burst",
        }
    }
}

/// How an answer that succeeds is dressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::exchange) struct Flavour {
    /// Compressed, if the client accepts it.
    pub(in crate::exchange) gzip: bool,
    /// Subjects hold characters that XML forbids.
    pub(in crate::exchange) forbidden: bool,
    /// A message text beyond ASCII stands where none is needed.
    pub(in crate::exchange) wordy: bool,
}

/// What happens to a notification on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::exchange) enum HintFate {
    /// It is sent.
    #[default]
    Sent,
    /// It is sent twice.
    Doubled,
    /// It is sent this much later.
    Late(Duration),
}
