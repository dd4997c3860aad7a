//! Namespaces, limits and response codes of Exchange Web Services.

/// SOAP 1.1 envelopes.
pub(super) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Requests and responses.
pub(super) const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
/// What they consist of.
pub(super) const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
/// Details of SOAP faults.
pub(super) const ERRORS: &str = "http://schemas.microsoft.com/exchange/services/2006/errors";

/// Notifications that one poll takes out of a subscription's queue (GetStreamingEvents operation, remarks).
pub(super) const EVENTS_PER_POLL: usize = 50;
/// Changes that SyncFolderItems returns at most (MaxChangesReturned).
pub(super) const MAX_CHANGES: usize = 512;
/// Items that FindItem returns at most.
pub(super) const MAX_FOUND: usize = 1_000;
/// The same with a restriction.
pub(super) const MAX_FOUND_RESTRICTED: usize = 250;

/// Codes after which the server has deleted the subscriptions concerned: the client must make others, and the former ones must not
/// count against it.
const DEADLY: [&str; 7] = [
    "ErrorInvalidSubscription",
    "ErrorExpiredSubscription",
    "ErrorSubscriptionNotFound",
    "ErrorSubscriptionAccessDenied",
    "ErrorReadEventsFailed",
    "ErrorProxyRequestNotAllowed",
    "ErrorMailboxFailover",
];

/// Whether this code ends the subscriptions that it is about.
pub(super) fn ends_subscriptions(code: &str) -> bool {
    DEADLY.contains(&code)
}

/// A response code and the English sentence that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// As in `m:ResponseCode`.
    pub(super) code: &'static str,
    /// `m:MessageText`; nobody may decide by it.
    pub(super) text: String,
    /// `t:Value` entries of `m:MessageXml`.
    pub(super) values: Vec<(&'static str, String)>,
    /// A SOAP fault with status 500 rather than an error in the operation's own response.
    pub(super) is_fault: bool,
}

impl Failure {
    /// An error inside the operation's response.
    pub(super) fn message(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), values: Vec::new(), is_fault: false }
    }

    /// A SOAP fault.
    pub(super) fn fault(code: &'static str, text: impl Into<String>) -> Self {
        Self { is_fault: true, ..Self::message(code, text) }
    }

    /// `ErrorServerBusy` with the time to stay away.
    pub(super) fn busy(back_off: std::time::Duration) -> Self {
        let text = "The server cannot service this request right now. Try again later.";
        Self { values: vec![("BackOffMilliseconds", back_off.as_millis().to_string())], ..Self::fault("ErrorServerBusy", text) }
    }

    /// The same as the inner error of `ErrorInternalServerError`, inside the operation's response.
    pub(super) fn busy_inside(back_off: std::time::Duration) -> Self {
        let Self { text, mut values, .. } = Self::busy(back_off);
        let inner = [
            ("InnerErrorMessageText", text),
            ("InnerErrorResponseCode", "ErrorServerBusy".to_owned()),
            ("InnerErrorDescriptiveLinkKey", "0".to_owned()),
        ];
        values.splice(0..0, inner);
        let text = "An internal server error occurred. The operation failed.";
        Self { values, ..Self::message("ErrorInternalServerError", text) }
    }
}
