//! PostgreSQL, on servers of the tests' own: every clause of the ports' contracts, what only a server can do to a store, and databases that cannot be used.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "store_postgres/away.rs"]
mod away;
#[path = "store_postgres/fixture.rs"]
mod fixture;
#[path = "store_postgres/locks.rs"]
mod locks;
mod postgres;
#[path = "store_postgres/refusals.rs"]
mod refusals;

use fixture::Postgres;
use postgres::Server;
use sqlx::Row as _;

postrider_actors::conformance!(Postgres);
postrider_actors::conformance!(shared: Postgres);

async fn one<T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(server: &Server, database: &str, text: &str) -> T {
    let mut connection = server.connect(database).await;
    sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut connection).await.unwrap().get(0)
}

const TIMELINE: &str = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";

#[tokio::test]
async fn a_server_is_killed_and_started_again() {
    let server = Server::new();
    let database = server.database().await;
    server.sql(&database.name, "CREATE TABLE kept AS SELECT 1 AS one").await;
    server.kill();
    server.start();
    assert_eq!(one::<i32>(&server, &database.name, "SELECT one FROM kept").await, 1);
    server.stop();
    server.start();
    assert_eq!(one::<i32>(&server, &database.name, "SELECT one FROM kept").await, 1);
}

#[tokio::test]
async fn a_standby_is_promoted_to_a_timeline_of_its_own() {
    let server = Server::new();
    let database = server.database().await;
    server.sql(&database.name, "CREATE TABLE kept AS SELECT 1 AS one").await;
    let standby = server.standby("standby");
    assert!(one::<bool>(&standby, &database.name, "SELECT pg_is_in_recovery()").await);
    server.kill();
    standby.promote();
    assert_eq!(one::<i32>(&standby, &database.name, "SELECT one FROM kept").await, 1);
    assert_eq!(one::<String>(&standby, &database.name, TIMELINE).await, "00000002");
}
