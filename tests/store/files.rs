//! Files that cannot be used: each is refused with what to do about it, and none is harmed.

use std::path::Path;

use postrider::store::{Options, SqliteStore};
use postrider_actors::ports::{ClusterStore as _, MailboxStore as _, StoreError};
use postrider_actors::testing::conformance::world::{LONG, World, beat, join};
use sqlx::{ConnectOptions as _, Executor as _};
use tempfile::TempDir;

use crate::fixture::{Sqlite, open, options};

async fn refused(path: &Path, options: Options, says: &str) {
    match SqliteStore::open(path, options).await {
        Err(StoreError::Unusable(text)) => assert!(text.contains(says), "{text}"),
        Err(other) => panic!("another refusal: {other:?}"),
        Ok(_) => panic!("the file was taken"),
    }
}

async fn sql(path: &Path, text: &'static str) {
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    connection.execute(text).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

#[tokio::test]
async fn a_file_of_garbage_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    let garbage = b"this is not a database at all, but long enough to be looked at ".repeat(100);
    std::fs::write(&path, &garbage).unwrap();
    refused(&path, options(), "not an SQLite database").await;
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    open(&path).await.close().await;
    sql(&path, "PRAGMA user_version = 9999").await;
    refused(&path, options(), "newer version").await;
}

#[tokio::test]
async fn an_older_schema_is_refused_where_it_may_not_be_migrated() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    refused(&path, Options { migrate: false, ..options() }, "`migrate` command").await;
    let store = open(&path).await;
    assert_eq!(store.schema_version().await.unwrap(), 4);
    assert_eq!(store.migrate().await.unwrap(), 0, "it is up to date");
    SqliteStore::open(&path, Options { migrate: false, ..options() }).await.unwrap();
}

#[tokio::test]
async fn another_program_s_database_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("other.db");
    sql(&path, "CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)").await;
    refused(&path, options(), "another program").await;
}

#[tokio::test]
async fn a_missing_folder_is_said_to_be_missing() {
    let folder = TempDir::new().unwrap();
    refused(&folder.path().join("missing/postrider.db"), options(), "folder").await;
}

#[tokio::test]
async fn the_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    let store = open(&path).await;
    store.join(&join(1, LONG)).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let holds_rows = !file.file_name().to_string_lossy().ends_with(".lock");
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert!(!holds_rows || mode == 0o600, "{:?} has mode {mode:o}", file.file_name());
    }
}

/// Runs as a user that may not write what belongs to another; root may write everything, so one thread gives it up.
fn as_a_stranger(work: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    });
    thread.join().unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let folder = TempDir::new().unwrap();
    set_mode(folder.path(), 0o555);
    let path = folder.path().join("postrider.db");
    as_a_stranger(async move { refused(&path, options(), "may the service's user write there").await });
    set_mode(folder.path(), 0o755);
}

#[test]
fn a_file_that_cannot_be_written_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    tokio::runtime::Runtime::new().unwrap().block_on(async { open(&path).await.close().await });
    set_mode(&path, 0o444);
    set_mode(folder.path(), 0o555);
    as_a_stranger(async move { refused(&path, options(), "needs write access").await });
    set_mode(folder.path(), 0o755);
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    open(&path).await.close().await;
    let pages = u32::try_from(std::fs::metadata(&path).unwrap().len() / 4096).unwrap();
    let full = Full { path: path.clone(), pages: pages + 30 };
    let world = World::new(&full).await;
    let mut seq = 0;
    let error = loop {
        let rows = (0..20).map(|n| world.row(seq * 100 + n)).collect();
        match world.store.sync_state_commit(&[world.entry(seq, rows)]).await {
            Ok(committed) => assert_eq!(committed.inserted.len(), 20),
            Err(error) => break error,
        }
        seq += 1;
    };
    let StoreError::Unusable(text) = &error else { panic!("another refusal: {error:?}") };
    assert!(text.contains("disk is full"), "{text}");
    assert!(seq > 0);
    let again = world.store.sync_state_commit(&[world.entry(seq, (0..20).map(|n| world.row(seq * 100 + n)).collect())]).await;
    assert_eq!(again, Err(error.clone()), "the next call meets the disk, not what the last one left behind");
    beat(&world.store, 1).await;
    assert_eq!(world.seq().await, seq, "the commit that failed left nothing");
    assert_eq!(world.pending().await.len(), usize::try_from(seq * 20).unwrap());
    world.store.close().await;
    let roomy = open(&path).await;
    let committed = roomy.sync_state_commit(&[world.entry(seq, vec![world.row(1_000_000)])]).await.unwrap();
    assert_eq!(committed.inserted.len(), 1);
}

/// A store whose file may grow by a few pages only.
struct Full {
    path: std::path::PathBuf,
    pages: u32,
}

#[async_trait::async_trait]
impl postrider_actors::testing::conformance::Fixture for Full {
    type Store = SqliteStore;

    async fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.path, Options { max_pages: Some(self.pages), ..options() }).await.unwrap()
    }

    async fn process(&self, of: &SqliteStore) -> SqliteStore {
        open(of.path()).await
    }

    async fn kill(&self, store: SqliteStore) {
        drop(store);
    }
}

#[tokio::test]
async fn a_lock_of_another_process_makes_a_call_wait_and_then_say_so() {
    let folders = Sqlite::default();
    let world = World::new(&folders).await;
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(world.store.path()).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = world.store.sync_state_commit(&[world.entry(0, vec![world.row(1)])]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(world.seq().await, 0, "reading goes on meanwhile");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(world.commit(0, vec![world.row(1)]).await.inserted.len(), 1);
}
