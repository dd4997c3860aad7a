//! What can be chosen about the simulated server.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::Accounts;
use crate::service_faults::ServiceFaults;
use crate::witness::Witness;
use crate::world::World;

use super::faults::ExchangeFaults;

/// Everything that a simulated Exchange server is started with.
#[derive(Clone)]
pub struct ExchangeOptions {
    /// The mailboxes.
    pub world: Arc<World>,
    /// Hears of hints and misuse.
    pub witness: Arc<dyn Witness>,
    /// Who may log on.
    pub accounts: Arc<Accounts>,
    /// What goes wrong.
    pub faults: Arc<ExchangeFaults>,
    /// Certificate and key; no ALPN or `http/1.1`.
    pub tls: Arc<rustls::ServerConfig>,
    /// Where to listen; port 0 picks one.
    pub bind: SocketAddr,
    /// The host name that autodiscover puts into addresses; the port is added.
    pub host: String,
    /// Audiences that a bearer token may be made for; any when empty.
    pub audiences: Vec<String>,
    /// The accounts that may impersonate; any when empty.
    pub impersonators: Vec<String>,
    /// The groups that mailboxes are spread over (by `Mailbox::set_group`).
    pub groups: Vec<Group>,
    /// What goes wrong at autodiscover.
    pub autodiscover_faults: Arc<ServiceFaults>,
    /// What is allowed.
    pub limits: Limits,
    /// How long things take.
    pub timings: Timings,
}

impl fmt::Debug for ExchangeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeOptions")
            .field("bind", &self.bind)
            .field("host", &self.host)
            .field("groups", &self.groups)
            .field("limits", &self.limits)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

impl ExchangeOptions {
    /// A server without faults on a free port of the loopback interface, reached as `localhost`, with the limits of Exchange Online.
    pub fn new(world: Arc<World>, accounts: Arc<Accounts>, tls: Arc<rustls::ServerConfig>) -> Self {
        Self {
            witness: Arc::clone(world.witness()),
            world,
            accounts,
            faults: Arc::new(ExchangeFaults::none()),
            tls,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: "localhost".to_owned(),
            audiences: Vec::new(),
            impersonators: Vec::new(),
            groups: vec![Group::named("POSTSIM01")],
            autodiscover_faults: Arc::new(ServiceFaults::none()),
            limits: Limits::default(),
            timings: Timings::default(),
        }
    }
}

/// Mailboxes that share an address and a GroupingInformation: one streaming connection may serve them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `GroupingInformation`.
    pub name: String,
    /// Its back ends. A mailbox lives on one of them; affinity decides which one holds its subscription.
    pub back_ends: usize,
    /// `ExternalEwsUrl`; the server's own when absent.
    pub ews_url: Option<String>,
}

impl Group {
    /// A group of three back ends at the server's own address.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), back_ends: 3, ews_url: None }
    }
}

/// The throttling policy: Exchange Online's by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streaming connections a budget may have open (HangingConnectionLimit): 10, and 3 on Exchange 2013.
    pub hanging_connections: usize,
    /// Live subscriptions a mailbox may have (EWSMaxSubscriptions): 20, and 5000 on premises.
    pub subscriptions: usize,
    /// Ordinary requests a budget may have under way (EWSMaxConcurrency).
    pub concurrency: usize,
    /// SyncFolderItems a budget may have under way (ConcurrentSyncCalls).
    pub sync_calls: usize,
    /// Ids one GetStreamingEvents may name.
    pub ids_per_stream: usize,
    /// Item ids one GetItem should name; more is answered and remarked upon.
    pub ids_per_get_item: usize,
    /// Events a subscription holds for a client that does not fetch them; then events are lost.
    pub queued_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hanging_connections: 10,
            subscriptions: 20,
            concurrency: 27,
            sync_calls: 5,
            ids_per_stream: 200,
            ids_per_get_item: 10,
            queued_events: 5_000,
        }
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between two signs of life on a quiet stream.
    pub heartbeat: Duration,
    /// What ConnectionTimeout counts in: a minute, or less in a test.
    pub minute: Duration,
    /// How long a subscription without a stream lives after its last delivery.
    pub subscription_lifetime: Duration,
    /// A request this shortly after an ErrorServerBusy was on its way already and is no misuse.
    pub back_off_grace: Duration,
    /// Added to every ordinary request: the server's own work.
    pub latency: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(45),
            minute: Duration::from_secs(60),
            subscription_lifetime: Duration::from_secs(30 * 60),
            back_off_grace: Duration::from_millis(1_500),
            latency: Duration::ZERO,
        }
    }
}
