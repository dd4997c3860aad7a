//! Outgoing HTTP: TLS floor, trust roots, timeouts and the bound on answers, the same for every edge.
//!
//! An edge that asks many servers a little makes a [`client`]; one that asks few servers much has [`http1`] or [`lanes`].

mod answer;
pub mod cause;
pub mod code;
mod connection;
pub mod http1;
pub mod lanes;
mod lifetime;
pub mod names;
pub mod room;
mod roots;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::legacy::connect;

pub use answer::{BodyError, body, cause_of, explain, retry_after};
pub use cause::Cause;
pub use lifetime::lifetime;
use names::{Names, TimedNames};
pub use roots::TrustRoots;

/// What we call ourselves towards servers.
pub const USER_AGENT: &str = concat!("postrider/", env!("CARGO_PKG_VERSION"));

/// A peer that answered nothing for so long is asked again, ...
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// ... and so often, before its connection is given up; also how long what was sent may stay without the kernel's word that it arrived.
const PROBES: u32 = 3;

/// Makes aws-lc-rs the process's TLS provider; harmless when called again. Every `main` and every test that uses TLS calls it first.
pub fn install_tls_provider() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // Somebody else may have installed the same provider; that is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// Why a client cannot be made. Each text names the file and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A file of trust roots cannot be read.
    #[error("{}: the file of trust roots cannot be read ({error})", path.display())]
    RootsUnreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file of trust roots holds something else.
    #[error("{}: {problem}", path.display())]
    RootsInvalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Neither the system nor the configuration names anybody to trust.
    #[error(
        "no trust roots: the system has none (install the ca-certificates package) and none are configured (`roots`){}",
        reason.as_ref().map(|r| format!("; the system said: {r}")).unwrap_or_default()
    )]
    NoRoots {
        /// What went wrong with the system's, if anything did.
        reason: Option<String>,
    },
    /// The client itself was refused.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// How a client behaves. Start from [`ClientOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Whom to trust.
    pub roots: TrustRoots,
    /// From the look-up of the name to the end of the TLS handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// The longest silence while an answer is read. Default 30 s.
    pub read_timeout: Duration,
    /// From the first byte to the last of a call. Default 60 s.
    pub total_timeout: Duration,
    /// HTTP/2 PING and TCP keep-alive after this much silence; the connection is given up when no answer comes for `keep_alive_timeout`. Default 30 s.
    pub keep_alive: Duration,
    /// How long the answer to an HTTP/2 PING may take. Default 10 s.
    pub keep_alive_timeout: Duration,
    /// How many idle HTTP/1.1 connections to one host are kept. Default 32.
    pub pool_max_idle: usize,
    /// How long an idle connection is kept. Default 90 s.
    pub pool_idle_timeout: Duration,
    /// Ask for compressed answers. The bound on an answer is on what comes out. Default no.
    pub compressed: bool,
    /// Who is asked for the addresses of servers. Default the system.
    pub names: Names,
    /// Refuse plain `http://` addresses. Default yes; a test may say no.
    pub https_only: bool,
}

impl ClientOptions {
    /// As `[http]` says.
    ///
    /// # Errors
    /// Those of [`TrustRoots::load`].
    pub fn configured(http: &crate::config::http::Http) -> Result<Self, HttpError> {
        Ok(Self { names: Names::asking(&http.name_servers), ..Self::new(TrustRoots::load(&http.roots)?) })
    }

    /// The defaults, trusting `roots`.
    #[must_use]
    pub fn new(roots: TrustRoots) -> Self {
        Self {
            roots,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(10),
            pool_max_idle: 32,
            pool_idle_timeout: Duration::from_secs(90),
            compressed: false,
            names: Names::default(),
            https_only: true,
        }
    }
}

/// Makes a client: HTTP/2 or 1.1 as the server chooses by ALPN, TLS 1.2 or newer by rustls, no redirects (they are the caller's to judge), no proxy from the environment, no Nagle delay.
///
/// # Errors
/// [`HttpError::Client`] when the client library refuses the options.
pub fn client(options: &ClientOptions) -> Result<reqwest::Client, HttpError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(options, &[b"h2", b"http/1.1"]))
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .dns_resolver(Arc::new(options.names.within(options.connect_timeout)))
        .https_only(options.https_only)
        .tcp_nodelay(true)
        .tcp_keepalive(options.keep_alive)
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(options.pool_max_idle)
        .pool_idle_timeout(options.pool_idle_timeout)
        .read_timeout(options.read_timeout)
        .timeout(options.total_timeout)
        .http2_keep_alive_interval(options.keep_alive)
        .http2_keep_alive_timeout(options.keep_alive_timeout)
        .gzip(options.compressed)
        .build()?;
    Ok(client)
}

/// Opens TCP connections to servers whose names we look up ourselves.
type HttpConnector = connect::HttpConnector<TimedNames>;

/// How TCP connections are opened under TLS: addresses of both families, no Nagle delay, kept alive.
fn tcp(options: &ClientOptions) -> HttpConnector {
    let mut tcp = HttpConnector::new_with_resolver(options.names.within(options.connect_timeout));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(options.keep_alive));
    tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
    tcp.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(PROBE_INTERVAL * PROBES));
    tcp.set_connect_timeout(Some(options.connect_timeout));
    tcp
}

/// How TLS is spoken, with these protocols on offer (ALPN, RFC 7301).
fn tls(options: &ClientOptions, protocols: &[&[u8]]) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("aws-lc-rs has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(Arc::clone(&options.roots.0))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

#[cfg(test)]
mod tests;
