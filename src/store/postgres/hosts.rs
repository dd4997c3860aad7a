//! Which of the configured hosts takes writes, and whether it is the database that it was before.

mod others;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::History;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};

use super::error::{Failure, Stage};
use crate::config::database_url::{PostgresUrl, SslMode};
use crate::config::secret::Secret;

/// How long connecting to one host may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the others may still take once one was found that takes writes.
const GRACE: Duration = Duration::from_millis(300);
/// The oldest server that the statements were written for.
const OLDEST_SERVER: i32 = 130_000;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Which database, and how often it was promoted.
    pub(super) history: History,
    /// Whether a standby keeps a copy of each commit before it is answered.
    pub(super) synchronous: bool,
}

/// The host in use; connections of another generation are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Primary {
    host: usize,
    pub(super) greeting: Greeting,
    /// Grows when another host, or another life of the same one, was found.
    pub(super) generation: u64,
}

/// A connection with the generation that it belongs to.
pub(super) struct Found {
    pub(super) connection: PgConnection,
    pub(super) primary: Primary,
}

/// Why no host can be used.
#[derive(Debug)]
enum Refusal {
    /// It did not answer, or is not ready.
    Away(String),
    /// It answers and takes no writes.
    Standby,
    /// It answers and cannot be used until a person helps.
    Wrong(String),
    /// It is a database with an older past than the one that was used before.
    Older,
}

pub(super) struct Hosts {
    targets: Vec<(String, PgConnectOptions)>,
    known: Mutex<Known>,
    /// One look at all hosts at a time; who waits for it uses what it found.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    primary: Option<Primary>,
    /// The furthest history that this process saw: it never goes back behind it.
    furthest: Option<History>,
    /// When the hosts that are not in use were asked last.
    others_asked: Option<tokio::time::Instant>,
}

impl Hosts {
    pub(super) fn new(url: &PostgresUrl, password: Option<&Secret>, statement: Duration) -> Self {
        let target = |(host, port): &(String, u16)| {
            let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            (name, options(url, host, *port, password, statement))
        };
        Self { targets: url.hosts.iter().map(target).collect(), known: Mutex::default(), looking: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation in use, 0 before the first look.
    pub(super) fn generation(&self) -> u64 {
        self.known().primary.as_ref().map_or(0, |primary| primary.generation)
    }

    /// Whether a standby of the host in use keeps a copy of each commit before it is answered.
    pub(super) fn synchronous(&self) -> bool {
        self.known().primary.as_ref().is_some_and(|primary| primary.greeting.synchronous)
    }

    /// A connection to the host in use; if that is away or has changed, to the one that all hosts are asked for.
    pub(super) async fn connect(&self) -> Result<Found, StoreError> {
        let primary = self.known().primary.clone();
        if let Some(primary) = &primary
            && let Ok((connection, greeting)) = self.greet(primary.host).await
            && greeting.history == primary.greeting.history
        {
            return Ok(Found { connection, primary: primary.clone() });
        }
        let look = self.looking.lock().await;
        let newer = self.known().primary.clone().filter(|now| Some(now.generation) != primary.as_ref().map(|then| then.generation));
        match newer {
            Some(newer) => {
                drop(look);
                match self.greet(newer.host).await {
                    Ok((connection, greeting)) if greeting.history == newer.greeting.history => Ok(Found { connection, primary: newer }),
                    Ok(_) => Err(StoreError::Unavailable("the database server was replaced at this moment".into())),
                    Err(refusal) => Err(self.none(&[(newer.host, refusal)])),
                }
            }
            None => self.look().await,
        }
    }

    /// A connection to the best of all hosts, whichever was in use before.
    pub(super) async fn discover(&self) -> Result<Found, StoreError> {
        let _look = self.looking.lock().await;
        self.look().await
    }

    async fn look(&self) -> Result<Found, StoreError> {
        let mut asked: FuturesUnordered<_> = (0..self.targets.len()).map(|host| async move { (host, self.greet(host).await) }).collect();
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        while let Some((host, answer)) =
            if found.is_empty() { asked.next().await } else { tokio::time::timeout(GRACE, asked.next()).await.unwrap_or(None) }
        {
            match answer {
                Ok((connection, greeting)) => found.push((host, connection, greeting)),
                Err(refusal) => refused.push((host, refusal)),
            }
        }
        let (furthest, former) = {
            let known = self.known();
            (known.furthest.clone(), known.primary.clone())
        };
        found.retain(|(host, _, greeting)| match furthest.as_ref().map(|furthest| refusal(furthest, &greeting.history)) {
            Some(Some(refusal)) => {
                refused.push((*host, refusal));
                false
            }
            _ => true,
        });
        // Between equals the one in use stays in use, then the one that is named first.
        let rank = |host: usize, greeting: &Greeting| {
            let used = former.as_ref().is_some_and(|former| former.host == host);
            (greeting.history.timeline, used, std::cmp::Reverse(host))
        };
        let best = found.into_iter().max_by_key(|(host, _, greeting)| rank(*host, greeting));
        let Some((host, connection, greeting)) = best else { return Err(self.none(&refused)) };
        Ok(Found { connection, primary: self.use_host(host, greeting) })
    }

    /// Notes which host is in use from here on.
    fn use_host(&self, host: usize, greeting: Greeting) -> Primary {
        let mut known = self.known();
        let generation = match &known.primary {
            Some(former) if former.host == host && former.greeting == greeting => former.generation,
            former => former.as_ref().map_or(0, |former| former.generation) + 1,
        };
        if known.primary.as_ref().is_none_or(|former| former.generation != generation) {
            tracing::info!(host = %self.targets[host].0, timeline = greeting.history.timeline, "using this database server");
        }
        let primary = Primary { host, greeting, generation };
        known.furthest = Some(primary.greeting.history.clone());
        known.primary = Some(primary.clone());
        primary
    }

    /// Connects to a host and asks who it is.
    async fn greet(&self, host: usize) -> Result<(PgConnection, Greeting), Refusal> {
        let connecting = async {
            let mut connection = self.targets[host].1.connect().await?;
            let row: (bool, String, i64, bool, i32) =
                sqlx::query_as(include_str!("queries/greeting.sql")).fetch_one(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, row))
        };
        let answer = match tokio::time::timeout(CONNECT, connecting).await {
            Ok(answer) => answer.map_err(|error| match Failure::from(error).at(Stage::Before) {
                StoreError::Unusable(text) => Refusal::Wrong(text),
                StoreError::Unavailable(text) | StoreError::OutcomeUnknown(text) => Refusal::Away(text),
            }),
            Err(_) => Err(Refusal::Away(format!("no answer within {} s", CONNECT.as_secs()))),
        };
        let (connection, (writable, system_id, timeline, synchronous, version)) = answer?;
        if version < OLDEST_SERVER {
            return Err(Refusal::Wrong(format!("PostgreSQL {} is too old: 13 or newer is needed", version / 10_000)));
        }
        if !writable {
            return Err(Refusal::Standby);
        }
        let timeline = u32::try_from(timeline).unwrap_or(0);
        Ok((connection, Greeting { history: History { system_id: system_id.into(), timeline }, synchronous }))
    }

    /// What is to be said when no host can be used.
    fn none(&self, refused: &[(usize, Refusal)]) -> StoreError {
        let mut refused: Vec<&(usize, Refusal)> = refused.iter().collect();
        refused.sort_by_key(|(host, _)| *host);
        let text = |(host, refusal): &&(usize, Refusal)| {
            let why = match refusal {
                Refusal::Away(text) | Refusal::Wrong(text) => text.as_str(),
                Refusal::Standby => "is a read replica or takes no writes",
                Refusal::Older => "is older than the one that was used before, or another one",
            };
            format!("{}: {why}", self.targets[*host].0)
        };
        let texts: Vec<String> = refused.iter().map(text).collect();
        let mut text = format!("no database server of store.url can be used ({})", texts.join("; "));
        // As long as one may come back by itself it is worth trying again; where one took writes before, a standby is about to.
        let before = self.known().furthest.is_some();
        let away = refused.iter().any(|(_, refusal)| match refusal {
            Refusal::Away(_) | Refusal::Older => true,
            Refusal::Standby => before,
            Refusal::Wrong(_) => false,
        });
        if !away && refused.iter().all(|(_, refusal)| matches!(refusal, Refusal::Standby)) {
            text.push_str(": name all hosts of the database there, the one that takes writes among them");
        }
        if away || refused.is_empty() { StoreError::Unavailable(text) } else { StoreError::Unusable(text) }
    }
}

/// Why a database with that history must not be used after one with the furthest.
fn refusal(furthest: &History, found: &History) -> Option<Refusal> {
    (found.system_id != furthest.system_id || found.timeline < furthest.timeline).then_some(Refusal::Older)
}

fn options(url: &PostgresUrl, host: &str, port: u16, password: Option<&Secret>, statement: Duration) -> PgConnectOptions {
    let mode = match url.ssl {
        SslMode::Disable => PgSslMode::Disable,
        SslMode::Allow => PgSslMode::Allow,
        SslMode::Prefer => PgSslMode::Prefer,
        SslMode::Require => PgSslMode::Require,
        SslMode::VerifyCa => PgSslMode::VerifyCa,
        SslMode::VerifyFull => PgSslMode::VerifyFull,
    };
    let mut options = PgConnectOptions::new_without_pgpass().host(host).port(port).username(&url.user).database(&url.database);
    options = options.ssl_mode(mode).application_name("postrider").statement_cache_capacity(200).disable_statement_logging();
    // Ours answer within their own deadline whatever the server is set to; mail batches may trade a standby's copy for speed, ownership may not.
    options = options.options([
        ("statement_timeout", statement.as_millis().to_string().as_str()),
        ("lock_timeout", "1000"),
        ("idle_in_transaction_session_timeout", "5000"),
        ("default_transaction_isolation", "read committed"),
        ("synchronous_commit", "local"),
        ("jit", "off"),
        // A client that takes nothing any more holds no locks for as long as the system would resend.
        ("tcp_user_timeout", "10000"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
    ]);
    // Always set: the library would take one from the environment, past what was checked.
    options = options.password(password.map_or("", Secret::expose));
    if let Some(roots) = &url.ssl_roots {
        options = options.ssl_root_cert(roots);
    }
    if let Some((certificate, key)) = &url.ssl_client {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    options
}

/// Shared by the pool and the heartbeat.
pub(super) type SharedHosts = Arc<Hosts>;
