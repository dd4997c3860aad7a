//! Several HTTP/2 connections to one server, used by load, on which a request that was provably not processed is repeated and no other.
//!
//! Each lane is a client of its own and so a connection of its own. Until a first request on a fresh connection was answered, a lane lets only one through:
//! APNs allows one stream until it has seen a good token, and a server's stream limit is known only then. The limit itself is obeyed by the HTTP/2 layer.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{ClientOptions, HttpError, HttpVersion, body, client, explain};

/// How often a request that was not processed is tried in all: a connection that closes gracefully costs one, its successor's stream limit another.
const ATTEMPTS: usize = 6;
/// Longest answer that is read: answers of push providers are some hundred bytes.
const MAX_ANSWER_BYTES: usize = 4096;
/// Longest explanation that is kept of a request that failed.
const MAX_TOLD: usize = 200;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; empty if it was longer than 4 KB.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server did definitely not act on the request.
    NotTaken(Arc<str>),
    /// The request was sent and what became of it is not known.
    Unknown(Arc<str>),
}

/// The connections to one server.
#[derive(Debug)]
pub struct Lanes {
    lanes: Box<[Lane]>,
}

impl Lanes {
    /// Prepares `connections` lanes; nothing is opened before the first request.
    ///
    /// # Errors
    /// When the client library refuses the options.
    pub fn new(options: &ClientOptions, connections: usize) -> Result<Self, HttpError> {
        let options = ClientOptions {
            version: HttpVersion::Http2,
            // The caller's deadline covers the whole exchange, and repeats are decided here.
            total_timeout: None,
            read_timeout: None,
            repeat_unprocessed: false,
            ..options.clone()
        };
        let lanes: Result<Vec<Lane>, HttpError> = (0..connections.max(1)).map(|_| Ok(Lane::new(client(&options)?))).collect();
        Ok(Self { lanes: lanes?.into_boxed_slice() })
    }

    /// Sends what `build` makes and reads the answer, by `deadline`. `build` is called again for a repeat.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn exchange(&self, deadline: Instant, build: impl Fn(&Client) -> RequestBuilder) -> Result<Answer, Failure> {
        let mut last = Failure::NotTaken("not sent".into());
        for _ in 0..ATTEMPTS {
            let lane = self.least_loaded();
            let _load = lane.load();
            match lane.exchange(deadline, &build).await {
                Err(Attempt::Repeat(reason)) => last = Failure::NotTaken(reason),
                Err(Attempt::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(last)
    }

    fn least_loaded(&self) -> &Lane {
        self.lanes.iter().min_by_key(|lane| lane.in_flight.load(Ordering::Relaxed)).expect("there is at least one lane")
    }
}

/// How one attempt failed.
enum Attempt {
    /// Not processed: another connection may take it.
    Repeat(Arc<str>),
    /// No use or no right to repeat.
    Failed(Failure),
}

#[derive(Debug)]
struct Lane {
    client: Client,
    in_flight: AtomicUsize,
    /// Counts connections that said goodbye, as far as it was noticed.
    epoch: AtomicU64,
    /// The epoch, plus one, in which a request was answered with good credentials.
    warm: AtomicU64,
    /// Held by the one request that a cold connection carries.
    first: Mutex<()>,
}

/// Counts a request on its lane for as long as it is under way.
struct Load<'a>(&'a AtomicUsize);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    fn new(client: Client) -> Self {
        Self { client, in_flight: AtomicUsize::new(0), epoch: AtomicU64::new(0), warm: AtomicU64::new(0), first: Mutex::new(()) }
    }

    fn load(&self) -> Load<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Load(&self.in_flight)
    }

    fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire) == self.epoch.load(Ordering::Acquire) + 1
    }

    async fn exchange(&self, deadline: Instant, build: &impl Fn(&Client) -> RequestBuilder) -> Result<Answer, Attempt> {
        let mut first = None;
        if !self.is_warm() {
            let waited = timeout_at(deadline, self.first.lock()).await;
            let guard = waited.map_err(|_| Attempt::Failed(Failure::NotTaken("no connection in time".into())))?;
            first = (!self.is_warm()).then_some(guard);
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let sent = timeout_at(deadline, send(build(&self.client))).await;
        let result = match sent {
            Err(_) => Err(Attempt::Failed(Failure::Unknown("no answer in time".into()))),
            Ok(Err(error)) => Err(fate(&error)),
            Ok(Ok(answer)) => Ok(answer),
        };
        match &result {
            Ok(answer) if answer.status != StatusCode::FORBIDDEN && answer.status != StatusCode::UNAUTHORIZED => {
                // Nobody warms the successor of a connection that is leaving: the epoch must still be the same.
                self.warm.fetch_max(epoch + 1, Ordering::AcqRel);
            }
            Err(_) => {
                // The next connection starts cold; only the first to notice counts.
                let _ = self.epoch.compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Acquire);
            }
            Ok(_) => {}
        }
        drop(first);
        result
    }
}

async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    // The status has said whether the request was acted on; a body that is too long or breaks off costs only the reason.
    let body = body(response, MAX_ANSWER_BYTES).await.unwrap_or_default();
    Ok(Answer { status, headers, body })
}

/// The causes, bounded and in plain letters: the peer has a say in them, and they are kept with the push.
fn told(error: &reqwest::Error) -> Arc<str> {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
    explain(error).chars().take(MAX_TOLD).map(plain).collect::<String>().into()
}

/// Whether a request that failed may have been acted on (RFC 9113, section 6.8 on GOAWAY and 8.7 on retries).
fn fate(error: &reqwest::Error) -> Attempt {
    let text = told(error);
    if error.is_connect() || error.is_builder() {
        return Attempt::Failed(Failure::NotTaken(text));
    }
    let mut cause = error.source();
    while let Some(this) = cause {
        // The request never left the queue of a connection that ended.
        if this.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return Attempt::Repeat(text);
        }
        if let Some(h2) = this.downcast_ref::<h2::Error>() {
            // A stream fails with the peer's GOAWAY only if its number is above the last one that the peer looked at.
            let left_behind = h2.is_go_away() && h2.is_remote();
            let refused = h2.is_reset() && h2.is_remote() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            if left_behind || refused {
                return Attempt::Repeat(text);
            }
        }
        cause = this.source();
    }
    Attempt::Failed(Failure::Unknown(text))
}
