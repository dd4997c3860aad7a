//! A connection for one kind of call alone, heartbeats or looks at the cluster: nobody else's work stands before them, and whose other end is lost is found by asking all hosts again.

use std::time::Duration;

use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::History;
use sqlx::{Executor as _, PgConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::error::Failure;
use super::hosts::SharedHosts;

/// How long a heartbeat may take: less than half of T.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(2500);
/// How long the server works on one of its statements.
const STATEMENT: &str = "SET statement_timeout = 2000";

pub(super) struct Pulse {
    hosts: SharedHosts,
    line: Mutex<Line>,
}

/// The connection, and how many there were before.
#[derive(Default)]
pub(super) struct Line {
    held: Option<Held>,
    links: u64,
}

pub(super) struct Held {
    pub(super) connection: PgConnection,
    /// Which database it leads to.
    pub(super) history: History,
    /// Its number: another one is a reconnect.
    pub(super) link: u64,
    generation: u64,
}

/// The connection in the hands of one call; unless it is given back it is closed.
pub(super) struct Turn<'a> {
    line: MutexGuard<'a, Line>,
    held: Option<Held>,
}

impl Pulse {
    pub(super) fn new(hosts: SharedHosts) -> Self {
        Self { hosts, line: Mutex::default() }
    }

    /// Waits for a turn, with a connection to the best of all hosts.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let mut line = self.line.lock().await;
        let held = line.held.take().filter(|held| held.generation == self.hosts.generation());
        let held = match held {
            Some(held) => {
                self.hosts.look_at_others();
                held
            }
            None => {
                let found = self.hosts.discover().await?;
                let mut connection = found.connection;
                connection.execute(STATEMENT).await.map_err(|error| Failure::from(error).at(super::error::Stage::Before))?;
                line.links += 1;
                Held { connection, history: found.primary.greeting.history, link: line.links, generation: found.primary.generation }
            }
        };
        Ok(Turn { line, held: Some(held) })
    }

    pub(super) async fn close(&self) {
        self.line.lock().await.held = None;
    }

    /// Whether a standby keeps a copy of each commit before it is answered.
    pub(super) fn synchronous(&self) -> bool {
        self.hosts.synchronous()
    }
}

impl Turn<'_> {
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.as_mut().expect("held until it is given back, which takes the turn")
    }

    /// The call ended well, and no transaction is open.
    pub(super) fn give_back(mut self) {
        self.line.held = self.held.take();
    }
}
