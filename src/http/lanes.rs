//! Several HTTP/2 connections to one server, used by load, on which a request that was provably not processed is repeated and no other.
//!
//! Each lane is a connection of its own. Until a first request on a fresh connection was answered, a lane lets only one through:
//! APNs allows one stream until it has seen a good token, and a server's stream limit is known only then. The limit itself is obeyed by the HTTP/2 layer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::ClientOptions;
use super::connection::{Connection, Fate, Opener};

/// How often a request that was not processed is tried in all: a connection that closes gracefully costs one, its successor's stream limit another.
const ATTEMPTS: usize = 6;

/// What is asked of a server: a POST.
pub struct Call<'a> {
    /// What for; the server is the lanes'.
    pub path: PathAndQuery,
    /// Makes the headers, for each attempt.
    pub headers: &'a (dyn Fn() -> HeaderMap + Send + Sync),
    /// The body.
    pub body: Bytes,
}

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
pub struct Lanes {
    opener: Opener,
    lanes: Box<[Lane]>,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("server", &self.opener.authority).field("lanes", &self.lanes).finish()
    }
}

impl Lanes {
    /// Prepares `connections` lanes to `https://authority`; nothing is opened before the first request. `None` if that is no server's address.
    #[must_use]
    pub fn new(options: &ClientOptions, authority: Authority, connections: usize) -> Option<Self> {
        let lanes = (0..connections.max(1)).map(|_| Lane::default()).collect();
        Some(Self { opener: Opener::new(options, authority)?, lanes })
    }

    /// Makes a request and reads the answer, by `deadline`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn exchange(&self, deadline: Instant, call: &Call<'_>) -> Result<Answer, Failure> {
        let mut last = Failure::NotTaken("not sent".into());
        for _ in 0..ATTEMPTS {
            let lane = self.least_loaded();
            let _load = lane.load();
            match lane.exchange(&self.opener, deadline, call).await {
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

#[derive(Debug, Default)]
struct Lane {
    in_flight: AtomicUsize,
    current: Mutex<Option<Arc<Connection>>>,
    /// Held by the one request that a cold connection carries, while it is opened too.
    first: tokio::sync::Mutex<()>,
}

/// Counts a request on its lane for as long as it is under way.
struct Load<'a>(&'a AtomicUsize);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    fn load(&self) -> Load<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Load(&self.in_flight)
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        // It is whole after any of its operations.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_connection(&self) -> Option<Arc<Connection>> {
        self.current().as_ref().filter(|connection| connection.is_open()).cloned()
    }

    async fn exchange(&self, opener: &Opener, deadline: Instant, call: &Call<'_>) -> Result<Answer, Attempt> {
        let warm = || self.open_connection().filter(|connection| connection.is_warm());
        if let Some(connection) = warm() {
            return exchange_on(&connection, opener, deadline, call).await;
        }
        let late = || Attempt::Failed(Failure::NotTaken("no connection in time".into()));
        let first = timeout_at(deadline, self.first.lock()).await.map_err(|_| late())?;
        if let Some(connection) = warm() {
            drop(first);
            return exchange_on(&connection, opener, deadline, call).await;
        }
        let connection = match self.open_connection() {
            Some(connection) => connection,
            None => {
                // Seldom, and large: in a place of its own, so that it is not part of each push.
                let opened = Box::pin(timeout_at(deadline, opener.open())).await.map_err(|_| late())?;
                let opened = Arc::new(opened.map_err(|reason| Attempt::Failed(Failure::NotTaken(reason)))?);
                *self.current() = Some(Arc::clone(&opened));
                opened
            }
        };
        exchange_on(&connection, opener, deadline, call).await
    }
}

async fn exchange_on(connection: &Connection, opener: &Opener, deadline: Instant, call: &Call<'_>) -> Result<Answer, Attempt> {
    let result = timeout_at(deadline, connection.exchange(&opener.authority, call)).await;
    match result {
        Ok(Ok(answer)) => {
            if !matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
                connection.set_warm(true);
            }
            Ok(answer)
        }
        Ok(Err(fate)) => {
            // One at a time from here on, until one is answered.
            connection.set_warm(false);
            Err(match fate {
                Fate::LeftBehind(reason) => {
                    connection.leave();
                    Attempt::Repeat(reason)
                }
                Fate::Refused(reason) => Attempt::Repeat(reason),
                Fate::Unknown(reason) => Attempt::Failed(Failure::Unknown(reason)),
            })
        }
        Err(_) => {
            connection.set_warm(false);
            Err(Attempt::Failed(Failure::Unknown("no answer in time".into())))
        }
    }
}
