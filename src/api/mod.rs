//! HTTP API for phones, mobile-management servers and administrators: [`routes`] has all of it on one screen, [`server`] listens.

pub mod audit;
pub mod auth;
pub mod cluster;
pub mod devices;
pub mod error;
pub mod extract;
pub mod fields;
pub mod guard;
pub mod health;
pub mod key;
pub mod limit;
pub mod look;
pub mod mailboxes;
pub mod node;
pub mod openapi;
pub mod routes;
pub mod seats;
pub mod server;
pub mod serving;
pub mod strangers;
pub mod tls;
pub mod token_changes;
pub mod why;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use postrider_actors::ids::{Smtp, TenantId};
use postrider_actors::ports::push_sender::Channel;
use postrider_actors::ports::{Clock, ClusterStore, RegistryStore};
use postrider_actors::snapshot::Control;
use postrider_actors::time::Timestamp;

use crate::api::auth::fetch::Fetch;
use crate::api::auth::jwt::Issuers;
use crate::api::auth::key_cache::KeyCache;
use crate::api::limit::Limits;
use crate::api::look::Looks;
use crate::api::strangers::Strangers;
use crate::api::token_changes::TokenChanges;
use crate::config;
use crate::config::tenants::Identity;

/// Says whether a channel has a push credential.
pub type Serves = dyn Fn(&Channel) -> bool + Send + Sync;

/// What the API works with; put together in `app.rs`.
pub struct ApiParts {
    /// Mailboxes, devices, keys, the audit trail.
    pub registry: Arc<dyn RegistryStore>,
    /// Nodes and shards, to look at.
    pub cluster: Arc<dyn ClusterStore>,
    /// The running core.
    pub control: Arc<dyn Control>,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Where to listen, limits.
    pub settings: config::api::Api,
    /// The companies served.
    pub tenants: Vec<Tenant>,
    /// Makes the text of `/metrics`.
    pub metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
    /// Reads the identity providers' public documents: [`auth::fetch::HttpFetch`] over the outgoing client.
    pub fetch: Arc<dyn Fetch>,
    /// Whether there is a push credential for a channel: nobody registers for pushes that could never be sent.
    pub serves: Arc<Serves>,
}

/// What the API knows of a company.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its mail domains; subdomains count only if they are named.
    pub allowed_domains: Vec<String>,
    /// Its identity provider, if users may come in with its tokens.
    pub identity: Option<Identity>,
    /// Whether a user who registers brings his mailbox with him.
    pub users_enrol: bool,
    /// Whether a key of the role device-manager that registers brings the mailbox with it.
    pub keys_enrol: bool,
}

impl Tenant {
    /// Takes from a company's settings what concerns the API.
    #[must_use]
    pub fn new(name: &str, settings: &config::tenants::Tenant) -> Self {
        Self {
            id: TenantId(name.into()),
            allowed_domains: settings.allowed_domains.iter().map(|domain| domain.to_lowercase()).collect(),
            identity: settings.identity.clone(),
            users_enrol: settings.allow_enrolment,
            keys_enrol: settings.allow_key_enrolment,
        }
    }

    /// Whether the address is of one of the tenant's mail domains.
    #[must_use]
    pub fn allows(&self, smtp: &Smtp) -> bool {
        self.allowed_domains.iter().any(|domain| domain == smtp.domain())
    }
}

/// The API of one node.
#[derive(Clone)]
pub struct Api(Shared);

/// What every request sees of the API.
#[derive(Clone)]
pub struct Shared(Arc<State>);

/// The state behind [`Shared`].
pub struct State {
    registry: Arc<dyn RegistryStore>,
    cluster: Arc<dyn ClusterStore>,
    control: Arc<dyn Control>,
    clock: Arc<dyn Clock>,
    settings: config::api::Api,
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
    serves: Arc<Serves>,
    keys: KeyCache,
    jwt: Issuers,
    limits: Limits,
    token_changes: TokenChanges,
    looks: Looks,
    strangers: Strangers,
}

impl Deref for Shared {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Api {
    /// Puts the API together; nothing is opened or fetched.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let ApiParts { registry, cluster, control, clock, settings, tenants, metrics_text, fetch, serves } = parts;
        let tenants: BTreeMap<_, _> = tenants.into_iter().map(|tenant| (tenant.id.clone(), Arc::new(tenant))).collect();
        Self(Shared(Arc::new(State {
            keys: KeyCache::new(settings.key_cache),
            jwt: Issuers::new(tenants.values(), &settings, &clock, &fetch),
            limits: Limits::new(&settings),
            token_changes: TokenChanges::new(settings.token_changes),
            looks: Looks::default(),
            strangers: Strangers::default(),
            registry,
            cluster,
            control,
            clock,
            settings,
            tenants,
            metrics_text,
            serves,
        })))
    }
}

/// A point in time as answers show it: RFC 3339 with microseconds, UTC.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| "never".to_owned(), |at| format!("{at:.6}"))
}
