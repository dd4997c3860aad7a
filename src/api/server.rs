//! Listening: both addresses bound before anything is served, connections guarded, an orderly end within a deadline.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::seats::Seats;
use crate::api::tls::{Certificate, TlsError};
use crate::api::{Api, routes, serving};
use crate::config::api::Api as ApiSettings;
use crate::descriptors;

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
        let seats = |all| Seats::new(all, settings.max_connections_per_address, settings.trusted_proxies.clone());
        let admin_seats = descriptors::admin(settings.max_connections);
        let both = async {
            let admin = async {
                match admin {
                    Some((listener, routes)) => serving::serve(listener, routes, tls.clone(), &settings, seats(admin_seats), &stop).await,
                    None => Ok(()),
                }
            };
            let phones = seats(settings.max_connections);
            tokio::try_join!(serving::serve(public.0, public.1, tls.clone(), &settings, phones, &stop), admin)
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
