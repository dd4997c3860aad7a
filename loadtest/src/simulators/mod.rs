//! The whole simulated world in one hand: Exchange, identity provider, Apple and Google under one certificate authority and one seed.

mod endpoints;
mod options;
mod start;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::apple::Apple;
use crate::credentials::Credentials;
use crate::exchange::{self, ExchangeFaults};
use crate::google::Google;
use crate::identity::{self, Accounts, Mint};
use crate::ledger::{Device, Ledger, Provider};
use crate::push_faults::PushFaults;
use crate::service_faults::ServiceFaults;
use crate::witness::Witness;
use crate::world::World;

pub use endpoints::Endpoints;
pub use options::{FaultLevel, Options, Ports};
use start::Start;

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
    service_faults: Vec<Arc<ServiceFaults>>,
    exchange_faults: Arc<ExchangeFaults>,
}

impl fmt::Debug for Simulators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulators").field("endpoints", &self.endpoints).finish_non_exhaustive()
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
        let ledger = Arc::new(Ledger::new(options.window).adopting(options.take_strangers));
        let world = World::new(Arc::clone(&ledger) as Arc<dyn Witness>);
        let basic = [Credentials::BASIC_USER, Credentials::PLAIN_USER];
        let accounts = Arc::new(Accounts::new(basic.map(|user| (user.to_owned(), credentials.basic_password.clone()))));
        let exchange_faults = Arc::new(match options.faults {
            FaultLevel::None => ExchangeFaults::none(),
            FaultLevel::Storm => ExchangeFaults::storm(options.seed),
        });
        let mut start = Start::new(&options, &credentials, &ledger);
        let exchange = start.exchange(&world, &accounts, &exchange_faults).await?;
        let identity = start.identity(&accounts).await?;
        let apple = start.apple("production", options.ports.apns, 1).await?;
        let apple_sandbox = start.apple("sandbox", options.ports.apns_sandbox, 2).await?;
        let google = start.google().await?;
        let (push_faults, service_faults) = start.faults();
        let endpoints = Endpoints::of(&exchange, &identity, [&apple, &apple_sandbox], &google);
        Ok(Self {
            world,
            ledger,
            credentials,
            endpoints,
            exchange,
            identity,
            apple,
            apple_sandbox,
            google,
            push_faults,
            service_faults,
            exchange_faults,
        })
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
        let token = as_pushed(provider, token);
        match provider {
            Provider::Apns => self.apple.phones().install(&token, Credentials::APP),
            Provider::Fcm => self.google.phones().install(&token, Credentials::FCM_PROJECT),
        }
    }

    /// The app was removed from the phone: its provider says so from here on, and nothing is owed to it.
    pub fn uninstall(&self, provider: Provider, token: &str) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let token = as_pushed(provider, token);
        match provider {
            Provider::Apns => self.apple.phones().remove(&token, now_ms),
            Provider::Fcm => self.google.phones().remove(&token, now_ms),
        }
        self.ledger.forgotten(&token);
    }

    /// Enters a phone whose registration the product accepted: from here on it is owed every mail.
    pub fn registered(&self, device: &Device) {
        let token = as_pushed(device.provider, &device.token);
        self.ledger.device(&Device { token, ..device.clone() });
    }

    /// Ends the storm, or lets it come again: a run is judged when all has been said.
    pub fn set_faults_active(&self, active: bool) {
        self.exchange_faults.set_active(active);
        self.push_faults.iter().for_each(|faults| faults.set_active(active));
        self.service_faults.iter().for_each(|faults| faults.set_active(active));
    }

    /// Writes what a product in another process needs into a folder: `ca.pem`, `apns.p8`, `fcm.json`, `oauth-client-secret`,
    /// `oauth-client.pem`, `oauth-client-key.pem`, `basic-password`, and `simulators.json`, which says where everything is and under which names.
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
            "basic": {"user": Credentials::BASIC_USER, "without_impersonation": Credentials::PLAIN_USER},
            "issuer": {"url": self.endpoints.issuer, "audience": self.identity.issuer().audience()},
        });
        std::fs::write(dir.join("simulators.json"), format!("{summary:#}\n"))
    }

    /// Stops everything and waits until it is done, a few seconds at most.
    pub async fn stop(self) {
        tokio::join!(self.apple.stop(), self.apple_sandbox.stop(), self.google.stop(), self.exchange.stop(), self.identity.stop());
    }
}

/// A token in the form in which it comes with a push: Apple's are hexadecimal digits of either case.
fn as_pushed(provider: Provider, token: &str) -> String {
    match provider {
        Provider::Apns => token.to_ascii_lowercase(),
        Provider::Fcm => token.to_owned(),
    }
}

#[cfg(test)]
mod tests;
