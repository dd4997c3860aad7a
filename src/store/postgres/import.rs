//! Taking over an embedded database: all of its rows in one transaction, or none.

use std::time::Duration;

use postrider_actors::ports::StoreError;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::call::{self, Progress, timed};
use super::error::Failure;
use super::{PostgresStore, SHARDS};
use crate::store::sqlite::export::Export;
use crate::store::transfer::{self, TABLES, Table, Transferred};
use crate::telemetry::metrics::Statement;

/// A million mailboxes take minutes.
const DEADLINE: Duration = Duration::from_secs(7_200);
/// Rows that travel together: sync states have several KB.
const PAGE: u32 = 200;

/// Users are counted anew, and whoever owns a shard already looks at it again.
const COUNT_USERS: &str = "UPDATE shard SET users = found.users, change_seq = change_seq + 1 FROM ( \
     SELECT m.shard_id, count(*) AS users FROM mailbox m WHERE EXISTS (SELECT 1 FROM device d WHERE d.mailbox_id = m.mailbox_id) GROUP BY m.shard_id \
     ) found WHERE shard.shard_id = found.shard_id";

/// Is told how many rows of a table went so far.
pub(in crate::store) type Told<'a> = &'a (dyn Fn(&'static str, u64) + Send + Sync);

/// Takes everything over, if there is nothing yet that it could be mixed with.
pub(in crate::store) async fn import(store: &PostgresStore, export: &Export, told: Told<'_>) -> Result<Transferred, StoreError> {
    let progress = Progress::default();
    timed(Statement::Write, DEADLINE, &progress, async {
        let mut lease = store.pool().lease().await?;
        let connection = lease.connection();
        call::begin(connection).await?;
        // What counts a million users at its end may take longer than a call of the mail path.
        connection.execute("SET LOCAL statement_timeout = 0").await?;
        refuse_filled(connection).await?;
        let mut transferred = Transferred::default();
        for table in &TABLES {
            transferred.rows.push((table.name, copy(connection, export, table, told).await?));
        }
        connection.execute(COUNT_USERS).await?;
        call::commit(connection, &progress).await?;
        lease.give_back();
        Ok(transferred)
    })
    .await
}

async fn refuse_filled(connection: &mut PgConnection) -> Result<(), Failure> {
    let text = "SELECT EXISTS (SELECT 1 FROM mailbox) OR EXISTS (SELECT 1 FROM api_key)";
    if sqlx::query_scalar(text).fetch_one(connection).await? {
        return Err(StoreError::Unusable(
            "the database has mailboxes or keys already: another one is taken over only into an empty one".into(),
        )
        .into());
    }
    Ok(())
}

async fn copy(connection: &mut PgConnection, export: &Export, table: &Table, told: Told<'_>) -> Result<u64, Failure> {
    let (name, columns) = (table.name, table.columns());
    let text = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{name}, $1::json)");
    let (mut after, mut count) = (i64::MIN, 0);
    loop {
        let page = export.page(table, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = *last;
        let mut rows: Vec<Value> = page.into_iter().map(|(_, row)| row).collect();
        rows.iter_mut().for_each(|row| transfer::place(row, SHARDS));
        let rows = Value::Array(rows).to_string();
        count += sqlx::query(AssertSqlSafe(text.clone())).bind(rows).execute(&mut *connection).await?.rows_affected();
        told(name, count);
    }
}
