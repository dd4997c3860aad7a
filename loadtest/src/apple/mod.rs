//! Apple's push service, simulated: HTTP/2 over TLS, every header and payload checked, and what Apple would refuse refused.

mod callers;
mod connection;
mod payload;
mod refusal;
mod request;
mod token;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::Ledger;
use crate::phones::Phones;
use crate::push_faults::PushFaults;

pub use refusal::{Reason, Refusal};

use callers::Callers;
use token::ProviderTokens;

/// How long a stopping server waits for its connections.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How one environment (production or sandbox) of the service is set up.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Certificate and protocols; offer `h2` or nothing in ALPN.
    pub tls: Arc<rustls::ServerConfig>,
    /// Bundle ids that the registered keys may push to.
    pub topics: Vec<String>,
    /// The device tokens of this environment.
    pub phones: Arc<Phones>,
    /// What goes wrong.
    pub faults: Arc<PushFaults>,
    /// Who hears of it.
    pub ledger: Arc<Ledger>,
    /// Streams allowed at a time on one connection once its provider token was found good.
    pub max_streams: u32,
    /// How long a connection keeps a provider token before it may show another; 20 minutes at Apple.
    pub token_min_update: Duration,
    /// A connection that is silent for so long is closed with `IdleTimeout`.
    pub idle: Duration,
    /// Whether accepted pushes are kept account of by the connection that they came on.
    pub note_callers: bool,
}

impl Options {
    /// Apple's own figures for a service on a free local port, without faults.
    pub fn new(tls: Arc<rustls::ServerConfig>, phones: Arc<Phones>, ledger: Arc<Ledger>) -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            topics: vec!["com.example.mail".to_owned()],
            phones,
            faults: Arc::new(PushFaults::none()),
            ledger,
            max_streams: 1_000,
            token_min_update: Duration::from_secs(20 * 60),
            idle: Duration::from_secs(3_600),
            note_callers: false,
        }
    }
}

struct Service {
    options: Options,
    tokens: ProviderTokens,
    callers: Callers,
}

/// A running service; dropping it stops it.
pub struct Apple {
    address: SocketAddr,
    service: Arc<Service>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Apple {
    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.bind).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service { tokens: ProviderTokens::new(options.token_min_update), callers: Callers::default(), options });
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(listen(listener, Arc::clone(&service), cancel.clone(), tasks.clone()));
        Ok(Self { address, service, cancel, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers the public half (an uncompressed P-256 point) of the key `kid` of `team`.
    pub fn add_key(&self, kid: &str, team: &str, public_point: &[u8]) {
        self.service.tokens.add_key(kid, team, public_point);
    }

    /// The device tokens of this environment.
    pub fn phones(&self) -> &Arc<Phones> {
        &self.service.options.phones
    }

    /// When pushes came from these local ports of clients at `since` or later; needs [`Options::note_callers`].
    pub fn pushes_from(&self, ports: &[u16], since: Instant) -> Vec<Instant> {
        self.service.callers.since(ports, since)
    }

    /// Every provider token seen so far counts as expired from here on.
    pub fn expire_tokens(&self) {
        self.service.tokens.expire_all();
    }

    /// Says goodbye to every connection and waits for them, for a few seconds at most.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tasks.close();
        // What has not ended by then ends with the runtime.
        let _ = tokio::time::timeout(STOP_DEADLINE, self.tasks.wait()).await;
    }
}

impl Drop for Apple {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

async fn listen(listener: TcpListener, service: Arc<Service>, cancel: CancellationToken, tasks: TaskTracker) {
    let acceptor = TlsAcceptor::from(Arc::clone(&service.options.tls));
    let stop = cancel.clone();
    let serve = |tcp, peer: SocketAddr| connection::serve(Arc::clone(&service), acceptor.clone(), (tcp, peer.port()), cancel.clone());
    crate::socket::listen(listener, stop, tasks, serve).await;
}

#[cfg(test)]
mod tests;
