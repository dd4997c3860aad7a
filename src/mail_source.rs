//! Puts the mail source together from the configuration: ways in, autodiscover, Exchange web services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::TenantId;
use postrider_actors::ports::Clock;

use crate::autodiscover::{self, AutodiscoverLocator};
use crate::config::autodiscover::Autodiscover;
use crate::config::ews::Ews;
use crate::config::tenants::{Mail, Tenant};
use crate::ews::auth::{Basic, ClientCredentials};
use crate::ews::client::Access;
use crate::ews::{EwsMailSource, EwsParts, watching};
use crate::exchange::gate::Rules;
use crate::exchange::{Authenticator, Hosts, Locator, Logons};
use crate::http::{ClientOptions, HttpError, client};

/// Why the edges cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The outgoing client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A tenant's way in; says which and why, never the secret.
    #[error("tenant {tenant}: {problem}")]
    Tenant {
        /// Which tenant.
        tenant: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The system's DNS settings.
    #[error("the DNS resolver cannot be made ({0}); SRV look-ups need it, or switch autodiscover.redirect_and_srv off")]
    Dns(String),
}

/// What the edges are made of.
pub struct ExchangeParts<'a> {
    /// `[ews]`.
    pub ews: &'a Ews,
    /// `[autodiscover]`.
    pub autodiscover: &'a Autodiscover,
    /// `[tenant.NAME]`.
    pub tenants: &'a BTreeMap<String, Tenant>,
    /// Whom outgoing connections trust.
    pub http: &'a ClientOptions,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Seed of varied delays.
    pub seed: u64,
}

/// Makes the mail source with everything that it needs. Call [`EwsMailSource::set_sink`] before the first watch.
///
/// # Errors
/// [`AssembleError`].
pub fn assemble(parts: ExchangeParts<'_>) -> Result<EwsMailSource, AssembleError> {
    let token_client = client(&ClientOptions { total_timeout: Duration::from_secs(20), ..parts.http.clone() })?;
    let mut tenants = BTreeMap::new();
    let mut seekers = BTreeMap::new();
    for (name, tenant) in parts.tenants {
        let wrong = |problem: String| AssembleError::Tenant { tenant: name.clone(), problem };
        let auth = way_in(&tenant.mail, &token_client).map_err(wrong)?;
        let rules = Rules { most: parts.ews.refused_logons as usize, probe: parts.ews.refused_probe };
        let logons = Logons::new(format!("tenant {name}, {}", identity(&tenant.mail)), rules);
        let mail = &tenant.mail;
        let (ews_url, autodiscover_url) =
            (address(mail.ews_url.as_deref()).map_err(wrong)?, address(mail.autodiscover_url.as_deref()).map_err(wrong)?);
        let hosts = Hosts::new(&tenant.allowed_domains, &mail.allowed_hosts)
            .with_addresses(ews_url.iter().chain(&autodiscover_url))
            .with_root_domain(parts.autodiscover.root_domain);
        let hosts = mail.oauth.iter().fold(hosts, |hosts, oauth| hosts.with_tokens_for(&oauth.scope));
        let id = TenantId(name.as_str().into());
        let seeker =
            autodiscover::Tenant { auth: Arc::clone(&auth), logons: Arc::clone(&logons), hosts: hosts.clone(), ews_url, autodiscover_url };
        seekers.insert(id.clone(), seeker);
        let access = Access { auth, logons, form: tenant.mail.impersonation };
        tenants.insert(id, watching::Tenant { access, hosts });
    }
    let locator: Arc<dyn Locator> = Arc::new(AutodiscoverLocator::new(parts.autodiscover.clone(), seekers, parts.http)?);
    let source = EwsParts { settings: parts.ews.clone(), tenants, locator, http: parts.http.clone(), clock: parts.clock, seed: parts.seed };
    Ok(EwsMailSource::new(source))
}

fn address(url: Option<&str>) -> Result<Option<reqwest::Url>, String> {
    url.map(|url| reqwest::Url::parse(url).map_err(|error| format!("{url} is not an address ({error})"))).transpose()
}

/// Who logs on, for people.
fn identity(mail: &Mail) -> &str {
    let application = mail.oauth.as_ref().map(|oauth| oauth.client_id.as_str());
    mail.basic.as_ref().map(|basic| basic.user.as_str()).or(application).unwrap_or_default()
}

/// The way in that a tenant is configured with.
fn way_in(mail: &Mail, http: &reqwest::Client) -> Result<Arc<dyn Authenticator>, String> {
    match (&mail.basic, &mail.oauth) {
        (Some(basic), None) => Ok(Arc::new(Basic::new(&basic.user, &basic.password.read()?))),
        (None, Some(oauth)) => {
            let secret = oauth.client_secret.read()?;
            Ok(Arc::new(ClientCredentials::new(&oauth.token_url, &oauth.client_id, &secret, &oauth.scope, http.clone())?))
        }
        _ => Err("has not exactly one way in: keep either basic or oauth".into()),
    }
}
