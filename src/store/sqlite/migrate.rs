//! Brings the schema of a file up to date, and refuses files that are newer or not ours.

use postrider_actors::ports::StoreError;
use sqlx::{AssertSqlSafe, Executor, SqliteConnection};

use super::connection::{Database, Durability, Progress, within};
use super::error::Failure;

/// All files in order; the version of a file is its place, from 1.
const FILES: [&str; 4] = [
    include_str!("../../../migrations/sqlite/0001_begin.sql"),
    include_str!("../../../migrations/sqlite/0002_cluster.sql"),
    include_str!("../../../migrations/sqlite/0003_no_settled_index.sql"),
    include_str!("../../../migrations/sqlite/0004_tokens_and_trail.sql"),
];

/// What `PRAGMA application_id` says of our files: "Pstr".
const APPLICATION: i32 = 0x5073_7472;

/// Larger than any of our transactions: a migration may rewrite a table.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(600);

/// The newest schema that this program knows.
pub(super) const NEWEST: i64 = FILES.len() as i64;

/// The version of the schema in the file; 0 for an empty file.
pub(super) async fn version(database: &Database) -> Result<i64, StoreError> {
    database.read(async { check(&mut *database.readers().acquire().await?).await }).await
}

/// Applies what is missing; says how many files that were.
pub(super) async fn migrate(database: &Database) -> Result<usize, StoreError> {
    let progress = Progress::default();
    within(DEADLINE, &progress, async {
        let mut writer = database.writer().await;
        let mut tx = writer.begin(Durability::Durable, &progress).await?;
        // Read under the write lock: two processes that start together do not apply a file twice.
        let from = check(&mut tx).await?;
        let missing = FILES.iter().skip(usize::try_from(from).unwrap_or(0));
        let mut applied = 0;
        for file in missing {
            tx.execute(*file).await?;
            applied += 1;
        }
        if applied > 0 {
            tx.execute(AssertSqlSafe(format!("PRAGMA user_version = {NEWEST}; PRAGMA application_id = {APPLICATION}"))).await?;
        }
        tx.commit().await?;
        Ok(applied)
    })
    .await
}

/// The version, if the file is one that this program may touch.
async fn check(connection: &mut SqliteConnection) -> Result<i64, Failure> {
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let (application,): (i64,) = sqlx::query_as("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let (tables,): (i64,) = sqlx::query_as("SELECT count(*) FROM sqlite_master").fetch_one(&mut *connection).await?;
    if tables > 0 && application != i64::from(APPLICATION) {
        return Err(StoreError::Unusable("the file is a database of another program: check the configured path".into()).into());
    }
    if version > NEWEST {
        return Err(StoreError::Unusable(format!(
            "the database has schema {version}, this program knows {NEWEST}: it was opened by a newer version, use that one"
        ))
        .into());
    }
    Ok(version)
}
