//! Why an FCM credential cannot be used at all.

use crate::http::HttpError;

/// Found when a credential is set up, never while it sends.
#[derive(Debug, thiserror::Error)]
pub enum FcmError {
    /// The service account's file holds something else.
    #[error(
        "this is not a service account's key ({0}); it takes the JSON file that the Google Cloud console offers under Service accounts, Keys"
    )]
    Account(String),
    /// The account names a host for tokens that is not allowed.
    #[error("its token_uri names {host}, which is not in `token_hosts`; add it there only if it is Google's or yours")]
    TokenHost {
        /// Which.
        host: String,
    },
    /// The address is none.
    #[error("{0} is not an https address")]
    Url(String),
    /// The project's id cannot stand in an address.
    #[error("\"{0}\" is not the id of a project")]
    Project(String),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The secret cannot be read.
    #[error("{0}")]
    Secret(String),
}
