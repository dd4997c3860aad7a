//! POST requests over HTTP/1.1, on connections that are kept for the next one, with nothing in between that costs time on each request.
//!
//! For an edge that asks few servers much. Deadlines of an exchange are the caller's; only the opening of a connection has its own here.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use super::answer::{BodyError, unpacked};
use super::{Cause, ClientOptions, HttpConnector};

/// Why a request has no answer, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Http1Error {
    /// The connection was given up because nothing came any more.
    #[error("no answer in time")]
    Silent,
    /// It could not be opened, or broke; the causes, for people: without the address.
    #[error("{0}")]
    Broken(Cause),
}

impl From<legacy::Error> for Http1Error {
    fn from(error: legacy::Error) -> Self {
        match error.is_connect() {
            true => Self::Broken(Cause::of("no connection", &error)),
            false => Self::of_exchange("the exchange broke".into(), &error),
        }
    }
}

impl From<hyper::Error> for Http1Error {
    fn from(error: hyper::Error) -> Self {
        Self::of_exchange(format!("the exchange broke: {error}"), &error)
    }
}

impl Http1Error {
    fn of_exchange(text: String, error: &(dyn Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| (*error).source());
        let is_timeout = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
        if causes.any(|cause| cause.downcast_ref().is_some_and(is_timeout)) { Self::Silent } else { Self::Broken(Cause::of(text, error)) }
    }
}

/// Makes requests. At most one is under way on a connection; redirects are the caller's to judge, proxies are not asked.
/// A request that met a kept connection which the server has closed, and of which nothing was sent, is made again on another.
pub struct Http1 {
    pool: RwLock<Pool>,
    builder: legacy::Builder,
    connector: Connector,
    compressed: bool,
}

type Pool = legacy::Client<Connector, Full<Bytes>>;

impl Http1 {
    /// Connections are opened with the first requests. Of the options, those about deadlines of exchanges and HTTP/2 mean nothing here.
    #[must_use]
    pub fn new(options: &ClientOptions) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(options.pool_idle_timeout).pool_max_idle_per_host(options.pool_max_idle);
        let connector = Connector::new(options);
        let pool = RwLock::new(builder.build(connector.clone()));
        Self { pool, builder, connector, compressed: options.compressed }
    }

    /// Makes a request and waits for the head of its answer.
    ///
    /// # Errors
    /// [`Http1Error`].
    pub async fn post(&self, to: Uri, mut headers: HeaderMap, body: Bytes) -> Result<Reply, Http1Error> {
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        if self.compressed {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to;
        *request.headers_mut() = headers;
        let answer = self.pool.read().unwrap_or_else(PoisonError::into_inner).request(request);
        Ok(Reply(answer.await?))
    }

    /// Leaves all idle connections behind, and those under way to nobody after.
    pub fn leave_connections(&self) {
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = self.builder.build(self.connector.clone());
    }
}

/// The answer to a request: its head, and its body as it comes in.
pub struct Reply(Response<Incoming>);

impl Reply {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next bytes of the body, as they are on the wire; `None` at its end.
    ///
    /// # Errors
    /// [`Http1Error`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Http1Error> {
        while let Some(frame) = self.0.body_mut().frame().await {
            // Trailers say nothing here.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads the whole body of at most `max_bytes`, on the wire and unpacked.
    ///
    /// # Errors
    /// [`BodyError`]; nothing beyond the bound is kept.
    pub async fn whole(self, max_bytes: usize) -> Result<Bytes, BodyError> {
        let (head, body) = self.0.into_parts();
        let body = Limited::new(body, max_bytes).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
            true => BodyError::TooLong(max_bytes),
            false => BodyError::Broken(Cause::of(error.to_string(), &*error)),
        })?;
        let body = body.to_bytes();
        let encoding = head.headers.get(CONTENT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        if encoding.eq_ignore_ascii_case(b"gzip") && !body.is_empty() { unpacked(&body, max_bytes) } else { Ok(body) }
    }
}

/// Opens connections: name, TCP (addresses of both families) and TLS in one deadline.
#[derive(Clone)]
struct Connector(Arc<Way>);

struct Way {
    https: HttpsConnector<HttpConnector>,
    deadline: Duration,
}

/// The deadline of a connection is over.
#[derive(Debug, thiserror::Error)]
#[error("not in time")]
pub(super) struct Late;

impl Connector {
    fn new(options: &ClientOptions) -> Self {
        let names = Arc::new(DefaultServerNameResolver::default());
        let https = HttpsConnector::new(super::tcp(options), super::tls(options, &[b"http/1.1"]), options.https_only, names);
        Self(Arc::new(Way { https, deadline: options.connect_timeout }))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.0.deadline, self.0.https.clone().call(to));
        Box::pin(async move { connecting.await.map_err(|_| Late)? })
    }
}

#[cfg(test)]
mod tests;
