//! One call: its deadline, its transaction, what is tried again within it, and what is known when it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_actors::ports::StoreError;
use sqlx::{Executor as _, PgConnection};

use super::error::{Failure, Remedy, Stage};
use super::pool::Pool;
use crate::telemetry::metrics::{self, Statement};

/// The client's deadline is behind the server's, so that the answer is the server's own wherever there is one.
pub(super) const BEHIND: Duration = Duration::from_millis(500);
/// How often a call whose rows others changed under its hands begins anew; deadlocks and locks that are not granted take time and end at the deadline.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Begins a transaction that is answered when it is as durable as the server can make it.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = on";

/// Notes how far a call got, so that its deadline can tell what to answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    committing: AtomicBool,
}

impl Progress {
    pub(super) fn stage(&self) -> Stage {
        if self.committing.load(Ordering::Relaxed) { Stage::Committing } else { Stage::Before }
    }

    /// From here on an answer that gets lost leaves open what was written.
    pub(super) fn commits(&self, committing: bool) {
        self.committing.store(committing, Ordering::Relaxed);
    }
}

/// Counts the tries of one call.
#[derive(Debug, Default)]
pub(super) struct Tries {
    made: u32,
    reconnected: bool,
}

impl Tries {
    /// Whether to try again after this failure, on a connection that was `used` before; waits a moment if so.
    pub(super) async fn again(&mut self, failure: &Failure, used: bool, stage: Stage, pool: &Pool) -> bool {
        match failure.remedy() {
            Remedy::Again if self.made < TRIES => {
                self.made += 1;
                // Those who met one another do not meet again at once.
                tokio::time::sleep(PAUSE * self.made * rand::random_range(1..4)).await;
                true
            }
            Remedy::Reconnect => {
                pool.flush();
                let again = used && !self.reconnected && stage == Stage::Before;
                self.reconnected = true;
                again
            }
            Remedy::Again | Remedy::Fail => false,
        }
    }
}

/// Runs a call within its deadline. Past it the future is dropped, which closes its connection: the server rolls back unless it was told to commit already.
pub(super) async fn timed<T>(
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
        Err(_) => {
            let text = format!("no answer within {} ms", deadline.as_millis());
            Err(match progress.stage() {
                Stage::Before => StoreError::Unavailable(text),
                Stage::Committing => StoreError::OutcomeUnknown(text),
            })
        }
    }
}

pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), Failure> {
    connection.execute(BEGIN).await?;
    Ok(())
}

pub(super) async fn commit(connection: &mut PgConnection, progress: &Progress) -> Result<(), Failure> {
    progress.commits(true);
    connection.execute("COMMIT").await?;
    progress.commits(false);
    Ok(())
}

/// Undoes what the transaction did and goes on in a new one, whose commit then writes nothing: for what was refused and is no failure.
pub(super) async fn undo(connection: &mut PgConnection) -> Result<(), Failure> {
    connection.execute("ROLLBACK AND CHAIN").await?;
    Ok(())
}

/// Runs statements that only read, each seeing what was committed when it began: `reading!(store, |connection| query.fetch_all(connection).await?)`.
macro_rules! reading {
    ($store:expr, |$connection:ident| $work:expr) => {
        $crate::store::postgres::call::statement!(@ $store, $crate::telemetry::metrics::Statement::Read, false, $connection, $work)
    };
}

/// Runs one statement that commits by itself.
macro_rules! statement {
    ($store:expr, |$connection:ident| $work:expr) => {
        $crate::store::postgres::call::statement!(@ $store, $crate::telemetry::metrics::Statement::Write, true, $connection, $work)
    };
    (@ $store:expr, $kind:expr, $commits:expr, $connection:ident, $work:expr) => {{
        use $crate::store::postgres::{call, error::Failure};
        let (store, progress) = ($store, call::Progress::default());
        let work = async {
            let mut tries = call::Tries::default();
            loop {
                progress.commits(false);
                let mut lease = store.lease().await?;
                progress.commits($commits);
                let $connection = lease.connection();
                match async { Ok::<_, Failure>($work) }.await {
                    Ok(answer) => {
                        lease.give_back();
                        return Ok(answer);
                    }
                    Err(failure) => {
                        let used = lease.used();
                        drop(lease);
                        if !tries.again(&failure, used, progress.stage(), store.pool()).await {
                            return Err(failure);
                        }
                    }
                }
            }
        };
        call::timed($kind, store.deadline(), &progress, work).await
    }};
}

/// Runs statements as one durable transaction, begun anew when others are in its way.
macro_rules! transaction {
    ($store:expr, |$connection:ident| $work:expr) => {{
        use $crate::store::postgres::{call, error::Failure};
        let (store, progress) = ($store, call::Progress::default());
        let work = async {
            let mut tries = call::Tries::default();
            loop {
                progress.commits(false);
                let mut lease = store.lease().await?;
                let $connection = lease.connection();
                let outcome = async {
                    call::begin($connection).await?;
                    let answer = $work;
                    call::commit($connection, &progress).await?;
                    Ok::<_, Failure>(answer)
                };
                match outcome.await {
                    Ok(answer) => {
                        lease.give_back();
                        return Ok(answer);
                    }
                    Err(failure) => {
                        let used = lease.used();
                        drop(lease);
                        if !tries.again(&failure, used, progress.stage(), store.pool()).await {
                            return Err(failure);
                        }
                    }
                }
            }
        };
        call::timed($crate::telemetry::metrics::Statement::Write, store.deadline(), &progress, work).await
    }};
}

pub(super) use {reading, statement, transaction};
