//! The embedded database: one file, one process that owns it, the same code path as a cluster of one node.
//!
//! The mail path has a connection of its own, whose calls are one hop each (`mail_path.rs`, `lane.rs`); all else goes through the common library. One writes
//! at a time. What the mail path commits may lose its tail in a power failure (state and rows together, so that
//! the mails are derived again); ownership, migrations and what people register are durable when the call returns.

mod cluster;
mod connection;
mod deliveries;
mod devices;
mod error;
pub(in crate::store) mod export;
mod lane;
mod lock;
mod look;
mod mail_path;
mod mailboxes;
mod migrate;
mod registry;
mod registry_changes;
mod registry_devices;
mod registry_mailboxes;
mod takeover;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use postrider_actors::ports::{Clock, StoreError};
use postrider_actors::time::Timestamp;

use connection::Database;
use takeover::Ownership;

/// Shards of the embedded database.
pub const SHARDS: u16 = 256;

/// How a file is opened.
#[derive(Clone)]
pub struct Options {
    /// What rows are dated by.
    pub clock: Arc<dyn Clock>,
    /// Connections that read, at most.
    pub readers: u32,
    /// Whether the schema is made or brought up to date; if not, an older one is refused.
    pub migrate: bool,
    /// The file's largest size in pages of 4 KB; `None`: as large as the disk.
    pub max_pages: Option<u32>,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, readers: 4, migrate: true, max_pages: None }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("readers", &self.readers).field("migrate", &self.migrate).finish_non_exhaustive()
    }
}

/// A process's handle on one file; clones are the same process. Opening it takes no ownership: only `join` does, so that a
/// command-line tool may work on the file of a running service.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    ownership: Mutex<Ownership>,
    /// The last row that the retention looked at.
    retained: AtomicI64,
}

impl SqliteStore {
    /// Opens the file, makes it (readable by its owner only) if it is missing, and brings its schema up to date if the options say so.
    ///
    /// # Errors
    /// `Unusable`, with what to do about it: no database, another program's, a newer or (without `migrate`) older schema, not writable, disk full.
    /// `Unavailable` when another process holds the file's write lock for too long.
    pub async fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        make_private(path);
        let database = Arc::new(Database::open(path, options.readers, options.max_pages).await?);
        let inner =
            Inner { path: path.to_owned(), database, clock: options.clock, ownership: Mutex::default(), retained: AtomicI64::new(0) };
        let store = Self { inner: Arc::new(inner) };
        let version = store.schema_version().await?;
        if version < migrate::NEWEST && options.migrate {
            store.migrate().await?;
        } else if version < migrate::NEWEST {
            return Err(StoreError::Unusable(format!(
                "the database has schema {version}, this program needs {}: run its `migrate` command",
                migrate::NEWEST
            )));
        }
        Ok(store)
    }

    /// Brings the schema up to date; says how many files were applied.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn migrate(&self) -> Result<usize, StoreError> {
        migrate::migrate(&self.inner.database).await
    }

    /// The version of the schema in the file, 0 when it is empty.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        migrate::version(&self.inner.database).await
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Closes the connections; the lock is given back by `leave` or with the last handle.
    pub async fn close(&self) {
        self.inner.database.close().await;
    }

    fn database(&self) -> &Arc<Database> {
        &self.inner.database
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

/// Makes a missing file with mode 0600, because it will hold device tokens; SQLite gives its companions the same mode. What goes wrong here shows at opening.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    drop(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}
