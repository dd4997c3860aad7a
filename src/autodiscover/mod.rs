//! Finds the Exchange server of a mailbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use postrider_actors::ids::TenantId;
use postrider_actors::ports::mail_source::MailboxRef;
use reqwest::Url;

use crate::config::autodiscover::Autodiscover;
use crate::exchange::{Authenticator, Endpoint, Hosts, LocateError, Locator, TraceStep};
use crate::http::{ClientOptions, HttpError};

/// A tenant as this edge sees it.
pub struct Tenant {
    /// How requests are authorized.
    pub auth: Arc<dyn Authenticator>,
    /// The hosts that may be spoken to.
    pub hosts: Hosts,
    /// The EWS address of all mailboxes, if it is configured.
    pub ews_url: Option<Url>,
    /// The autodiscover address of all mailboxes, if it is configured.
    pub autodiscover_url: Option<Url>,
}

/// Finds servers by autodiscover.
pub struct AutodiscoverLocator {
    tenants: BTreeMap<TenantId, Tenant>,
}

impl AutodiscoverLocator {
    /// Makes a locator.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn new(_settings: Autodiscover, tenants: BTreeMap<TenantId, Tenant>, _http: &ClientOptions) -> Result<Self, HttpError> {
        Ok(Self { tenants })
    }
}

#[async_trait]
impl Locator for AutodiscoverLocator {
    async fn locate(&self, mailbox: &MailboxRef) -> Result<Arc<Endpoint>, LocateError> {
        let tenant = self.tenants.get(&mailbox.tenant).ok_or(LocateError::NotAllowed)?;
        if !tenant.hosts.has_domain(mailbox.smtp.domain()) {
            return Err(LocateError::NotAllowed);
        }
        match &tenant.ews_url {
            Some(url) => Ok(Arc::new(Endpoint { url: url.clone(), grouping: "none".into() })),
            None => Err(LocateError::Unavailable { code: "NoCandidates".into() }),
        }
    }

    fn forget(&self, _mailbox: &MailboxRef) {}

    async fn trace(&self, mailbox: &MailboxRef) -> (Vec<TraceStep>, Result<Arc<Endpoint>, LocateError>) {
        (Vec::new(), self.locate(mailbox).await)
    }
}
