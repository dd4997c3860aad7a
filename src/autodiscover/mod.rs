//! Finds the Exchange server of a mailbox: by the tenant's own address, or by autodiscover within the tenant's mail domains.

mod answer;
mod cache;
pub mod candidates;
pub mod last_ways;
mod lookup;
mod pox;
mod soap;
mod srv;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{MailboxId, TenantId};
use postrider_actors::ports::mail_source::MailboxRef;
use reqwest::Url;
use tokio::sync::Semaphore;

use cache::Cache;
use candidates::Candidate;
use last_ways::{LastWays, Usual};
use lookup::{Lookup, Means};

use crate::config::autodiscover::Autodiscover;
use crate::exchange::{Authenticator, Endpoint, HearsTracing, Hosts, LocateError, Locator, Logons, TraceStep, Tracing};
use crate::http::{ClientOptions, HttpError, client};
use crate::telemetry::metrics;

/// How long refused credentials are believed: all mailboxes of a tenant share them, and asked too often a directory locks their account.
const REFUSED_CREDENTIALS_BELIEVED: Duration = Duration::from_secs(300);

/// A tenant as this edge sees it.
pub struct Tenant {
    /// How requests are authorized.
    pub auth: Arc<dyn Authenticator>,
    /// Holds back logons that would lock the account.
    pub logons: Arc<Logons>,
    /// The hosts that may be spoken to.
    pub hosts: Hosts,
    /// The EWS address of all mailboxes, if it is configured: nothing is looked up then.
    pub ews_url: Option<Url>,
    /// The autodiscover address of all mailboxes, if it is configured.
    pub autodiscover_url: Option<Url>,
}

/// Finds servers by autodiscover and remembers them.
pub struct AutodiscoverLocator {
    settings: Autodiscover,
    tenants: BTreeMap<TenantId, Tenant>,
    http: reqwest::Client,
    plain: reqwest::Client,
    last_ways: Box<dyn LastWays>,
    cache: Cache,
    /// What answered last, by tenant and mail domain; as many as there are allowed domains.
    favourites: Mutex<HashMap<(TenantId, String), Candidate>>,
    /// Look-ups under way: whoever wants the same mailbox waits for the one that is.
    under_way: Mutex<HashMap<MailboxId, Arc<tokio::sync::Mutex<()>>>>,
    room: Semaphore,
}

impl AutodiscoverLocator {
    /// Makes a locator; `http` says whom to trust.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn new(settings: Autodiscover, tenants: BTreeMap<TenantId, Tenant>, http: &ClientOptions) -> Result<Self, HttpError> {
        let mut options = http.clone();
        options.connect_timeout = settings.connect_deadline;
        options.read_timeout = settings.request_deadline;
        options.total_timeout = settings.request_deadline;
        options.compressed = true;
        let plain = ClientOptions { https_only: false, ..options.clone() };
        Ok(Self {
            http: client(&options)?,
            plain: client(&plain)?,
            last_ways: Box::new(Usual::new(http.names.clone())),
            cache: Cache::new(settings.cache_entries as usize),
            favourites: Mutex::default(),
            under_way: Mutex::default(),
            room: Semaphore::new(settings.lookups as usize),
            settings,
            tenants,
        })
    }

    /// With other last ways than the usual ones.
    #[must_use]
    pub fn with_last_ways(self, last_ways: impl LastWays) -> Self {
        Self { last_ways: Box::new(last_ways), ..self }
    }

    /// The tenant, if the mailbox is of one of its mail domains: checked before anything is looked up.
    fn tenant(&self, mailbox: &MailboxRef) -> Result<&Tenant, LocateError> {
        let tenant = self.tenants.get(&mailbox.tenant).ok_or(LocateError::NotAllowed)?;
        if tenant.hosts.has_domain(mailbox.smtp.domain()) { Ok(tenant) } else { Err(LocateError::NotAllowed) }
    }

    /// Looks for a mailbox and notes what was found.
    async fn look(&self, mailbox: &MailboxRef, tenant: &Tenant, hears: HearsTracing<'_>) -> Result<Arc<Endpoint>, LocateError> {
        let key = (mailbox.tenant.clone(), mailbox.smtp.domain().to_owned());
        let favourite = self.favourites.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let (settings, http, plain, last_ways) = (&self.settings, &self.http, &self.plain, &*self.last_ways);
        let mut lookup = Lookup::new(Means { settings, tenant, http, plain, last_ways, favourite, hears }, mailbox.smtp.as_str());
        let found = tokio::time::timeout(self.settings.lookup_deadline, async {
            let _room = self.room.acquire().await;
            lookup.run().await
        });
        let found = found.await.unwrap_or_else(|_| Err(LocateError::Unavailable { code: "LookupDeadline".into() }));
        metrics::autodiscover(found.is_ok().into(), 1);
        let mut favourites = self.favourites.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match found {
            Ok((endpoint, candidate)) => {
                favourites.insert(key, candidate);
                Ok(endpoint)
            }
            Err(error) => {
                favourites.remove(&key);
                Err(error)
            }
        };
        drop(favourites);
        let believe = match &found {
            Ok(_) => self.settings.refresh,
            Err(LocateError::Unauthorized) => REFUSED_CREDENTIALS_BELIEVED.min(self.settings.refresh),
            // The core parks a mailbox that is refused; when it asks again, it is time to look again.
            Err(_) => self.settings.failure_refresh,
        };
        self.cache.note(mailbox.id, found, believe)
    }

    /// The lock that look-ups of one mailbox share.
    fn lock_of(&self, mailbox: MailboxId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.under_way.lock().unwrap_or_else(PoisonError::into_inner).entry(mailbox).or_default())
    }
}

/// Takes the lock out of the map when the last who holds it is done.
struct UnderWay<'a> {
    locator: &'a AutodiscoverLocator,
    mailbox: MailboxId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.locator.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own reference and ours: nobody else waits.
        if under_way.get(&self.mailbox).is_some_and(|lock| Arc::strong_count(lock) <= 2) {
            under_way.remove(&self.mailbox);
        }
    }
}

#[async_trait]
impl Locator for AutodiscoverLocator {
    async fn locate(&self, mailbox: &MailboxRef) -> Result<Arc<Endpoint>, LocateError> {
        let tenant = self.tenant(mailbox)?;
        if let Some(known) = self.cache.fresh(mailbox.id) {
            return known;
        }
        if let Some(url) = &tenant.ews_url {
            let endpoint = Arc::new(Endpoint::new(url.clone(), "none"));
            return self.cache.note(mailbox.id, Ok(endpoint), self.settings.refresh);
        }
        let lock = self.lock_of(mailbox.id);
        let _under_way = UnderWay { locator: self, mailbox: mailbox.id };
        let _turn = lock.lock().await;
        match self.cache.fresh(mailbox.id) {
            Some(known) => known,
            None => self.look(mailbox, tenant, &|_| {}).await,
        }
    }

    fn known(&self, mailbox: &MailboxRef) -> Option<Arc<Endpoint>> {
        self.cache.known(mailbox.id)
    }

    fn forget(&self, mailbox: &MailboxRef) {
        self.cache.forget(mailbox.id);
    }

    async fn trace(&self, mailbox: &MailboxRef, hears: HearsTracing<'_>) -> Result<Arc<Endpoint>, LocateError> {
        match self.tenant(mailbox) {
            Err(error) => Err(error),
            Ok(Tenant { ews_url: Some(url), .. }) => {
                let step = TraceStep { step: "configured address", url: url.to_string(), outcome: "taken as it is".into(), led: true };
                hears(Tracing::Asked(step));
                self.locate(mailbox).await
            }
            Ok(tenant) => self.look(mailbox, tenant, hears).await,
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_hosts;
