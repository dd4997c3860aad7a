//! Calls of the mail path: each is carried out by one thread in one go, within a deadline, and may be given up at any time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use postrider_actors::ports::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::connection::{BUSY, CALL, Turns};
use super::error::{Failure, Stage};
use super::lane::Lane;
use crate::telemetry::metrics::{self, Statement};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 32;

/// The connections of the mail path: one that writes, a few that read.
pub(super) struct MailPath {
    writer: Lane,
    readers: Lane,
    file: Arc<File>,
}

struct File {
    path: PathBuf,
    max_pages: Option<u32>,
}

/// How far a call got, and whether anybody still waits for it.
#[derive(Debug, Default)]
struct Fate(AtomicU8);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Fate {
    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    /// From here on the call cannot be given up; `false` if it was.
    fn commits(&self) -> bool {
        self.0.compare_exchange(OPEN, COMMITTING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives the call up, if it did not come to its COMMIT; says where it stood.
    fn give_up(&self) -> Stage {
        match self.0.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Err(COMMITTING) => Stage::Committing,
            _ => Stage::Before,
        }
    }
}

/// A call under way; dropped, it is given up.
#[derive(Default)]
struct Waiting(Arc<Fate>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl MailPath {
    /// Connections are opened when they are needed.
    pub(super) fn new(path: &Path, readers: u32, max_pages: Option<u32>) -> Self {
        let file = Arc::new(File { path: path.to_owned(), max_pages });
        Self { writer: Lane::new("sqlite-write", 1), readers: Lane::new("sqlite-read", readers.max(1) as usize), file }
    }

    /// Runs `work` as one transaction when it has its turn to write. Given up before its COMMIT, it leaves nothing. What a power failure may
    /// take with it are the last transactions, all of them from one point on.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        turns: &Turns,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let call = Waiting::default();
        let (file, fate) = (Arc::clone(&self.file), Arc::clone(&call.0));
        timed(Statement::Write, &call, async {
            let turn = turns.next().await;
            let (reply, answer) = oneshot::channel();
            let handed = self.writer.hand(Box::new(move |connection| {
                let done = file.transaction(connection, &fate, work);
                drop(turn);
                // Whoever asked may be gone.
                let _ = reply.send(done);
            }));
            handed.map_err(|_| no_thread())?;
            answer.await.unwrap_or_else(|_| Err(lost(&call)))
        })
        .await
    }

    /// Runs `work`, which only reads, at once.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let call = Waiting::default();
        let (file, fate) = (Arc::clone(&self.file), Arc::clone(&call.0));
        timed(Statement::Read, &call, async {
            let (reply, answer) = oneshot::channel();
            let handed = self.readers.hand(Box::new(move |connection| {
                if fate.is_open() {
                    let done = file.reader(connection).and_then(work);
                    if connection.as_ref().is_some_and(|connection| !connection.is_autocommit()) {
                        *connection = None;
                    }
                    let _ = reply.send(done.map_err(|failure| failure.at(Stage::Before)));
                }
            }));
            handed.map_err(|_| no_thread())?;
            answer.await.unwrap_or_else(|_| Err(lost(&call)))
        })
        .await
    }

    /// Closes the connections.
    pub(super) fn close(&self) {
        self.readers.close();
        self.writer.close();
    }
}

/// Waits for a call within its deadline.
async fn timed<T>(statement: Statement, call: &Waiting, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let begun = tokio::time::Instant::now();
    let ended = tokio::time::timeout(CALL, work).await;
    metrics::store_seconds(statement, begun.elapsed().as_secs_f64());
    ended.unwrap_or_else(|_| Err(call.0.give_up().unanswered(format!("no answer within {} ms", CALL.as_millis()))))
}

fn lost(call: &Waiting) -> StoreError {
    call.0.give_up().unanswered("the call ended without an answer".into())
}

fn no_thread() -> StoreError {
    StoreError::Unavailable("no thread can be started for the database".into())
}

impl File {
    fn transaction<T>(
        &self,
        slot: &mut Option<Connection>,
        fate: &Fate,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let given_up = || StoreError::Unavailable("the call was given up".into());
        if !fate.is_open() {
            return Err(given_up());
        }
        let before = |failure: Failure| failure.at(Stage::Before);
        let connection = self.writer(slot).map_err(before)?;
        // Holds the write lock from its start: one that reads first and writes later could be refused half-way.
        run(connection, "BEGIN IMMEDIATE").map_err(before)?;
        let ended = match work(connection) {
            Ok(value) if fate.commits() => run(connection, "COMMIT").map(|()| value).map_err(|failure| failure.at(Stage::Committing)),
            Ok(_) => Err(given_up()),
            Err(failure) => Err(failure.at(Stage::Before)),
        };
        // When the disk is full SQLite may have rolled back by itself.
        if ended.is_err() && !connection.is_autocommit() && run(connection, "ROLLBACK").is_err() {
            *slot = None;
        }
        ended
    }

    fn writer<'a>(&self, slot: &'a mut Option<Connection>) -> Result<&'a Connection, Failure> {
        self.opened(slot, "PRAGMA wal_autocheckpoint = 4000")
    }

    fn reader<'a>(&self, slot: &'a mut Option<Connection>) -> Result<&'a Connection, Failure> {
        self.opened(slot, "PRAGMA query_only = ON")
    }

    /// The connection, opened if it was not; the file is there and in order, because the database was opened before.
    fn opened<'a>(&self, slot: &'a mut Option<Connection>, more: &str) -> Result<&'a Connection, Failure> {
        if slot.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            let pages = self.max_pages.map(|pages| format!("PRAGMA max_page_count = {pages};")).unwrap_or_default();
            // As the other connections to the file, whose comments say why.
            connection.execute_batch(&format!(
                "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST; \
                 PRAGMA journal_size_limit = 67108864; {pages} {more};"
            ))?;
            *slot = Some(connection);
        }
        Ok(slot.as_ref().expect("it was opened a moment ago"))
    }
}

/// One look at the file for several statements that read; what it costs to look is paid once.
pub(super) struct Look<'a>(&'a Connection);

impl<'a> Look<'a> {
    pub(super) fn begin(connection: &'a Connection) -> Result<Self, Failure> {
        run(connection, "BEGIN")?;
        Ok(Self(connection))
    }

    pub(super) fn end(self) -> Result<(), Failure> {
        run(self.0, "COMMIT")
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // The connection that cannot even do this is not used again.
            let _ = run(self.0, "ROLLBACK");
        }
    }
}

fn run(connection: &Connection, statement: &str) -> Result<(), Failure> {
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}
