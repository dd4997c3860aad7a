//! The whole simulated world in one hand: Exchange, identity provider, Apple and Google under one certificate authority and one seed.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::apple::{self, Apple};
use crate::credentials::Credentials;
use crate::exchange::{self, ExchangeFaults, ExchangeOptions};
use crate::google::{self, Google};
use crate::identity::{self, Accounts, IdentityOptions, Mint};
use crate::ledger::{Device, Ledger, Provider};
use crate::phones::Phones;
use crate::push_faults::PushFaults;
use crate::tls::{ALPN_H2, ALPN_HTTP_1_1};
use crate::witness::Witness;
use crate::world::World;

/// The name under which all simulators are reached, and one that means the same.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Whether things go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FaultLevel {
    /// Nothing goes wrong.
    #[default]
    None,
    /// Everything goes wrong now and then, as the seed decides.
    Storm,
}

/// Where the simulators listen; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Exchange and autodiscover, https.
    pub exchange: u16,
    /// The identity provider, https.
    pub identity: u16,
    /// APNs, production.
    pub apns: u16,
    /// APNs, sandbox.
    pub apns_sandbox: u16,
    /// FCM and its token endpoint, https.
    pub fcm: u16,
}

impl Ports {
    /// The ports that `config/development.toml` names.
    pub const DEVELOPMENT: Self = Self { exchange: 9443, identity: 9444, apns: 9445, apns_sandbox: 9448, fcm: 9446 };
    /// Whatever is free.
    pub const FREE: Self = Self { exchange: 0, identity: 0, apns: 0, apns_sandbox: 0, fcm: 0 };
}

/// How the world is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// From which all faults are drawn.
    pub seed: u64,
    /// Whether things go wrong.
    pub faults: FaultLevel,
    /// Where to listen.
    pub address: IpAddr,
    /// On which ports.
    pub ports: Ports,
    /// Between two signs of life on a quiet stream of Exchange; 45 s on the real one.
    pub heartbeat: Duration,
    /// What `ConnectionTimeout` of a stream counts in: a minute, or less in a test.
    pub stream_minute: Duration,
    /// The product's coalescing window, by which lateness is judged.
    pub window: Duration,
    /// Whether a well-formed device token that nobody entered counts as installed.
    pub take_strangers: bool,
    /// Bundle ids that may be pushed to.
    pub topics: Vec<String>,
    /// `aud` of phone users' tokens.
    pub audience: String,
    /// Streams that APNs allows at a time on one connection.
    pub apns_streams: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            faults: FaultLevel::None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::FREE,
            heartbeat: Duration::from_secs(45),
            stream_minute: Duration::from_secs(60),
            window: Duration::from_secs(3),
            take_strangers: false,
            topics: vec![Credentials::APP.to_owned()],
            audience: "postrider".to_owned(),
            apns_streams: 1_000,
        }
    }
}

/// Where everything is, as a product's configuration needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// `https://host:port` of Exchange.
    pub exchange: String,
    /// The address of its web services.
    pub ews: String,
    /// SOAP autodiscover.
    pub autodiscover: String,
    /// Where OAuth client credentials are turned into a token.
    pub oauth_token: String,
    /// The identity provider's authority, without the tenant.
    pub oauth_authority: String,
    /// The issuer of phone users' tokens.
    pub issuer: String,
    /// The issuer's keys.
    pub jwks: String,
    /// `https://host:port` of APNs, production.
    pub apns: String,
    /// `https://host:port` of APNs, sandbox.
    pub apns_sandbox: String,
    /// `https://host:port` of FCM.
    pub fcm: String,
    /// Where the service account's assertion is turned into a token.
    pub fcm_token: String,
}

/// The running world. Dropping it stops it; [`Simulators::stop`] also waits.
pub struct Simulators {
    world: Arc<World>,
    ledger: Arc<Ledger>,
    credentials: Credentials,
    endpoints: Endpoints,
    exchange: exchange::Server,
    identity: identity::Server,
    apple: Apple,
    apple_sandbox: Apple,
    google: Google,
    push_faults: Vec<Arc<PushFaults>>,
    exchange_faults: Arc<ExchangeFaults>,
}

impl fmt::Debug for Simulators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulators").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// What the servers have in common while they are started.
struct Start<'a> {
    options: &'a Options,
    credentials: &'a Credentials,
    ledger: &'a Arc<Ledger>,
    push_faults: Vec<Arc<PushFaults>>,
}

impl Start<'_> {
    fn bind(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.options.address, port)
    }

    fn tls(&self, alpn: &[&[u8]]) -> Arc<rustls::ServerConfig> {
        Arc::new(self.credentials.authority.server_config(&NAMES, alpn))
    }

    /// Faults of one push provider: each draws its own sequence from the one seed.
    fn faults(&mut self, salt: u64) -> Arc<PushFaults> {
        let seed = self.options.seed.wrapping_mul(31).wrapping_add(salt);
        let faults = Arc::new(match self.options.faults {
            FaultLevel::None => PushFaults::none(),
            FaultLevel::Storm => PushFaults::storm(seed),
        });
        self.push_faults.push(Arc::clone(&faults));
        faults
    }

    async fn apple(&mut self, port: u16, salt: u64) -> io::Result<Apple> {
        let phones = Arc::new(Phones::new(self.options.take_strangers));
        let mut options = apple::Options::new(self.tls(&[ALPN_H2]), phones, Arc::clone(self.ledger));
        options.bind = self.bind(port);
        options.topics = self.options.topics.clone();
        options.max_streams = self.options.apns_streams;
        options.faults = self.faults(salt);
        let apple = Apple::start(options).await?;
        apple.add_key(Credentials::APNS_KID, Credentials::APNS_TEAM, self.credentials.apns_key.public_key_raw());
        Ok(apple)
    }

    async fn google(&mut self) -> io::Result<Google> {
        let phones = Arc::new(Phones::new(self.options.take_strangers));
        let tls = self.tls(&[ALPN_H2, ALPN_HTTP_1_1]);
        let mut options = google::Options::new(tls, phones, Arc::clone(self.ledger));
        options.bind = self.bind(self.options.ports.fcm);
        options.project = Credentials::FCM_PROJECT.to_owned();
        options.faults = self.faults(3);
        let google = Google::start(options).await?;
        google.set_account(Credentials::FCM_EMAIL, self.credentials.fcm_key.public_key_raw());
        Ok(google)
    }

    async fn exchange(&self, world: &Arc<World>, accounts: &Arc<Accounts>, faults: &Arc<ExchangeFaults>) -> io::Result<exchange::Server> {
        let mut options = ExchangeOptions::new(Arc::clone(world), Arc::clone(accounts), self.tls(&[ALPN_HTTP_1_1]));
        options.bind = self.bind(self.options.ports.exchange);
        options.faults = Arc::clone(faults);
        options.timings.heartbeat = self.options.heartbeat;
        options.timings.minute = self.options.stream_minute;
        exchange::Server::start(options).await
    }

    async fn identity(&self, accounts: &Arc<Accounts>) -> io::Result<identity::Server> {
        let witness: Arc<dyn Witness> = Arc::clone(self.ledger) as _;
        let mut options = IdentityOptions::new(Arc::clone(accounts), witness, self.tls(&[ALPN_HTTP_1_1]));
        options.bind = self.bind(self.options.ports.identity);
        options.tenants.push(Credentials::TENANT.to_owned());
        options
            .clients
            .push(identity::Client { id: Credentials::OAUTH_CLIENT_ID.to_owned(), secret: self.credentials.oauth_secret.clone() });
        options.audience = self.options.audience.clone();
        identity::Server::start(options).await
    }
}

impl Simulators {
    /// Starts everything with credentials made up for this run.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let made = tokio::task::spawn_blocking(Credentials::generate).await;
        Self::start_with(options, made.map_err(io::Error::other)?).await
    }

    /// Starts everything with given credentials.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start_with(options: Options, credentials: Credentials) -> io::Result<Self> {
        crate::tls::install_provider();
        let ledger = Arc::new(Ledger::new(options.window));
        let world = World::new(Arc::clone(&ledger) as Arc<dyn Witness>);
        let basic = (Credentials::BASIC_USER.to_owned(), credentials.basic_password.clone());
        let accounts = Arc::new(Accounts::new([basic]));
        let exchange_faults = Arc::new(match options.faults {
            FaultLevel::None => ExchangeFaults::none(),
            FaultLevel::Storm => ExchangeFaults::storm(options.seed),
        });
        let mut start = Start { options: &options, credentials: &credentials, ledger: &ledger, push_faults: Vec::new() };
        let exchange = start.exchange(&world, &accounts, &exchange_faults).await?;
        let identity = start.identity(&accounts).await?;
        let apple = start.apple(options.ports.apns, 1).await?;
        let apple_sandbox = start.apple(options.ports.apns_sandbox, 2).await?;
        let google = start.google().await?;
        let push_faults = start.push_faults;
        let endpoints = endpoints(&exchange, &identity, [&apple, &apple_sandbox], &google);
        Ok(Self { world, ledger, credentials, endpoints, exchange, identity, apple, apple_sandbox, google, push_faults, exchange_faults })
    }

    /// The mailboxes.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The books.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// With which a product enters.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The root certificate to trust, in PEM.
    pub fn ca_pem(&self) -> String {
        self.credentials.authority.ca_pem()
    }

    /// The APNs key in PEM, as Apple's `.p8` file has it.
    pub fn apns_key_pem(&self) -> String {
        self.credentials.apns_key.serialize_pem()
    }

    /// The service account's file for FCM, pointing at the simulated token endpoint.
    pub fn fcm_account_json(&self) -> String {
        self.credentials.fcm_account_json(&self.endpoints.fcm_token)
    }

    /// Where everything is.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The simulated Exchange server.
    pub fn exchange(&self) -> &exchange::Server {
        &self.exchange
    }

    /// Faults of Exchange, for scripts.
    pub fn exchange_faults(&self) -> &Arc<ExchangeFaults> {
        &self.exchange_faults
    }

    /// The simulated identity provider.
    pub fn identity(&self) -> &identity::Server {
        &self.identity
    }

    /// The simulated Apple, production.
    pub fn apple(&self) -> &Apple {
        &self.apple
    }

    /// The simulated Apple, sandbox.
    pub fn apple_sandbox(&self) -> &Apple {
        &self.apple_sandbox
    }

    /// The simulated Google.
    pub fn google(&self) -> &Google {
        &self.google
    }

    /// A bearer token of the phone user with this address, good for an hour.
    pub fn phone_user_token(&self, email: &str) -> String {
        self.identity.issuer().mint(email, &Mint::default())
    }

    /// Makes the device token known to its provider (for Apple: in production), with the app installed.
    pub fn install(&self, provider: Provider, token: &str) {
        match provider {
            Provider::Apns => self.apple.phones().install(token, Credentials::APP),
            Provider::Fcm => self.google.phones().install(token, Credentials::FCM_PROJECT),
        }
    }

    /// The app was removed from the phone: its provider says so from here on, and nothing is owed to it.
    pub fn uninstall(&self, provider: Provider, token: &str) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        match provider {
            Provider::Apns => self.apple.phones().remove(token, now_ms),
            Provider::Fcm => self.google.phones().remove(token, now_ms),
        }
        self.ledger.forgotten(token);
    }

    /// Enters a phone whose registration the product accepted: from here on it is owed every mail.
    pub fn registered(&self, device: &Device) {
        self.ledger.device(device);
    }

    /// Ends the storm, or lets it come again: a run is judged when all has been said.
    pub fn set_faults_active(&self, active: bool) {
        self.exchange_faults.set_active(active);
        for faults in &self.push_faults {
            faults.set_active(active);
        }
    }

    /// Writes what a product in another process needs into a folder: `ca.pem`, `apns.p8`, `fcm.json`, `oauth-client-secret`,
    /// `basic-password`, and `simulators.json`, which says where everything is and under which names.
    ///
    /// The first three and the secrets are there already if the credentials came from [`Credentials::load_or_create`].
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_development_files(&self, dir: &Path) -> io::Result<()> {
        self.credentials.save(dir)?;
        self.credentials.write_fcm_account(dir, &self.endpoints.fcm_token)?;
        let summary = serde_json::json!({
            "endpoints": self.endpoints,
            "apns": {"kid": Credentials::APNS_KID, "team": Credentials::APNS_TEAM, "topic": Credentials::APP},
            "fcm": {"project": Credentials::FCM_PROJECT, "client_email": Credentials::FCM_EMAIL},
            "oauth": {"tenant": Credentials::TENANT, "client_id": Credentials::OAUTH_CLIENT_ID},
            "basic": {"user": Credentials::BASIC_USER},
            "issuer": {"url": self.endpoints.issuer, "audience": self.identity.issuer().audience()},
        });
        std::fs::write(dir.join("simulators.json"), format!("{summary:#}\n"))
    }

    /// Stops everything and waits until it is done, a few seconds at most.
    pub async fn stop(self) {
        tokio::join!(self.apple.stop(), self.apple_sandbox.stop(), self.google.stop(), self.exchange.stop(), self.identity.stop());
    }
}

fn endpoints(exchange: &exchange::Server, identity: &identity::Server, apples: [&Apple; 2], google: &Google) -> Endpoints {
    let at = |address: SocketAddr| format!("https://{}:{}", NAMES[0], address.port());
    let (authority, fcm) = (identity.base_url().to_owned(), at(google.address()));
    Endpoints {
        exchange: exchange.base_url().to_owned(),
        ews: exchange.ews_url(),
        autodiscover: format!("{}/autodiscover/autodiscover.svc", exchange.base_url()),
        oauth_token: format!("{authority}/{}/oauth2/v2.0/token", Credentials::TENANT),
        issuer: authority.clone(),
        jwks: format!("{authority}/jwks"),
        oauth_authority: authority,
        apns: at(apples[0].address()),
        apns_sandbox: at(apples[1].address()),
        fcm_token: format!("{fcm}/token"),
        fcm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_starts_under_one_authority_and_stops() {
        let simulators = Simulators::start(Options::default()).await.unwrap();
        let root = reqwest::Certificate::from_pem(simulators.ca_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
        let Endpoints { exchange, jwks, fcm_token, .. } = simulators.endpoints().clone();
        for url in [exchange, jwks, fcm_token] {
            client.get(&url).send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        assert!(simulators.phone_user_token("ann@example.com").split('.').count() == 3);
        simulators.stop().await;
    }

    #[tokio::test]
    async fn the_development_files_hold_what_a_product_needs_and_stay_the_same() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let credentials = Credentials::load_or_create(dir.path()).unwrap();
            let simulators = Simulators::start_with(Options::default(), credentials).await.unwrap();
            simulators.write_development_files(dir.path()).unwrap();
            let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
            assert_eq!(read("ca.pem"), simulators.ca_pem());
            assert_eq!(read("apns.p8"), simulators.apns_key_pem());
            let account: serde_json::Value = serde_json::from_str(&read("fcm.json")).unwrap();
            assert_eq!(account["token_uri"], simulators.endpoints().fcm_token);
            assert!(!read("oauth-client-secret").is_empty() && !read("basic-password").is_empty());
            let summary: serde_json::Value = serde_json::from_str(&read("simulators.json")).unwrap();
            assert_eq!(summary["endpoints"]["apns"], simulators.endpoints().apns);
        }
    }
}
