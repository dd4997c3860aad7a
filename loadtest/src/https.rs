//! An HTTPS server of one's own connections: HTTP/1.1 over TLS, with the power to reset a connection in the middle of an answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections served at a time; further ones wait in the backlog.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a client may take over its TLS handshake, and over the head of a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// The body of an answer; an error in it ends the connection.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A whole body at once.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// What an answer may do to the connection that it travels on.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    reset: AtomicBool,
}

impl Connection {
    /// When the connection ends (by an error of the body or the handler), it ends with a TCP reset.
    pub(crate) fn reset_at_end(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }
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
    H: Fn(http::Request<Incoming>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
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
    H: Fn(http::Request<Incoming>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<http::Response<Body>>> + Send + 'static,
{
    // Without it every small chunk waits for the peer's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let Ok(Ok(tls)) = tokio::time::timeout(PATIENCE, acceptor.accept(tcp)).await else {
        return;
    };
    let state = Arc::new(Connection::default());
    let io = TokioIo::new(Resettable { tls, state: Arc::clone(&state) });
    let service = service_fn(move |request| handler(request, Arc::clone(&state)));
    let served =
        hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(None).serve_connection(io, service).await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection ended");
    }
}

/// A TLS connection that can end with a reset instead of a farewell.
struct Resettable {
    tls: TlsStream<TcpStream>,
    state: Arc<Connection>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.state.reset.load(Ordering::Relaxed) {
            let _ = self.tls.get_ref().0.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
