//! Puts a node together, in the order in which it can fail without harm, and takes it apart again.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::{NodeId, Session};
use postrider_actors::node::state::Ended;
use postrider_actors::ports::cluster_store::Features;
use postrider_actors::ports::{Clock, Ports, StoreError};
use postrider_actors::settings::Settings;
use postrider_actors::shard::directory::Directory;
use postrider_actors::system::{Identity, System};
use tokio_util::sync::CancellationToken;

use crate::api::auth::fetch::HttpFetch;
use crate::api::server::{Reload, ServeError, Server};
use crate::api::{Api, ApiParts, Tenant};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::http::{ClientOptions, HttpError};
use crate::lives::{Late, Lives};
use crate::mail_source::{AssembleError, ExchangeParts, assemble};
use crate::peers::HttpPeers;
use crate::push_sender::{PushError, PushSenders};
use crate::store::{Schema, Store};

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Trust roots or the outgoing client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A tenant's way into Exchange.
    #[error(transparent)]
    Exchange(#[from] AssembleError),
    /// A push credential.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The API's addresses or certificate.
    #[error(transparent)]
    Api(#[from] ServeError),
    /// A bug.
    #[error("the core cannot be started: {0}")]
    Core(String),
}

/// Why a node stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It was told to.
    Told,
    /// Its session is over.
    Ended(Ended),
}

/// A running node.
pub struct Node {
    lives: Lives,
    store: Store,
    server: Server,
    drain: Duration,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("system", self.lives.system()).finish_non_exhaustive()
    }
}

/// Makes the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

impl Node {
    /// Starts a node. Nothing is written before everything that can be wrong with the configuration, the certificates and the addresses was found:
    /// a second process that cannot listen does not take the database away from the first.
    ///
    /// # Errors
    /// The first part that cannot be had, and what to do.
    pub async fn start(config: &Config, metrics_text: MetricsText) -> Result<Self, StartError> {
        let clock = Arc::new(SystemClock::default());
        let seed: u64 = rand::random();
        let outgoing = ClientOptions::configured(&config.http)?;
        let push = Arc::new(PushSenders::resting(&config.push, config.core.breaker_pause, &(clock.clone() as Arc<dyn Clock>))?);
        let mail = Arc::new(assemble(ExchangeParts {
            ews: &config.ews,
            autodiscover: &config.autodiscover,
            tenants: &config.tenant,
            http: &outgoing,
            clock: clock.clone(),
            seed,
        })?);
        let store = Store::open(&config.store, Schema::AsUsual, clock.clone()).await?;
        store.check_accepted().await?;

        let control = Arc::new(Late::default());
        let credentials = push.clone();
        let server = Api::new(ApiParts {
            registry: store.registry.clone(),
            cluster: store.cluster.clone(),
            control: control.clone(),
            clock: clock.clone(),
            settings: crate::descriptors::within(crate::descriptors::limit(), config),
            tenants: config.tenant.iter().map(|(name, settings)| Tenant::new(name, settings)).collect(),
            metrics_text,
            fetch: Arc::new(HttpFetch(crate::http::client(&outgoing)?)),
            serves: Arc::new(move |channel| credentials.serves(channel)),
        })
        .bind()?;

        let directory = Arc::new(Directory::default());
        mail.set_sink(directory.clone());
        let ports = Ports {
            clock,
            mail,
            push,
            cluster: store.cluster.clone(),
            peers: Arc::new(HttpPeers::new(&outgoing)?),
            mailboxes: store.mailboxes.clone(),
            devices: store.devices.clone(),
            deliveries: store.deliveries.clone(),
            registry: store.registry.clone(),
        };
        let identity = Identity {
            node: NodeId(config.node.name.as_str().into()),
            session: Session(0),
            version: env!("CARGO_PKG_VERSION").into(),
            features: Features::parse(&config.node.all_features()),
            addr: config.node.addr.clone(),
            weight: config.node.weight,
        };
        let settings = Settings { placement: config.placement.tuning(), ..config.core.settings() };
        let lives = Lives::begin(ports, settings, identity, directory, control).await?;
        Ok(Self { lives, store, server, drain: config.node.stop_deadline })
    }

    /// The core, for whoever looks into it.
    #[must_use]
    pub fn system(&self) -> &System {
        self.lives.system()
    }

    /// Where phones come in.
    ///
    /// # Errors
    /// The system's.
    pub fn public_address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.server.public_address()
    }

    /// Where administrators and monitoring come in.
    ///
    /// # Errors
    /// The system's.
    pub fn admin_address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.server.admin_address()
    }

    /// The way to have what can change without a restart read again at once.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.server.reload()
    }

    /// Runs until told to stop or until the session is over; then finishes what is under way within the configured deadline.
    ///
    /// # Errors
    /// If the API ends being served before that.
    pub async fn run(self, stop: CancellationToken) -> Result<Stopped, ServeError> {
        let Self { mut lives, store, server, drain } = self;
        let api_stop = CancellationToken::new();
        let mut serving = tokio::spawn(server.run(api_stop.clone()));
        let mut failed = None;
        let stopped = tokio::select! {
            () = stop.cancelled() => Stopped::Told,
            ended = lives.ended() => Stopped::Ended(ended),
            served = &mut serving => {
                failed = Some(flatten(served));
                Stopped::Told
            }
        };
        tracing::info!(?stopped, "stopping: what is under way is finished first");
        lives.system().drain(drain).await;
        api_stop.cancel();
        let served = match failed {
            Some(served) => served,
            None => flatten(serving.await),
        };
        store.close().await;
        served.map(|()| stopped)
    }
}

fn flatten(served: Result<Result<(), ServeError>, tokio::task::JoinError>) -> Result<(), ServeError> {
    served.unwrap_or_else(|error| Err(ServeError::Ended(std::io::Error::other(error))))
}
