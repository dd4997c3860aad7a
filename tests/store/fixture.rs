//! Stores on files in folders that vanish with the test.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postrider::clock::SystemClock;
use postrider::store::{Options, SqliteStore};
use postrider_actors::testing::conformance::Fixture;
use tempfile::TempDir;

/// One folder for each store that a clause asks for.
#[derive(Default)]
pub struct Sqlite {
    folders: Mutex<Vec<TempDir>>,
}

pub fn options() -> Options {
    Options::new(Arc::new(SystemClock::default()))
}

pub async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, options()).await.expect("the file opens")
}

#[async_trait]
impl Fixture for Sqlite {
    type Store = SqliteStore;

    async fn store(&self) -> SqliteStore {
        let folder = TempDir::new().unwrap();
        let path: PathBuf = folder.path().join("postrider.db");
        self.folders.lock().unwrap().push(folder);
        open(&path).await
    }

    async fn process(&self, of: &SqliteStore) -> SqliteStore {
        open(of.path()).await
    }

    async fn kill(&self, store: SqliteStore) {
        drop(store);
    }
}
