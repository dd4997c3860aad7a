//! Connections of clients to Google: HTTP/2 or HTTP/1.1, ended by goodbye or by a cut.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::push_faults::Fault;
use crate::socket::{Cut, Socket};

use super::Service;

use super::scheme::Lenient;
use super::send::{Answer, Arrival};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// A message is 4 KiB; what surrounds it is less.
const MAX_BODY: usize = 64 * 1024;
/// After a goodbye the client closes; one that does not is closed on.
const LINGER: Duration = Duration::from_secs(5);

/// What a handler may do to its connection.
#[derive(Clone)]
struct Hold {
    cut: Cut,
    leave: Arc<Notify>,
}

pub(super) async fn listen(listener: TcpListener, service: Arc<Service>, cancel: CancellationToken, tasks: TaskTracker) {
    let acceptor = TlsAcceptor::from(Arc::clone(&service.options.tls));
    let stop = cancel.clone();
    crate::socket::listen(listener, stop, tasks, |tcp, _| serve(Arc::clone(&service), acceptor.clone(), tcp, cancel.clone())).await;
}

async fn serve(service: Arc<Service>, acceptor: TlsAcceptor, tcp: TcpStream, cancel: CancellationToken) {
    let (socket, cut) = Socket::new(tcp);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(socket)).await else {
        return;
    };
    let hold = Hold { cut, leave: Arc::new(Notify::new()) };
    let handler = {
        let hold = hold.clone();
        service_fn(move |request| handle(Arc::clone(&service), hold.clone(), request))
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1_000);
    let connection = builder.serve_connection(TokioIo::new(Lenient::new(tls)), handler);
    tokio::pin!(connection);
    tokio::select! {
        // How it ends is the client's business; the books are kept by the handlers.
        _ = connection.as_mut() => return,
        () = hold.leave.notified() => {}
        () = cancel.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LINGER, connection).await;
}

async fn handle(service: Arc<Service>, hold: Hold, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let collecting = Limited::new(body, MAX_BODY).collect();
    let body = match tokio::time::timeout(BODY_DEADLINE, collecting).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Ok(too_large()),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let now_s = jiff::Timestamp::now().as_second();
    if parts.uri.path() == "/token" {
        if let Some((status, retry_after_s)) = service.options.token_faults.meet(&hold.cut).await? {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            return Ok(Answer { status, retry_after_s, body: "{\"error\":\"temporarily_unavailable\"}".to_owned() }.into_response());
        }
        return Ok(service.token(&parts, &body, now_s).into_response());
    }
    let arrival = Arrival::now();
    let fault = service.options.faults.next();
    match fault {
        Fault::CutBefore => {
            service.cut_off("cut before it was taken");
            hold.cut.now();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Fault::GoAway => hold.leave.notify_one(),
        Fault::Slow(time) => tokio::time::sleep(time).await,
        _ => {}
    }
    let answer = service.send(&parts, &body, &arrival, fault);
    if fault == Fault::CutAfter {
        service.cut_off("cut before the answer");
        hold.cut.now();
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(answer.into_response())
}

fn too_large() -> Response<Full<Bytes>> {
    let answer = Answer { status: StatusCode::PAYLOAD_TOO_LARGE, retry_after_s: None, body: String::new() };
    answer.into_response()
}

impl Answer {
    fn into_response(self) -> Response<Full<Bytes>> {
        let mut builder = Response::builder().status(self.status).header("content-type", "application/json; charset=UTF-8");
        if let Some(seconds) = self.retry_after_s {
            builder = builder.header("retry-after", seconds);
        }
        builder.body(Full::new(Bytes::from(self.body))).expect("fixed names and numbers make fair headers")
    }
}
