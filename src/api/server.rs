//! Listening: both addresses bound before anything is served, connections guarded, an orderly end within a deadline.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::guard::Guard;
use crate::api::tls::{Certificate, TlsError};
use crate::api::{Api, routes};
use crate::config::api::Api as ApiSettings;

/// The largest head of a request, bytes: a token of 8 KB and then some.
const HEAD_MAX: usize = 32 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("{key}: cannot listen on {address}: {}", reason(.error))]
    Listen {
        /// The key of the setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The certificate or key cannot be used.
    #[error("api.tls: {0}")]
    Tls(#[from] TlsError),
    /// Serving ended though nobody asked for it.
    #[error("serving the API ended: {0}")]
    Ended(io::Error),
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another process; end it or choose another port".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need a privilege".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        _ => error.to_string(),
    }
}

/// An API whose addresses are bound; it answers once it runs.
pub struct Server {
    public: (TcpListener, Router),
    admin: Option<(TcpListener, Router)>,
    tls: Option<Certificate>,
    reload: Reload,
    settings: ApiSettings,
}

/// Has what can be read again while the API is served read again at once: its certificate. Asked twice before it is done is asked once.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Now.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

impl Api {
    /// Binds the addresses and reads the certificate.
    ///
    /// # Errors
    /// The address that cannot be had or the file that cannot be used, and what to do.
    pub fn bind(&self) -> Result<Server, ServeError> {
        let settings = self.0.settings.clone();
        let tls = settings.tls.as_ref().map(Certificate::read).transpose()?;
        let public = (listen("api.listen", settings.listen)?, routes::public(&self.0, settings.admin_listen.is_none()));
        let admin = match settings.admin_listen {
            Some(address) => Some((listen("api.admin_listen", address)?, routes::private(&self.0))),
            None => None,
        };
        Ok(Server { public, admin, tls, reload: Reload::default(), settings })
    }

    /// Binds and runs until told to stop; for when nothing is to happen in between.
    ///
    /// # Errors
    /// See [`Api::bind`] and [`Server::run`].
    pub async fn serve(&self, stop: CancellationToken) -> Result<(), ServeError> {
        self.bind()?.run(stop).await
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error| ServeError::Listen { key, address, error })
}

impl Server {
    /// Where phones and mobile-management servers come in.
    ///
    /// # Errors
    /// The system's.
    pub fn public_address(&self) -> io::Result<SocketAddr> {
        self.public.0.local_addr()
    }

    /// Where administrators and monitoring come in; the public address if they have none of their own.
    ///
    /// # Errors
    /// The system's.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.as_ref().map_or_else(|| self.public_address(), |(listener, _)| listener.local_addr())
    }

    /// The way to have the certificate read again at once.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Serves until told to stop; then requests under way are finished within `api.drain`, and idle connections closed.
    ///
    /// # Errors
    /// If an address ends being served before that.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { public, admin, tls: certificate, reload, settings } = self;
        let stop = stop.child_token();
        let tls = certificate.as_ref().map(|certificate| certificate.config.clone());
        let reloader = async {
            match certificate {
                Some(certificate) => certificate.keep_current(&reload.0, &stop).await,
                None => stop.cancelled().await,
            }
        };
        let both = async {
            let admin = async {
                match admin {
                    Some((listener, routes)) => one(listener, routes, tls.clone(), &settings, &stop).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(one(public.0, public.1, tls.clone(), &settings, &stop), admin)
        };
        let (served, ()) = tokio::join!(both_or_stop(both, &stop), reloader);
        served
    }
}

/// If one address fails, the other one and the reloader are told to stop as well.
async fn both_or_stop(both: impl Future<Output = io::Result<((), ())>>, stop: &CancellationToken) -> Result<(), ServeError> {
    let served = both.await;
    stop.cancel();
    served.map(|_| ()).map_err(ServeError::Ended)
}

async fn one(
    listener: TcpListener,
    routes: Router,
    tls: Option<RustlsConfig>,
    settings: &ApiSettings,
    stop: &CancellationToken,
) -> io::Result<()> {
    let handle = Handle::new();
    let guard = Guard::new(settings);
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
    configure(&mut server, settings);
    let ended = stop.clone();
    let drain = settings.drain.max(Duration::from_millis(1));
    let ending = async move {
        ended.cancelled().await;
        handle.graceful_shutdown(Some(drain));
    };
    let serving = async move {
        match tls {
            Some(config) => {
                let acceptor = RustlsAcceptor::new(config).handshake_timeout(settings.read_timeout).acceptor(guard);
                server.acceptor(acceptor).serve(service).await
            }
            None => server.acceptor(guard).serve(service).await,
        }
    };
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => served,
        () = ending => serving.await,
    }
}

fn configure<A>(server: &mut axum_server::Server<SocketAddr, A>, settings: &ApiSettings) {
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.read_timeout).max_buf_size(HEAD_MAX).max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.idle_timeout)
        .keep_alive_timeout(settings.read_timeout);
}
