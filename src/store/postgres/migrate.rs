//! Brings the schema of a shared database up to date, while nodes of the former version may still run, and refuses what is newer or not ours.
//!
//! Each file says from which version on a program can live with what it leaves behind: files that only add are no obstacle for nodes that are still to be
//! replaced, others are to be run when all of them know the change.

use std::time::Duration;

use postrider_actors::ports::StoreError;
use sqlx::{Executor as _, PgConnection};

use super::PostgresStore;
use super::call::{self, Progress, timed};
use super::error::Failure;
use crate::telemetry::metrics::Statement;

/// A file, and the oldest program (by the newest schema that it knows) that can work with what it leaves behind.
struct File {
    text: &'static str,
    understood_from: i64,
}

/// All files in order; the version of a file is its place, from 1.
const FILES: [File; 2] = [
    File { text: include_str!("../../../migrations/postgres/0001_begin.sql"), understood_from: 1 },
    File { text: include_str!("../../../migrations/postgres/0002_tokens_and_trail.sql"), understood_from: 1 },
];

/// The newest schema that this program knows.
pub(super) const NEWEST: i64 = FILES.len() as i64;

/// Larger than any of our transactions: a migration may rewrite a table, or wait for another node's.
const DEADLINE: Duration = Duration::from_secs(600);
/// "Pstr": one migration at a time, waited for as long as it takes. A table, however, that others use is not: whoever waits to lock it makes all of them wait
/// behind it, heartbeats too, so that is given up and the command is to be run again.
const LOCK: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(x'50737472'::int); \
                    SET LOCAL lock_timeout = 1000";
const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (id int PRIMARY KEY CHECK (id = 1), version bigint NOT NULL, understood_from bigint NOT NULL)";

/// The version of the schema in the database; 0 for an empty one.
pub(super) async fn version(store: &PostgresStore) -> Result<i64, StoreError> {
    call::reading!(store, |connection| check(connection).await?)
}

/// Applies what is missing; says how many files that were.
pub(super) async fn migrate(store: &PostgresStore) -> Result<usize, StoreError> {
    let progress = Progress::default();
    timed(Statement::Write, DEADLINE, &progress, async {
        let mut lease = store.pool().lease().await?;
        let connection = lease.connection();
        call::begin(connection).await?;
        // Read under the lock: two nodes that start together do not apply a file twice.
        connection.execute(LOCK).await?;
        let from = check(connection).await?;
        let mut applied = 0;
        for file in FILES.iter().skip(usize::try_from(from).unwrap_or(0)) {
            connection.execute(file.text).await?;
            applied += 1;
        }
        if applied > 0 {
            connection.execute(VERSION_TABLE).await?;
            let query = sqlx::query(
                "INSERT INTO schema_version VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
                 understood_from = greatest(schema_version.understood_from, excluded.understood_from)",
            );
            let understood = FILES.iter().map(|file| file.understood_from).max().unwrap_or(NEWEST);
            query.bind(NEWEST).bind(understood).execute(&mut *connection).await?;
        }
        call::commit(connection, &progress).await?;
        lease.give_back();
        Ok(applied)
    })
    .await
}

/// The version, if the database is one that this program may touch.
async fn check(connection: &mut PgConnection) -> Result<i64, Failure> {
    let (ours, others): (bool, bool) = sqlx::query_as(
        "SELECT to_regclass('schema_version') IS NOT NULL, \
         EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p'))",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !ours && others {
        return Err(StoreError::Unusable("the database holds tables of another program: make one for Postrider alone".into()).into());
    }
    if !ours {
        return Ok(0);
    }
    let (version, understood_from): (i64, i64) =
        sqlx::query_as("SELECT version, understood_from FROM schema_version").fetch_one(connection).await?;
    if understood_from > NEWEST {
        return Err(StoreError::Unusable(format!(
            "the database has schema {version}, this program knows {NEWEST}: a newer version of the program has changed it, use that one"
        ))
        .into());
    }
    Ok(version)
}

/// Refuses a schema that lacks what this program needs.
pub(super) fn refuse_older(version: i64) -> Result<(), StoreError> {
    if version < NEWEST {
        return Err(StoreError::Unusable(format!(
            "the database has schema {version}, this program needs {NEWEST}: run its `migrate` command"
        )));
    }
    Ok(())
}
