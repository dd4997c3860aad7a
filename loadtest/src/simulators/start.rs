//! How each simulated server is set up and started.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::apple::{self, Apple};
use crate::credentials::Credentials;
use crate::exchange::{self, ExchangeFaults, ExchangeOptions};
use crate::google::{self, Google};
use crate::identity::{self, Accounts, IdentityOptions};
use crate::ledger::Ledger;
use crate::phones::{Phones, Strangers};
use crate::push_faults::PushFaults;
use crate::service_faults::ServiceFaults;
use crate::tls::{ALPN_H2, ALPN_HTTP_1_1};
use crate::witness::Witness;
use crate::world::World;

use super::options::{FaultLevel, Options};

/// The name under which all simulators are reached, and one that means the same.
pub(super) const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// What tokens may be for: Exchange takes those for the first and no other.
const RESOURCES: [&str; 2] = ["https://outlook.office365.com", "https://graph.microsoft.com"];

/// How long a token for Exchange is good in a storm: its end is met several times.
const SHORT_LIFE: Duration = Duration::from_secs(20);

/// What the servers have in common while they are started.
pub(super) struct Start<'a> {
    options: &'a Options,
    credentials: &'a Credentials,
    ledger: &'a Arc<Ledger>,
    push_faults: Vec<Arc<PushFaults>>,
    service_faults: Vec<Arc<ServiceFaults>>,
    strangers: Arc<Strangers>,
}

impl<'a> Start<'a> {
    pub(super) fn new(options: &'a Options, credentials: &'a Credentials, ledger: &'a Arc<Ledger>) -> Self {
        Self { options, credentials, ledger, push_faults: Vec::new(), service_faults: Vec::new(), strangers: Arc::default() }
    }

    /// The faults of all push providers, and of the services beside Exchange, that were started.
    pub(super) fn faults(self) -> (Vec<Arc<PushFaults>>, Vec<Arc<ServiceFaults>>) {
        (self.push_faults, self.service_faults)
    }

    fn bind(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.options.address, port)
    }

    fn tls(&self, alpn: &[&[u8]]) -> Arc<rustls::ServerConfig> {
        let further = self.options.names.iter().map(String::as_str);
        let names: Vec<&str> = NAMES.into_iter().chain(further).collect();
        Arc::new(self.credentials.authority.server_config(&names, alpn))
    }

    /// Each draws its own sequence from the one seed.
    fn seed(&self, salt: u64) -> u64 {
        self.options.seed.wrapping_mul(31).wrapping_add(salt)
    }

    /// Faults of one service beside Exchange.
    fn service_faults(&mut self, salt: u64) -> Arc<ServiceFaults> {
        let faults = Arc::new(match self.options.faults {
            FaultLevel::None => ServiceFaults::none(),
            FaultLevel::Storm => ServiceFaults::storm(self.seed(salt)),
        });
        self.service_faults.push(Arc::clone(&faults));
        faults
    }

    /// Faults of one push provider.
    fn push_provider_faults(&mut self, salt: u64) -> Arc<PushFaults> {
        let faults = Arc::new(match self.options.faults {
            FaultLevel::None => PushFaults::none(),
            FaultLevel::Storm => PushFaults::storm(self.seed(salt)),
        });
        self.push_faults.push(Arc::clone(&faults));
        faults
    }

    pub(super) async fn apple(&mut self, environment: &'static str, port: u16, salt: u64) -> io::Result<Apple> {
        let phones = Phones::new(self.options.take_strangers).of_environment(&self.strangers, environment);
        let phones = Arc::new(phones);
        let mut options = apple::Options::new(self.tls(&[ALPN_H2]), phones, Arc::clone(self.ledger));
        options.bind = self.bind(port);
        options.topics = self.options.topics.clone();
        options.max_streams = self.options.apns_streams;
        options.note_callers = self.options.note_callers;
        options.faults = self.push_provider_faults(salt);
        let apple = Apple::start(options).await.map_err(at("APNs", port))?;
        apple.add_key(Credentials::APNS_KID, Credentials::APNS_TEAM, self.credentials.apns_key.public_key_raw());
        Ok(apple)
    }

    pub(super) async fn google(&mut self) -> io::Result<Google> {
        let phones = Arc::new(Phones::new(self.options.take_strangers));
        let tls = self.tls(&[ALPN_H2, ALPN_HTTP_1_1]);
        let mut options = google::Options::new(tls, phones, Arc::clone(self.ledger));
        options.bind = self.bind(self.options.ports.fcm);
        options.project = Credentials::FCM_PROJECT.to_owned();
        options.faults = self.push_provider_faults(3);
        options.names_violations = self.options.fcm_names_violations;
        options.token_faults = self.service_faults(4);
        let google = Google::start(options).await.map_err(at("FCM", self.options.ports.fcm))?;
        google.set_account(Credentials::FCM_EMAIL, self.credentials.fcm_key.public_key_raw());
        Ok(google)
    }

    pub(super) async fn exchange(
        &mut self,
        world: &Arc<World>,
        accounts: &Arc<Accounts>,
        faults: &Arc<ExchangeFaults>,
    ) -> io::Result<exchange::Server> {
        let mut options = ExchangeOptions::new(Arc::clone(world), Arc::clone(accounts), self.tls(&[ALPN_HTTP_1_1]));
        options.bind = self.bind(self.options.ports.exchange);
        options.faults = Arc::clone(faults);
        options.audiences = vec![RESOURCES[0].to_owned()];
        options.impersonators = [Credentials::OAUTH_CLIENT_ID, Credentials::BASIC_USER].map(str::to_owned).to_vec();
        options.autodiscover_faults = self.service_faults(5);
        options.timings.heartbeat = self.options.heartbeat;
        options.timings.minute = self.options.stream_minute;
        exchange::Server::start(options).await.map_err(at("Exchange", self.options.ports.exchange))
    }

    pub(super) async fn identity(&mut self, accounts: &Arc<Accounts>) -> io::Result<identity::Server> {
        let witness: Arc<dyn Witness> = Arc::clone(self.ledger) as _;
        let mut options = IdentityOptions::new(Arc::clone(accounts), witness, self.tls(&[ALPN_HTTP_1_1]));
        options.bind = self.bind(self.options.ports.identity);
        options.tenants.push(Credentials::TENANT.to_owned());
        options
            .clients
            .push(identity::Client { id: Credentials::OAUTH_CLIENT_ID.to_owned(), secret: self.credentials.oauth_secret.clone() });
        options.certificates.extend(self.credentials.oauth_certificate());
        options.resources = RESOURCES.map(str::to_owned).to_vec();
        options.audience = self.options.audience.clone();
        options.faults = self.service_faults(6);
        if self.options.faults == FaultLevel::Storm {
            options.token_lifetime = SHORT_LIFE;
        }
        identity::Server::start(options).await.map_err(at("the identity provider", self.options.ports.identity))
    }
}

/// Says which server could not be started where.
fn at(server: &'static str, port: u16) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{server} on port {port}: {error}"))
}
