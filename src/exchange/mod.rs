//! What the Exchange edges need of one another: where a mailbox is served, how one gets in, which hosts may be spoken to.

pub mod gate;
pub mod hosts;
pub mod logons;
pub mod offers;
pub mod xml;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Uri};
use postrider_actors::ports::mail_source::MailboxRef;

pub use hosts::Hosts;
pub use logons::Logons;

/// Where a mailbox is served. Mailboxes with equal endpoints may share a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The EWS address (`ExternalEwsUrl`).
    pub url: reqwest::Url,
    /// `GroupingInformation`; `none` where the server does not name one.
    pub grouping: Box<str>,
    /// The same address as requests need it.
    uri: Option<Uri>,
}

impl Endpoint {
    /// A server and its group.
    #[must_use]
    pub fn new(url: reqwest::Url, grouping: &str) -> Self {
        let uri = uri(&url);
        Self { url, grouping: grouping.into(), uri }
    }

    /// The address as requests need it, without name and password in it; `None` for a host that HTTP cannot name (RFC 3986, section 3.2.2).
    #[must_use]
    pub fn uri(&self) -> Option<&Uri> {
        self.uri.as_ref()
    }
}

fn uri(url: &reqwest::Url) -> Option<Uri> {
    let mut url = url.clone();
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_fragment(None);
    url.as_str().parse().ok()
}

/// Why the server of a mailbox is not known: each variant is what one does about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The address is outside the tenant's mail domains, or the tenant is not configured: nothing was looked up.
    #[error("the address is not of an allowed mail domain")]
    NotAllowed,
    /// The credentials are refused.
    #[error("autodiscover refuses the credentials")]
    Unauthorized,
    /// The servers know no such mailbox.
    #[error("autodiscover knows no such mailbox ({code})")]
    NoSuchMailbox {
        /// The server's code.
        code: String,
    },
    /// What was named may not be spoken to: no https, or a host outside the allow-list.
    #[error("autodiscover names the host {host}, which is not allowed")]
    ForbiddenHost {
        /// Which host (or `http` for an address without TLS).
        host: String,
    },
    /// Nobody answered with something that can be used; later perhaps.
    #[error("autodiscover found no server ({code})")]
    Unavailable {
        /// The last candidate's failure.
        code: String,
    },
}

/// One step of looking for a server, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// What was tried.
    pub step: &'static str,
    /// Where.
    pub url: String,
    /// What came back.
    pub outcome: String,
    /// Whether it led anywhere: to the server, or to where it is to be looked for.
    pub led: bool,
}

/// What is told while a server is looked for.
#[derive(Debug)]
pub enum Tracing {
    /// This is tried now, and given up after so long.
    Asking {
        /// What is tried.
        step: &'static str,
        /// Where.
        url: String,
        /// How long it may take.
        at_most: std::time::Duration,
    },
    /// A step is done.
    Asked(TraceStep),
}

/// Hears what is told while a server is looked for.
pub type HearsTracing<'a> = &'a (dyn Fn(Tracing) + Send + Sync);

/// Finds where mailboxes are served.
#[async_trait]
pub trait Locator: Send + Sync + 'static {
    /// Says where a mailbox is served; from memory, if that is fresh.
    ///
    /// # Errors
    /// [`LocateError`].
    async fn locate(&self, mailbox: &MailboxRef) -> Result<Arc<Endpoint>, LocateError>;

    /// Where a mailbox is served as far as is known, fresh or not; nobody is asked.
    fn known(&self, mailbox: &MailboxRef) -> Option<Arc<Endpoint>>;

    /// Forgets what is known of a mailbox: it may have moved.
    fn forget(&self, mailbox: &MailboxRef);

    /// Looks for a mailbox anew, and tells what is tried as it happens.
    ///
    /// # Errors
    /// [`LocateError`].
    async fn trace(&self, mailbox: &MailboxRef, hears: HearsTracing<'_>) -> Result<Arc<Endpoint>, LocateError>;
}

/// Why there is no authorization to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The identity provider refuses us: only a person helps.
    #[error("the identity provider refuses the credentials ({code})")]
    Refused {
        /// Its error code, e.g. `invalid_client` (RFC 6749, section 5.2).
        code: String,
    },
    /// It cannot be reached or is in trouble.
    #[error("the identity provider does not answer ({code})")]
    Unavailable {
        /// What failed.
        code: String,
    },
    /// It was refused before and is not tried for a while, so that the account is not locked: no request was made.
    #[error("the credential was refused and is tried again in {left:?}, so that the account is not locked")]
    Rests {
        /// For how long.
        left: std::time::Duration,
        /// The credential itself rests; otherwise only the mailbox, while others get in.
        all: bool,
    },
}

/// A way in: makes the `Authorization` header of requests of one tenant.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// What kind it is, for people.
    fn kind(&self) -> &'static str;

    /// Its scheme in HTTP, as a server names it among what it offers; `None` if that is not known.
    fn scheme(&self) -> Option<&'static str> {
        None
    }

    /// Where authorizations come from, if not from ourselves; for people.
    fn authority(&self) -> Option<String> {
        None
    }

    /// The header's value, marked sensitive; from memory, if it is valid for a while.
    ///
    /// # Errors
    /// [`AuthError`].
    async fn authorization(&self) -> Result<HeaderValue, AuthError>;

    /// A server refused `used` (HTTP 401): says whether asking for an authorization again gives another one.
    fn refused(&self, used: &HeaderValue) -> bool;

    /// How often an identity provider was asked and refused: an error that is only remembered is no further refusal.
    fn refusals(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_s_address_names_neither_user_nor_password_and_only_hosts_that_http_can_name() {
        let uri = |url: &str| Endpoint::new(url.parse().unwrap(), "g").uri().map(ToString::to_string);
        assert_eq!(
            uri("https://user:secret@Mail.Example.com:443/EWS/Exchange.asmx?a=ä#b").as_deref(),
            Some("https://mail.example.com/EWS/Exchange.asmx?a=%C3%A4")
        );
        assert_eq!(uri("https://[::1]:8443").as_deref(), Some("https://[::1]:8443/"));
        assert_eq!(uri("https://a`b/"), None);
    }
}
