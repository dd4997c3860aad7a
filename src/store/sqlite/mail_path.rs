//! Calls of the mail path: each is carried out by one thread in one go, within a deadline, and may be given up at any time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_actors::ports::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::connection::{BUSY, CALL, Turns};
use super::error::{Failure, Stage};
use super::lane::{Job, Lane};
use crate::telemetry::metrics::{self, Statement};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 32;

/// The connection of the mail path. One that reads and writes knows what it wrote: readers beside it would read the file's pages anew after each commit.
pub(super) struct MailPath {
    lane: Lane,
    reads: Arc<Reads>,
    file: Arc<File>,
}

struct File {
    path: PathBuf,
    max_pages: Option<u32>,
}

/// Calls that read and wait for the thread: all of them share one look at the file. At most as many as there are calls under way.
#[derive(Default)]
struct Reads(Mutex<Vec<Job>>);

impl Reads {
    fn queue(&self) -> MutexGuard<'_, Vec<Job>> {
        // It is whole after any of its operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the first, so that the queue is to be handed over.
    fn push(&self, read: Job) -> bool {
        let mut queue = self.queue();
        queue.push(read);
        queue.len() == 1
    }
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
    /// The connection is opened when it is needed.
    pub(super) fn new(path: &Path, max_pages: Option<u32>) -> Self {
        Self { lane: Lane::new("sqlite-mail"), reads: Arc::default(), file: Arc::new(File { path: path.to_owned(), max_pages }) }
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
            let handed = self.lane.hand(Box::new(move |connection| {
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

    /// Runs `work`, which only reads, together with the other calls that are made at this moment. To be awaited where it is called: one that is kept
    /// and not polled keeps the others waiting, until it is dropped.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let call = Waiting::default();
        let (file, fate) = (Arc::clone(&self.file), Arc::clone(&call.0));
        timed(Statement::Read, &call, async {
            let (reply, answer) = oneshot::channel();
            let first = self.reads.push(Box::new(move |connection| {
                if fate.is_open() {
                    let done = file.connection(connection).and_then(work);
                    // Whoever asked may be gone.
                    let _ = reply.send(done.map_err(|failure| failure.at(Stage::Before)));
                }
            }));
            if first {
                let _others = HandOver(self);
                // Tasks that are ready now may want to read as well; to wake the thread costs more than most reads.
                tokio::task::yield_now().await;
            }
            answer.await.unwrap_or_else(|_| Err(lost(&call)))
        })
        .await
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.lane.close();
    }
}

/// Hands the waiting reads over when dropped: those of others too, though the one that came first be given up.
struct HandOver<'a>(&'a MailPath);

impl Drop for HandOver<'_> {
    fn drop(&mut self) {
        let (reads, file) = (Arc::clone(&self.0.reads), Arc::clone(&self.0.file));
        let look = move |connection: &mut Option<Connection>| {
            let reads = std::mem::take(&mut *reads.queue());
            file.look(connection, reads);
        };
        // Without a thread nobody is answered, and dropping the queue tells them so.
        if self.0.lane.hand(Box::new(look)).is_err() {
            self.0.reads.queue().clear();
        }
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
    StoreError::Unavailable("the database is closed, or no thread can be started for it".into())
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
        let connection = self.connection(slot).map_err(before)?;
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

    /// Carries reads out in one look at the file. Those of a look that cannot begin are dropped, which tells whoever asked.
    fn look(&self, slot: &mut Option<Connection>, reads: Vec<Job>) {
        if self.connection(slot).and_then(begin_look).is_err() {
            *slot = None;
            return;
        }
        for read in reads {
            // A panic costs one call and the connection.
            if catch_unwind(AssertUnwindSafe(|| read(slot))).is_err() {
                *slot = None;
            }
        }
        if slot.as_ref().is_some_and(|connection| !connection.is_autocommit() && run(connection, "COMMIT").is_err()) {
            *slot = None;
        }
    }

    /// The connection, opened if it was not; the file is there and in order, because the database was opened before.
    fn connection<'a>(&self, slot: &'a mut Option<Connection>) -> Result<&'a Connection, Failure> {
        if slot.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            let pages = self.max_pages.map(|pages| format!("PRAGMA max_page_count = {pages};")).unwrap_or_default();
            // As the other connections to the file, whose comments say why.
            connection.execute_batch(&format!(
                "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST; \
                 PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 4000; {pages}"
            ))?;
            *slot = Some(connection);
        }
        Ok(slot.as_ref().expect("it was opened a moment ago"))
    }
}

/// Begins to read. The first look at the file is part of it: a file that another process keeps for itself is waited for once, and not by each read.
fn begin_look(connection: &Connection) -> Result<(), Failure> {
    run(connection, "BEGIN")?;
    connection.prepare_cached("SELECT 1 FROM cluster")?.exists([])?;
    Ok(())
}

fn run(connection: &Connection, statement: &str) -> Result<(), Failure> {
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}
