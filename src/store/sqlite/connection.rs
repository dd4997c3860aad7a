//! The connections to the file: one that writes, a few that read, and a deadline on every call.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_actors::ports::StoreError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::{Failure, Stage};
use super::mail_path::MailPath;
use crate::telemetry::metrics::{self, Statement};

/// How long a call may take, the wait for its turn included.
pub(super) const CALL: Duration = Duration::from_secs(5);
/// How long a heartbeat may take: less than half of T.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(2500);
/// How long SQLite waits for another process's write lock: less than [`HEARTBEAT`], so that the answer is SQLite's own.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// What a power failure may take with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The last transactions, all of them from one point on: sync states and the rows they cover are lost together and derived again.
    Mail,
    /// Nothing.
    Durable,
}

/// All connections to one file.
pub(super) struct Database {
    turns: Turns,
    readers: SqlitePool,
    mail_path: MailPath,
}

/// Turns to write.
#[derive(Clone)]
pub(super) struct Turns {
    /// Where all but heartbeats wait, so that at most one of them stands before a heartbeat.
    queue: Arc<Mutex<()>>,
    writer: Arc<Mutex<Writer>>,
}

impl Turns {
    /// Waits for the next one, first come, first served.
    pub(super) async fn next(&self) -> Turn {
        let place = self.queue.clone().lock_owned().await;
        Turn { writer: self.writer.clone().lock_owned().await, place: Some(place) }
    }
}

/// A turn to write: nobody else of this process does meanwhile.
pub(super) struct Turn {
    // Given back before the place in the queue: a heartbeat that waits comes next.
    writer: OwnedMutexGuard<Writer>,
    #[allow(dead_code, reason = "held for its Drop")]
    place: Option<OwnedMutexGuard<()>>,
}

impl Deref for Turn {
    type Target = Writer;
    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

/// The connection that writes what is not mail.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    /// What `PRAGMA synchronous` is set to; `None` while it is not known.
    durability: Option<Durability>,
    /// The last transaction did not end with a commit: what it left is to be looked at before the next one.
    unsettled: bool,
}

/// Notes how far a call got, so that its deadline can tell what to answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    committing: AtomicBool,
}

impl Progress {
    fn stage(&self) -> Stage {
        if self.committing.load(Ordering::Relaxed) { Stage::Committing } else { Stage::Before }
    }
}

/// An open transaction; dropped without a commit it rolls back, wherever its future was.
pub(super) struct Tx<'a> {
    inner: Transaction<'a, Sqlite>,
    progress: &'a Progress,
    unsettled: &'a mut bool,
}

impl Tx<'_> {
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.progress.committing.store(true, Ordering::Relaxed);
        self.inner.commit().await?;
        self.progress.committing.store(false, Ordering::Relaxed);
        *self.unsettled = false;
        Ok(())
    }
}

impl Deref for Tx<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.inner
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }
}

impl Writer {
    /// Begins a transaction that holds the write lock from its start: one that reads first and writes later could be refused half-way.
    pub(super) async fn begin<'a>(&'a mut self, durability: Durability, progress: &'a Progress) -> Result<Tx<'a>, sqlx::Error> {
        if self.unsettled && !self.settled().await {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => {
                self.durability = None;
                empty.insert(self.options.connect().await?)
            }
        };
        if self.durability != Some(durability) {
            // Forgotten first: a future dropped here leaves it open which one is set.
            self.durability = None;
            connection
                .execute(match durability {
                    Durability::Mail => "PRAGMA synchronous = NORMAL",
                    Durability::Durable => "PRAGMA synchronous = FULL",
                })
                .await?;
            self.durability = Some(durability);
        }
        self.unsettled = true;
        let inner = connection.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { inner, progress, unsettled: &mut self.unsettled })
    }

    /// Whether the connection works and is out of any transaction, once it has worked off what dropped calls left to it. When the disk is full SQLite
    /// rolls back by itself, and the driver, whose own rollback then fails, would believe for ever that it is in a transaction.
    async fn settled(&mut self) -> bool {
        match &mut self.connection {
            Some(connection) => connection.ping().await.is_ok() && !connection.is_in_transaction(),
            None => false,
        }
    }
}

impl Database {
    /// Opens the writer; readers are opened when they are needed.
    pub(super) async fn open(path: &Path, readers: u32, max_pages: Option<u32>) -> Result<Self, StoreError> {
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .command_buffer_size(1024)
            .row_buffer_size(256)
            .pragma("temp_store", "MEMORY")
            // What was removed is overwritten wherever that costs no further write.
            .pragma("secure_delete", "FAST")
            // 16 MB of log between checkpoints, so that one batch does not pay for the file's syncs each time; cut back to 64 MB after a peak.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        if let Some(pages) = max_pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        let connect = tokio::time::timeout(CALL, options.connect()).await;
        let connection = match connect {
            Ok(connected) => connected.map_err(|error| Failure::from(error).at(Stage::Before))?,
            Err(_) => return Err(StoreError::Unavailable("the database file did not open in time".into())),
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(readers.max(1))
            .acquire_timeout(CALL)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        let writer = Writer { options, connection: Some(connection), durability: Some(Durability::Mail), unsettled: false };
        let turns = Turns { queue: Arc::default(), writer: Arc::new(Mutex::new(writer)) };
        Ok(Self { turns, readers: pool, mail_path: MailPath::new(path, max_pages) })
    }

    /// Waits for a turn to write, first come, first served.
    pub(super) async fn writer(&self) -> Turn {
        self.turns.next().await
    }

    /// A heartbeat's turn: after whoever writes at the moment, at most one more, and before all others. The gate must not close because a thousand
    /// commits or registrations wait.
    pub(super) async fn writer_for_heartbeat(&self) -> Turn {
        Turn { writer: self.turns.writer.clone().lock_owned().await, place: None }
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Runs a call that only reads within its deadline.
    pub(super) async fn read<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, StoreError> {
        timed(Statement::Read, CALL, &Progress::default(), work).await
    }

    /// Runs a call of the mail path that reads.
    pub(super) async fn read_mail<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.mail_path.read(work).await
    }

    /// Runs a call of the mail path that writes, as one transaction.
    pub(super) async fn write_mail<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.mail_path.write(&self.turns, work).await
    }

    pub(super) async fn close(self: &Arc<Self>) {
        let this = Arc::clone(self);
        // Threads are waited for. A panic of theirs was told where it happened.
        let _ = tokio::task::spawn_blocking(move || this.mail_path.close()).await;
        self.readers.close().await;
        let mut writer = self.turns.writer.lock().await;
        if let Some(connection) = writer.connection.take() {
            // An error here leaves the log to be recovered by whoever opens the file next.
            drop(connection.close().await);
        }
    }
}

/// Runs a call that writes within its deadline; see [`timed`].
pub(super) async fn within<T>(
    deadline: Duration,
    progress: &Progress,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StoreError> {
    timed(Statement::Write, deadline, progress, work).await
}

/// Runs a call within its deadline. Past it the future is dropped, which rolls its transaction back unless COMMIT was asked for already.
async fn timed<T>(
    statement: Statement,
    deadline: Duration,
    progress: &Progress,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StoreError> {
    let begun = tokio::time::Instant::now();
    let ended = tokio::time::timeout(deadline, work).await;
    metrics::store_seconds(statement, begun.elapsed().as_secs_f64());
    match ended {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(failure.at(progress.stage())),
        Err(_) => Err(progress.stage().unanswered(format!("no answer within {} ms", deadline.as_millis()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn a_heartbeat_does_not_wait_behind_those_who_queue_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::open(&folder.path().join("a.db"), 1, None).await.unwrap());
        let (came, order) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
        let writing = database.writer().await;
        let ordinary = |_| {
            let (database, came, order) = (database.clone(), came.clone(), order.clone());
            tokio::spawn(async move {
                came.fetch_add(1, Ordering::Relaxed);
                let _turn = database.writer().await;
                order.lock().unwrap().push("commit");
                tokio::task::yield_now().await;
            })
        };
        let queued: Vec<_> = (0..100).map(ordinary).collect();
        while came.load(Ordering::Relaxed) < queued.len() {
            tokio::task::yield_now().await;
        }
        let beat = tokio::spawn({
            let (database, came, order) = (database.clone(), came.clone(), order.clone());
            async move {
                came.fetch_add(1, Ordering::Relaxed);
                let _turn = database.writer_for_heartbeat().await;
                order.lock().unwrap().push("heartbeat");
            }
        });
        while came.load(Ordering::Relaxed) <= queued.len() {
            tokio::task::yield_now().await;
        }
        drop(writing);
        beat.await.unwrap();
        for task in queued {
            task.await.unwrap();
        }
        let place = order.lock().unwrap().iter().position(|who| *who == "heartbeat").unwrap();
        assert!(place <= 1, "{place} went before the heartbeat");
    }
}
