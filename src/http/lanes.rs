//! Several HTTP/2 connections to one server, used by load, on which a request that was provably not processed is repeated and no other.
//!
//! Each lane is a connection of its own. Until a first request on a fresh connection was answered, a lane lets only one through:
//! APNs allows one stream until it has seen a good token, and a server's stream limit is known only then. The limit itself is obeyed by the HTTP/2 layer.
//!
//! A request without an answer is its own trouble as long as others are answered. Three in a row, on one connection or on all together, and the connections
//! concerned are left. A lane whose connection ended without having answered anything waits before the next one, longer each time.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use super::ClientOptions;
use super::connection::{Connection, Fate, Opener, TIMEOUTS};

/// How often a request that was not processed is tried in all: a connection that closes gracefully costs one, its successor's stream limit another.
const ATTEMPTS: usize = 6;
/// How long a request waits for the first one on a cold connection before it looks for another lane.
const BEHIND_THE_FIRST: Duration = Duration::from_secs(2);
/// How long a lane waits after two connections that answered nothing; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it waits at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many connections in a row that answered nothing a person is told.
const TELL_AFTER: u32 = 3;

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
    /// Whose they are, for people.
    name: String,
    opener: Opener,
    lanes: Box<[Lane]>,
    /// Requests in a row, over all lanes, that got no answer in time.
    timeouts: AtomicU32,
    /// A person was told that the server answers nothing.
    told: AtomicBool,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("server", &self.opener.authority).field("lanes", &self.lanes).finish()
    }
}

impl Lanes {
    /// Prepares `connections` lanes to `https://authority`; nothing is opened before the first request. `None` if that is no server's address.
    #[must_use]
    pub fn new(name: &str, options: &ClientOptions, authority: Authority, connections: usize) -> Option<Self> {
        let lanes = (0..connections.max(1)).map(|_| Lane::default()).collect();
        let opener = Opener::new(options, authority)?;
        Some(Self { name: name.to_owned(), opener, lanes, timeouts: AtomicU32::new(0), told: AtomicBool::new(false) })
    }

    /// Makes a request and reads the answer, by `deadline`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn exchange(&self, deadline: Instant, call: &Call<'_>) -> Result<Answer, Failure> {
        let mut last = Failure::NotTaken("not sent".into());
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let lane = self.best();
            let _load = lane.load();
            match lane.exchange(&self.opener, deadline, call).await {
                Err(Attempt::Repeat(reason)) => {
                    last = Failure::NotTaken(reason);
                    attempts += 1;
                }
                Err(Attempt::Again) if Instant::now() < deadline => {}
                Err(Attempt::Again) => {
                    last = Failure::NotTaken("no connection in time".into());
                    break;
                }
                Err(Attempt::Rests(reason)) => {
                    last = Failure::NotTaken(reason);
                    break;
                }
                Err(Attempt::TimedOut(failure)) => {
                    self.timed_out();
                    last = failure;
                    break;
                }
                Err(Attempt::Failed(failure)) => {
                    last = failure;
                    break;
                }
                Ok(answer) => {
                    self.answered();
                    return Ok(answer);
                }
            }
        }
        self.tell(&last);
        Err(last)
    }

    /// The lane with the least to do, out of those where a request need not wait.
    fn best(&self) -> &Lane {
        let now = Instant::now();
        let order = |lane: &&Lane| {
            let under_way = lane.in_flight.load(Ordering::Relaxed);
            match lane.open_connection().map_or(0, |connection| connection.timeouts()) {
                0 => (lane.standing(now), under_way),
                // Silent of late: one request at a time may find out, and only if no other lane is idle.
                timeouts if under_way == 0 => (Standing::Ready, timeouts as usize),
                _ => (Standing::Silent, under_way),
            }
        };
        self.lanes.iter().min_by_key(order).expect("there is at least one lane")
    }

    fn answered(&self) {
        if self.timeouts.load(Ordering::Relaxed) > 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
        if self.told.load(Ordering::Relaxed) && self.told.swap(false, Ordering::AcqRel) {
            tracing::info!(server = %self.opener.authority, "{}: the server answers again", self.name);
        }
    }

    /// A server that answers nothing on any lane is not waited for on each of them by turns.
    fn timed_out(&self) {
        if self.timeouts.fetch_add(1, Ordering::AcqRel) + 1 >= TIMEOUTS {
            self.timeouts.store(0, Ordering::Release);
            self.lanes.iter().for_each(Lane::leave_if_silent);
        }
    }

    /// A server that answered nothing on three connections in a row is told once.
    fn tell(&self, failure: &Failure) {
        let barren = self.lanes.iter().map(|lane| lane.opening().barren).max().unwrap_or_default();
        if barren >= TELL_AFTER && !self.told.swap(true, Ordering::AcqRel) {
            let (Failure::NotTaken(reason) | Failure::Unknown(reason)) = failure;
            tracing::warn!(server = %self.opener.authority, %reason, "{}: the server answers nothing; it is tried once a minute and connection", self.name);
        }
    }
}

/// How one attempt failed.
enum Attempt {
    /// Not processed: another connection may take it.
    Repeat(Arc<str>),
    /// It never left: its connection ended before, or another request was the first on it for long. Another lane may be better. It costs no attempt: how often
    /// connections are opened is bounded.
    Again,
    /// No lane may open a connection at this moment; why the last one failed.
    Rests(Arc<str>),
    /// No answer in time.
    TimedOut(Failure),
    /// No use or no right to repeat.
    Failed(Failure),
}

/// When a lane may open its next connection.
#[derive(Debug, Default)]
struct Opening {
    /// Connections in a row that answered nothing.
    barren: u32,
    not_before: Option<Instant>,
    /// Why the last one failed.
    reason: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: AtomicUsize,
    current: Mutex<Option<Arc<Connection>>>,
    opening: Mutex<Opening>,
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

/// Where a request on a lane stands; the first is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It goes at once.
    Ready,
    /// Others on its connection got no answer in time.
    Silent,
    /// Another one is the first on a cold connection.
    Behind,
    /// No connection may be opened yet.
    Rests,
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

    fn opening(&self) -> MutexGuard<'_, Opening> {
        // It is whole after any of its operations.
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_connection(&self) -> Option<Arc<Connection>> {
        self.current().as_ref().filter(|connection| connection.is_open()).cloned()
    }

    fn standing(&self, now: Instant) -> Standing {
        match self.open_connection() {
            Some(connection) if connection.is_warm() => Standing::Ready,
            _ if self.first.try_lock().is_err() => Standing::Behind,
            None if self.opening().not_before.is_some_and(|at| now < at) => Standing::Rests,
            _ => Standing::Ready,
        }
    }

    fn leave_if_silent(&self) {
        if let Some(connection) = self.open_connection()
            && connection.timeouts() > 0
        {
            connection.leave();
        }
    }

    async fn exchange(&self, opener: &Opener, deadline: Instant, call: &Call<'_>) -> Result<Answer, Attempt> {
        let warm = || self.open_connection().filter(|connection| connection.is_warm());
        if let Some(connection) = warm() {
            return self.exchange_on(&connection, opener, deadline, call).await;
        }
        let patience = BEHIND_THE_FIRST.min(deadline.saturating_duration_since(Instant::now()));
        let first = timeout(patience, self.first.lock()).await.map_err(|_| Attempt::Again)?;
        if let Some(connection) = warm() {
            drop(first);
            return self.exchange_on(&connection, opener, deadline, call).await;
        }
        let connection = match self.open_connection() {
            Some(connection) => connection,
            None => self.open(opener, deadline).await?,
        };
        self.exchange_on(&connection, opener, deadline, call).await
    }

    /// Opens a connection, if it is time.
    async fn open(&self, opener: &Opener, deadline: Instant) -> Result<Arc<Connection>, Attempt> {
        let former = self.current().take();
        {
            let mut opening = self.opening();
            if former.as_ref().is_some_and(|former| !former.was_answered()) {
                opening.fails(None);
            }
            if opening.not_before.is_some_and(|at| Instant::now() < at) {
                return Err(Attempt::Rests(opening.reason.clone().unwrap_or_else(|| "the server answers nothing".into())));
            }
        }
        // Seldom, and large: in a place of its own, so that it is not part of each push.
        let opened = Box::pin(timeout_at(deadline, opener.open())).await;
        let opened = opened.unwrap_or_else(|_| Err("no connection in time".into())).map_err(|reason| {
            self.opening().fails(Some(&reason));
            Attempt::Failed(Failure::NotTaken(reason))
        })?;
        let opened = Arc::new(opened);
        *self.current() = Some(Arc::clone(&opened));
        Ok(opened)
    }

    async fn exchange_on(&self, connection: &Connection, opener: &Opener, deadline: Instant, call: &Call<'_>) -> Result<Answer, Attempt> {
        match connection.exchange(&opener.authority, deadline, call).await {
            Ok(answer) => {
                if !connection.is_warm() {
                    self.opening().works();
                    connection.set_warm(!matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED));
                }
                Ok(answer)
            }
            Err(Fate::NotSent(reason)) => {
                connection.leave();
                self.opening().reason = Some(reason);
                Err(Attempt::Again)
            }
            Err(Fate::LeftBehind(reason)) => {
                connection.leave();
                self.opening().reason = Some(Arc::clone(&reason));
                Err(Attempt::Repeat(reason))
            }
            Err(Fate::Refused(reason)) => {
                // One at a time from here on, until one is answered.
                connection.set_warm(false);
                Err(Attempt::Repeat(reason))
            }
            Err(Fate::Unknown(reason)) => Err(Attempt::Failed(Failure::Unknown(reason))),
            Err(Fate::Unsent(reason)) => {
                connection.timed_out();
                Err(Attempt::TimedOut(Failure::NotTaken(reason)))
            }
            Err(Fate::Unanswered) => {
                connection.timed_out();
                Err(Attempt::TimedOut(Failure::Unknown("no answer in time".into())))
            }
        }
    }
}

impl Opening {
    /// A connection could not be opened, or answered nothing.
    fn fails(&mut self, reason: Option<&Arc<str>>) {
        // One may be bad luck.
        let pause = if self.barren == 0 { Duration::ZERO } else { PAUSE * (1 << (self.barren - 1).min(10)) };
        self.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        self.barren = self.barren.saturating_add(1);
        if let Some(reason) = reason {
            self.reason = Some(Arc::clone(reason));
        }
    }

    /// A connection answers.
    fn works(&mut self) {
        if self.barren > 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests;
