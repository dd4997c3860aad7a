//! The outgoing HTTP client: TLS floor, trust roots, timeouts, HTTP version and the bound on answers, the same for every edge.
//!
//! An edge that talks to a different server, with different roots or over its own connections, makes its own client.

pub mod code;
pub mod lanes;
pub mod room;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postrider_actors::time::Timestamp;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// What we call ourselves towards servers.
pub const USER_AGENT: &str = concat!("postrider/", env!("CARGO_PKG_VERSION"));

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

/// Whom we trust: the system's roots together with configured ones. Cheap to clone.
#[derive(Clone)]
pub struct TrustRoots(Arc<RootCertStore>);

impl std::fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrustRoots({})", self.0.len())
    }
}

impl TrustRoots {
    /// Reads the system's roots and the PEM files in `extra`. A system without roots (a bare container) is no error as long as `extra` has some.
    ///
    /// # Errors
    /// A configured file that cannot be read, holds no certificate or a damaged one; or nobody to trust at all.
    pub fn load(extra: &[PathBuf]) -> Result<Self, HttpError> {
        let mut store = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        // A system's store may hold oddities that nobody can use; they are left out, as browsers do.
        let (_, unusable) = store.add_parsable_certificates(system.certs);
        if unusable > 0 {
            tracing::debug!(unusable, "system trust roots left out");
        }
        for path in extra {
            add_pem_file(&mut store, path)?;
        }
        if store.is_empty() {
            return Err(HttpError::NoRoots { reason: system.errors.first().map(ToString::to_string) });
        }
        Ok(Self(Arc::new(store)))
    }

    /// Trusts only the certificates in `pem`; `name` stands for the file in errors.
    ///
    /// # Errors
    /// No certificate in it, or a damaged one.
    pub fn only(name: &str, pem: &[u8]) -> Result<Self, HttpError> {
        let mut store = RootCertStore::empty();
        add_pem(&mut store, Path::new(name), pem)?;
        Ok(Self(Arc::new(store)))
    }
}

fn add_pem_file(store: &mut RootCertStore, path: &Path) -> Result<(), HttpError> {
    let pem = std::fs::read(path).map_err(|error| HttpError::RootsUnreadable { path: path.to_owned(), error })?;
    add_pem(store, path, &pem)
}

fn add_pem(store: &mut RootCertStore, path: &Path, pem: &[u8]) -> Result<(), HttpError> {
    let invalid = |problem: String| HttpError::RootsInvalid { path: path.to_owned(), problem };
    let mut number = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        number += 1;
        let certificate = certificate.map_err(|error| invalid(format!("damaged PEM at certificate {number} ({error:?})")))?;
        store.add(certificate).map_err(|error| {
            invalid(format!("certificate {number} cannot be a trust root ({error}); export the authority's certificate again, as PEM"))
        })?;
    }
    if number == 0 {
        let found = if pem.windows(11).any(|w| w == b"PRIVATE KEY") { "a private key" } else { "no PEM certificate" };
        return Err(invalid(format!(
            "the file holds {found}; wanted are certificates in PEM, each between BEGIN CERTIFICATE and END CERTIFICATE"
        )));
    }
    Ok(())
}

/// Which HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1 only: for NTLM and Negotiate, which authenticate a connection.
    Http1,
    /// Whatever the server chooses by ALPN.
    Negotiated,
    /// HTTP/2 at once, also with servers that do not answer ALPN (APNs has such).
    Http2,
}

/// How a client behaves. Start from [`ClientOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Whom to trust.
    pub roots: TrustRoots,
    /// Which HTTP.
    pub version: HttpVersion,
    /// From the look-up of the name to the end of the TLS handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// The longest silence while an answer is read. `None` where the caller watches itself. Default 30 s.
    pub read_timeout: Option<Duration>,
    /// From the first byte to the last of a call. `None` for streams. Default 60 s.
    pub total_timeout: Option<Duration>,
    /// HTTP/2 PING and TCP keep-alive after this much silence; the connection is given up when no answer comes for `keep_alive_timeout`. Default 30 s.
    pub keep_alive: Option<Duration>,
    /// How long the answer to an HTTP/2 PING may take. Default 10 s.
    pub keep_alive_timeout: Duration,
    /// How many idle HTTP/1.1 connections to one host are kept. Default 32.
    pub pool_max_idle: usize,
    /// How long an idle connection is kept. Default 90 s.
    pub pool_idle_timeout: Duration,
    /// Ask for compressed answers. The bound on an answer is on what comes out. Default no.
    pub compressed: bool,
    /// Refuse plain `http://` addresses. Default yes; a test may say no.
    pub https_only: bool,
    /// Let the client repeat what a server provably did not process (REFUSED_STREAM, GOAWAY). Default yes; no where the edge repeats itself.
    pub repeat_unprocessed: bool,
}

impl ClientOptions {
    /// The defaults, trusting `roots`.
    #[must_use]
    pub fn new(roots: TrustRoots) -> Self {
        Self {
            roots,
            version: HttpVersion::Negotiated,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Some(Duration::from_secs(30)),
            total_timeout: Some(Duration::from_secs(60)),
            keep_alive: Some(Duration::from_secs(30)),
            keep_alive_timeout: Duration::from_secs(10),
            pool_max_idle: 32,
            pool_idle_timeout: Duration::from_secs(90),
            compressed: false,
            https_only: true,
            repeat_unprocessed: true,
        }
    }
}

/// Makes a client: TLS 1.2 or newer by rustls, no redirects (they are the caller's to judge), no proxy from the environment, no Nagle delay.
///
/// # Errors
/// [`HttpError::Client`] when the client library refuses the options.
pub fn client(options: &ClientOptions) -> Result<reqwest::Client, HttpError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(options))
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .https_only(options.https_only)
        .tcp_nodelay(true)
        .tcp_keepalive(options.keep_alive)
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(options.pool_max_idle)
        .pool_idle_timeout(options.pool_idle_timeout)
        .gzip(options.compressed);
    if let Some(timeout) = options.read_timeout {
        builder = builder.read_timeout(timeout);
    }
    if let Some(timeout) = options.total_timeout {
        builder = builder.timeout(timeout);
    }
    if let (Some(interval), true) = (options.keep_alive, options.version != HttpVersion::Http1) {
        builder = builder
            .http2_keep_alive_interval(interval)
            .http2_keep_alive_timeout(options.keep_alive_timeout)
            .http2_keep_alive_while_idle(options.version == HttpVersion::Http2);
    }
    if !options.repeat_unprocessed {
        builder = builder.retry(reqwest::retry::never());
    }
    builder = match options.version {
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Negotiated => builder,
        HttpVersion::Http2 => builder.http2_prior_knowledge(),
    };
    Ok(builder.build()?)
}

fn tls(options: &ClientOptions) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("aws-lc-rs has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(Arc::clone(&options.roots.0))
        .with_no_client_auth();
    config.alpn_protocols = match options.version {
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Negotiated => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    config
}

/// Why an answer could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The server sent more than was asked to be read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke or fell silent while it was read; the causes as [`explain`] gives them.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Reads an answer of at most `max_bytes`, counted after decompression.
///
/// # Errors
/// [`BodyError`]; nothing beyond the bound is kept.
pub async fn body(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::Broken(explain(&error)))? {
        if whole.len() + chunk.len() > max_bytes {
            return Err(BodyError::TooLong(max_bytes));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Says why a call failed, cause by cause, for people: without its address, which may hold a device token or a key.
#[must_use]
pub fn explain(error: &reqwest::Error) -> String {
    let kind = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_builder() {
        "the request cannot be made"
    } else {
        "the exchange broke"
    };
    let mut text = String::from(kind);
    let mut cause = std::error::Error::source(error);
    while let Some(this) = cause {
        let this_text = this.to_string();
        // Layers that only repeat their cause say nothing.
        if !text.ends_with(&this_text) {
            text.push_str(": ");
            text.push_str(&this_text);
        }
        cause = this.source();
    }
    text
}

/// How long a server asks to be left alone (`Retry-After`, RFC 9110 section 10.2.3: seconds or a date), at most an hour.
#[must_use]
pub fn retry_after(headers: &http::HeaderMap, now: Timestamp) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(3600);
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp(date.as_microsecond()).since(now).min(MOST))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use postrider_loadtest::tls::Authority;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Serves one answer, as it stands, over TLS on a port of its own, as often as asked.
    async fn serve(config: rustls::ServerConfig, answer: String) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(socket).await {
                    let mut request = [0_u8; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        port
    }

    fn trusting(authority: &Authority) -> ClientOptions {
        install_tls_provider();
        ClientOptions::new(TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap())
    }

    #[tokio::test]
    async fn a_server_of_a_trusted_authority_is_reached_and_a_redirect_is_not_followed() {
        let authority = Authority::new();
        let answer = "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 2\r\n\r\nhi";
        let port = serve(authority.server_config(&["localhost"], &[]), answer.to_owned()).await;
        let answer = client(&trusting(&authority)).unwrap().get(format!("https://localhost:{port}/")).send().await.unwrap();
        assert_eq!(answer.status(), 302);
        assert_eq!(&body(answer, 2).await.unwrap()[..], b"hi");
    }

    #[tokio::test]
    async fn an_answer_beyond_the_bound_is_given_up() {
        let authority = Authority::new();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{}", "x".repeat(5000));
        let port = serve(authority.server_config(&["localhost"], &[]), answer).await;
        let answer = client(&trusting(&authority)).unwrap().get(format!("https://localhost:{port}/")).send().await.unwrap();
        assert!(matches!(body(answer, 4096).await, Err(BodyError::TooLong(4096))));
    }

    #[tokio::test]
    async fn a_stranger_an_expired_certificate_and_another_host_s_are_refused_and_the_reason_is_told() {
        let authority = Authority::new();
        let http = client(&trusting(&authority)).unwrap();
        let cases = [
            (Authority::new().server_config(&["localhost"], &[]), "invalid peer certificate"),
            (authority.expired_server_config(&["localhost"], &[]), "expired"),
            (authority.wrong_name_server_config(&[]), "not valid for name"),
        ];
        for (config, expected) in cases {
            let port = serve(config, String::new()).await;
            let error = http.get(format!("https://localhost:{port}/3/device/secret-token")).send().await.unwrap_err();
            let text = explain(&error);
            assert!(error.is_connect() && text.contains(expected), "{text}");
            assert!(!text.contains("secret-token"), "{text}");
        }
    }

    #[tokio::test]
    async fn plain_http_is_refused() {
        let http = client(&trusting(&Authority::new())).unwrap();
        assert!(http.get("http://127.0.0.1:9/").send().await.unwrap_err().is_builder());
    }

    #[test]
    fn a_server_may_ask_for_seconds_or_a_date() {
        let now = Timestamp(1_445_412_470_000_000);
        let asked = |text: &str| {
            let headers = [(http::header::RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            retry_after(&headers, now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO), "what is over is over");
        assert_eq!(asked("999999999"), Some(Duration::from_secs(3600)), "nobody waits for ever");
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn files_of_roots_that_are_missing_empty_damaged_or_something_else_are_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
            path
        };
        let good = Authority::new().ca_pem();
        let (_, key) = Authority::new().issue_pem(&["localhost"]);
        let cases = [
            (folder.path().join("missing.pem"), "cannot be read"),
            (file("empty.pem", ""), "no PEM certificate"),
            (file("key.pem", &key), "a private key"),
            (file("cut.pem", &good[..good.len() / 2]), "damaged PEM at certificate 1"),
            (file("second.pem", &format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), "certificate 2"),
        ];
        for (path, expected) in cases {
            let text = TrustRoots::load(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(text.contains(expected) && text.contains(&path.display().to_string()), "{text}");
        }
        assert!(TrustRoots::load(&[file("good.pem", &good)]).is_ok(), "configured roots are enough, whatever the system has");
    }
}
