//! Serving one address: the loop that lets connections in, and the life of each. Every connection ends by itself: by a deadline for the handshake, for finding out
//! the protocol and for each head, and after `idle_timeout` without a request, whatever else moves on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum_server::tls_rustls::RustlsConfig;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::api::guard::{Guarded, Slow};
use crate::api::seats::{NoSeat, Seats};
use crate::config::api::Api as ApiSettings;
use crate::descriptors;
use crate::repeats::Repeats;
use crate::telemetry::metrics::{LimitedBy, api_limited};

/// The largest head of a request, bytes: a token of 8 KB and then some.
const HEAD_MAX: usize = 32 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// First pause after the system refused a connection; it doubles up to [`PAUSE_MAX`] while it goes on.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What all connections of one address listened on share.
struct Shared {
    routes: Router,
    tls: Option<RustlsConfig>,
    settings: ApiSettings,
    builder: Builder<TokioExecutor>,
    stop: CancellationToken,
}

/// Serves until told to stop; then requests under way are finished within `api.drain`.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    routes: Router,
    tls: Option<RustlsConfig>,
    settings: &ApiSettings,
    seats: Arc<Seats>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let builder = builder(settings);
    let shared = Arc::new(Shared { routes, tls, settings: settings.clone(), builder, stop: stop.clone() });
    let connections = TaskTracker::new();
    let (full, failed) = (Repeats::default(), Repeats::default());
    let mut pause = PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let out = descriptors::out_of(&error);
                if let Some(name) = out {
                    descriptors::ran_out("accept", name);
                } else if let Some(more) = failed.due() {
                    tracing::warn!(%error, more, "a connection could not be accepted");
                }
                // Who hung up while waiting costs nothing; all else is waited for, as it would fail again at once.
                if out.is_some() || error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::select! { () = stop.cancelled() => break, () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX) }
                }
                continue;
            }
        };
        pause = PAUSE;
        let seat = match seats.take(peer.ip()) {
            Ok(seat) => seat,
            Err(why) => {
                api_limited(LimitedBy::Connections, 1);
                if let Some(more) = full.due() {
                    let which = match why {
                        NoSeat::Address => "api.max_connections_per_address: the address has too many connections",
                        NoSeat::All => "api.max_connections: there are too many connections",
                    };
                    tracing::warn!(target: "postrider::audit", %peer, more, "{which}; it was closed");
                }
                continue;
            }
        };
        let shared = shared.clone();
        connections.spawn(async move {
            connection(stream, peer, &shared).await;
            drop(seat);
        });
    }
    drop(listener);
    connections.close();
    let _ = timeout(settings.drain.max(Duration::from_millis(1)), connections.wait()).await;
    Ok(())
}

fn builder(settings: &ApiSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.read_timeout).max_buf_size(HEAD_MAX).max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.idle_timeout)
        .keep_alive_timeout(settings.read_timeout);
    builder
}

/// The life of one connection.
async fn connection(stream: TcpStream, peer: SocketAddr, shared: &Shared) {
    // A body that comes slowly or an answer that is not read is silence too, so a request has its own deadline before this one.
    let silence = shared.settings.idle_timeout.max(shared.settings.request_timeout);
    let _ = stream.set_nodelay(true);
    let stream = Guarded::new(stream, silence);
    match &shared.tls {
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.get_inner()).accept(stream);
            if let Ok(Ok(stream)) = timeout(shared.settings.read_timeout, handshake).await {
                answer(stream, peer, shared).await;
            }
        }
        None => answer(stream, peer, shared).await,
    }
}

/// Answers requests until the caller hangs up, none comes for `idle_timeout`, or the node stops.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, peer: SocketAddr, shared: &Shared) {
    let activity = Arc::new(Activity::default());
    let service = hyper::service::service_fn(|mut request: Request<Incoming>| {
        let (busy, routes) = (activity.begin(), shared.routes.clone());
        request.extensions_mut().insert(ConnectInfo(peer));
        async move {
            let answer = routes.oneshot(request.map(Body::new)).await;
            drop(busy);
            answer
        }
    });
    let stream = Slow::new(stream, shared.settings.read_timeout);
    let serving = shared.builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let patience = tokio::select! {
        _ = &mut serving => return,
        () = activity.idle(shared.settings.idle_timeout) => shared.settings.read_timeout,
        () = shared.stop.cancelled() => shared.settings.drain,
    };
    serving.as_mut().graceful_shutdown();
    let _ = timeout(patience, serving).await;
}

/// How many requests of a connection are under way.
#[derive(Default)]
struct Activity {
    under_way: AtomicUsize,
    changed: Notify,
}

/// A request under way.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
        Busy(self.clone())
    }

    /// Ends when no request was under way for so long.
    async fn idle(&self, limit: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.under_way.load(Ordering::SeqCst) > 0 {
                changed.await;
            } else if timeout(limit, changed).await.is_err() {
                return;
            }
        }
    }
}
