//! Databases that nodes must leave alone.

use crate::cluster::Standby;
use crate::node::process::Process;
use crate::postgres::LOCKED_ROLE;
use crate::refused::refused;
use crate::{assert_untouched, nodes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_not_repeated() {
    let cluster = nodes(1, Standby::None).await;
    cluster.server().lock_role().await;
    let config = cluster.variant(0, "wrong", "postgres://postgres@", &format!("postgres://{LOCKED_ROLE}:wrong%20secret@"));
    let mut node = Process::serve(&config);
    let (code, log) = node.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("check user and password") && log.contains(LOCKED_ROLE), "{log}");
    assert!(!log.contains("secret") && !log.contains("panicked"), "{log}");
    assert_untouched(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_not_migrated_is_told_and_left_empty() {
    let cluster = nodes(1, Standby::None).await;
    let empty = cluster.server().database().await;
    let config = cluster.variant(0, "empty", &format!("/{}?", cluster.database.name), &format!("/{}?", empty.name));
    refused(Process::serve(&config), 1, &[&empty.name, "schema 0", "run its `migrate` command"]).await;
    let text = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let tables: i64 = sqlx::query_scalar(text).fetch_one(&mut cluster.server().connect(&empty.name).await).await.expect("it is up");
    assert_eq!(tables, 0, "it made tables");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_told_and_left_alone() {
    let cluster = nodes(1, Standby::None).await;
    let text = "UPDATE schema_version SET version = 9999, understood_from = 9999";
    cluster.server().sql(&cluster.database.name, text).await;
    refused(Process::serve(&cluster.nodes[0].config), 1, &["schema 9999", "newer version of the program"]).await;
    assert_untouched(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_replica_as_the_only_host_is_told() {
    let cluster = nodes(1, Standby::Asynchronous).await;
    let (primary, replica) = (cluster.nodes[0].database[0].port(), cluster.nodes[0].database[1].port());
    let config = cluster.variant(0, "replica", &format!("127.0.0.1:{primary},"), "");
    let host = format!("127.0.0.1:{replica}");
    refused(Process::serve(&config), 1, &[&host, "read replica", "name all hosts of the database there"]).await;
    assert_untouched(&cluster).await;
}
