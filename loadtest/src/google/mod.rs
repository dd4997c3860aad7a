//! Google's Firebase Cloud Messaging, simulated: the token endpoint and `messages:send`, by HTTP/2 and HTTP/1.1.

mod error;
mod fields;
mod message;
mod oauth;
mod quota;
mod scheme;
mod send;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::Ledger;
use crate::phones::Phones;
use crate::push_faults::PushFaults;
use crate::service_faults::ServiceFaults;

use oauth::AccessTokens;
pub use oauth::SCOPE;
use quota::Quota;

/// How long a stopping server waits for its connections.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How the service is set up.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Certificate and protocols: `h2` and `http/1.1` in ALPN.
    pub tls: Arc<rustls::ServerConfig>,
    /// The project that may send.
    pub project: String,
    /// The device tokens that FCM knows.
    pub phones: Arc<Phones>,
    /// What goes wrong.
    pub faults: Arc<PushFaults>,
    /// What goes wrong at the token endpoint.
    pub token_faults: Arc<ServiceFaults>,
    /// Whether a refused argument is named by its field besides FCM's own code, as answers of 2018 did; those of today do not.
    pub names_violations: bool,
    /// Who hears of it.
    pub ledger: Arc<Ledger>,
    /// Messages a minute that the project may send; 600,000 at Google.
    pub quota_per_minute: u64,
    /// How long an access token is good for; an hour at Google.
    pub token_lifetime: Duration,
}

impl Options {
    /// Google's own figures for a service on a free local port, without faults.
    pub fn new(tls: Arc<rustls::ServerConfig>, phones: Arc<Phones>, ledger: Arc<Ledger>) -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            project: "example-mail".to_owned(),
            phones,
            faults: Arc::new(PushFaults::none()),
            token_faults: Arc::new(ServiceFaults::none()),
            names_violations: false,
            ledger,
            quota_per_minute: 600_000,
            token_lifetime: Duration::from_secs(3_599),
        }
    }
}

struct Service {
    options: Options,
    tokens: AccessTokens,
    quota: Quota,
}

/// A running service; dropping it stops it.
pub struct Google {
    address: SocketAddr,
    service: Arc<Service>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Google {
    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.bind).await?;
        let address = listener.local_addr()?;
        let port = address.port();
        let audiences = vec![
            format!("https://127.0.0.1:{port}/token"),
            format!("https://localhost:{port}/token"),
            "https://oauth2.googleapis.com/token".to_owned(),
        ];
        let service = Arc::new(Service {
            tokens: AccessTokens::new(audiences, options.token_lifetime),
            quota: Quota::new(options.quota_per_minute),
            options,
        });
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(server::listen(listener, Arc::clone(&service), cancel.clone(), tasks.clone()));
        Ok(Self { address, service, cancel, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers the service account by its address and the DER (PKCS #1) of its public RSA key.
    pub fn set_account(&self, email: &str, public_der: &[u8]) {
        self.service.tokens.set_account(email, public_der);
    }

    /// The device tokens that FCM knows.
    pub fn phones(&self) -> &Arc<Phones> {
        &self.service.options.phones
    }

    /// Every access token given out so far is void from here on.
    pub fn expire_tokens(&self) {
        self.service.tokens.revoke_all();
    }

    /// Closes every connection in order and waits for them, for a few seconds at most.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tasks.close();
        // What has not ended by then ends with the runtime.
        let _ = tokio::time::timeout(STOP_DEADLINE, self.tasks.wait()).await;
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[cfg(test)]
mod tests;
