//! Why an APNs credential cannot be used at all.

use crate::http::HttpError;

/// Found when a credential is set up, never while it sends.
#[derive(Debug, thiserror::Error)]
pub enum ApnsError {
    /// The key's file holds something else.
    #[error(
        "this is not an APNs key ({0}); it takes the AuthKey_<key id>.p8 of Apple's developer account as it was downloaded (an EC key on P-256 in PEM)"
    )]
    Key(&'static str),
    /// The address is none.
    #[error("{0} is not an https address")]
    Url(String),
    /// The topic cannot stand in a header.
    #[error("\"{0}\" cannot be a topic; it is written like com.example.mail")]
    Topic(String),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The secret cannot be read.
    #[error("{0}")]
    Secret(String),
}
