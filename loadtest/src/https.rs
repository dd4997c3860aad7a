//! An HTTPS server of one's own connections: HTTP/1.1 over TLS, with the power to reset a connection in the middle of an answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::socket::{Cut, Socket};

/// Connections served at a time; further ones wait in the backlog.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a client may take over its TLS handshake.
const PATIENCE: Duration = Duration::from_secs(20);

/// The body of an answer; an error in it ends the connection.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A whole body at once.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// A server that answers until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Serving {
    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener and every connection, and waits until they are gone.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens on `bind` and answers each request by `handler`; a handler's error ends the connection without an answer.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn serve<H, F>(bind: SocketAddr, tls: Arc<rustls::ServerConfig>, handler: H) -> io::Result<Serving>
where
    H: Fn(http::Request<Incoming>, Cut) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<http::Response<Body>>> + Send + 'static,
{
    let listener = TcpListener::bind(bind).await?;
    let serving = Serving { addr: listener.local_addr()?, stop: CancellationToken::new(), tasks: TaskTracker::new() };
    let (stop, tasks) = (serving.stop.clone(), serving.tasks.clone());
    let acceptor = TlsAcceptor::from(tls);
    serving.tasks.spawn(async move {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = accept(&listener, &room) => accepted,
            };
            let Some((tcp, permit)) = accepted else {
                continue;
            };
            let (acceptor, handler, stop) = (acceptor.clone(), handler.clone(), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = connection(tcp, acceptor, handler) => {}
                }
                drop(permit);
            });
        }
    });
    Ok(serving)
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((tcp, _)) => Some((tcp, permit)),
        Err(error) => {
            // Out of file descriptors, or a connection that was aborted before it was taken: the next one may do better.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

async fn connection<H, F>(tcp: TcpStream, acceptor: TlsAcceptor, handler: H)
where
    H: Fn(http::Request<Incoming>, Cut) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<http::Response<Body>>> + Send + 'static,
{
    let (socket, cut) = Socket::new(tcp);
    let Ok(Ok(tls)) = tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await else {
        return;
    };
    let service = service_fn(move |request| handler(request, cut.clone()));
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection ended");
    }
}
