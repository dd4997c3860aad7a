//! Database files that cannot be used: refused with what to do, and left alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use sqlx::SqlitePool;

use crate::node::World;
use crate::node::process::Process;
use crate::refused::refused;

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let world = World::start("").await;
    let database = world.open_database().await;
    sqlx::query("PRAGMA user_version = 9999").execute(&database).await.expect("it can be written");
    refused(world.spawn(), 1, &["postrider.db", "schema 9999", "newer version"]).await;
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&database).await.expect("it can be read");
    assert_eq!(version, 9999);
}

#[tokio::test]
async fn a_file_of_garbage_is_refused_and_left_alone() {
    let world = World::start("").await;
    world.rewrite("postrider.db", "garbage.db");
    let path = world.folder.path().join("garbage.db");
    let garbage = "this is not a database at all, but long enough to be looked at ".repeat(100);
    std::fs::write(&path, &garbage).expect("writable");
    refused(world.spawn(), 1, &["garbage.db", "not an SQLite database"]).await;
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), garbage);
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let world = World::start("").await;
    settle(&world.open_database().await).await;
    let mut bytes = std::fs::read(world.database()).expect("readable");
    // The header stays: everything behind it is gone.
    bytes[100..].fill(0xa5);
    std::fs::write(world.database(), bytes).expect("writable");
    refused(world.spawn(), 1, &["postrider.db", "damaged"]).await;
}

/// Moves everything from the log into the file, and closes it.
async fn settle(database: &SqlitePool) {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(database).await.expect("it can be written");
    database.close().await;
}

#[tokio::test]
async fn a_missing_folder_is_said_to_be_missing() {
    let world = World::start("").await;
    world.rewrite("postrider.db", "missing/postrider.db");
    refused(world.spawn(), 2, &["store.url", "missing does not exist", "create it"]).await;
}

#[tokio::test]
async fn a_folder_or_file_that_cannot_be_written_is_told() {
    let world = World::start("").await;
    settle(&world.open_database().await).await;
    let state = world.folder.path().join("state");
    std::fs::create_dir(&state).expect("writable");
    world.rewrite("postrider.db", "state/postrider.db");
    set_mode(&state, 0o555);
    refused(without_override(&world.config), 1, &["state/postrider.db", "may the service's user write there"]).await;

    set_mode(&state, 0o755);
    std::fs::copy(world.database(), state.join("postrider.db")).expect("writable");
    set_mode(&state.join("postrider.db"), 0o444);
    set_mode(&state, 0o555);
    refused(without_override(&world.config), 1, &["state/postrider.db", "needs write access"]).await;
    set_mode(&state, 0o755);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Starts a node that may not write what its modes forbid: root may, so one thread gives that up for its children.
fn without_override(config: &Path) -> Process {
    let config = config.to_owned();
    let thread = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE).expect("root may give up what it may");
        }
        Process::serve(&config)
    });
    thread.join().expect("starting does not panic")
}
