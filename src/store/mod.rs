//! The database: chooses the store by the configured URL, and hands it out by its ports.

mod names;
pub mod postgres;
mod row;
pub mod sqlite;
pub mod transfer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use postrider_actors::ports::{Clock, ClusterStore, DeliveryStore, DeviceStore, MailboxStore, RegistryStore, StoreError};

use crate::config::database_url::DatabaseUrl;
use crate::config::store::Store as Settings;

pub use postgres::PostgresStore;
pub use sqlite::{Options, SqliteStore};

/// The configured database, open.
#[derive(Clone)]
pub struct Store {
    /// Membership and ownership.
    pub cluster: Arc<dyn ClusterStore>,
    /// Sync states.
    pub mailboxes: Arc<dyn MailboxStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Delivery rows.
    pub deliveries: Arc<dyn DeliveryStore>,
    /// What people and phones change.
    pub registry: Arc<dyn RegistryStore>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// What is done about a schema that is older than the program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// It is brought up to date.
    Update,
    /// A file is brought up to date, a server that other nodes may use is not: there it takes the `migrate` command.
    AsUsual,
}

impl Store {
    /// Opens the configured database; takes no ownership.
    ///
    /// # Errors
    /// `Unusable`, with what to do about it, or `Unavailable`; see [`SqliteStore::open`] and [`PostgresStore::open`].
    pub async fn open(settings: &Settings, schema: Schema, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        match &settings.url {
            DatabaseUrl::Sqlite(path) => {
                let options = Options { readers: settings.readers, ..Options::new(clock) };
                Ok(SqliteStore::open(path, options).await?.into())
            }
            DatabaseUrl::Postgres(url) => {
                let password = settings.password.as_ref().map(|source| source.read().map_err(StoreError::Unusable)).transpose()?;
                let options = postgres::Options {
                    password,
                    connections: settings.connections,
                    unverified_server: settings.unverified_server,
                    statement_deadline: settings.statement_deadline,
                    migrate: schema == Schema::Update,
                };
                Ok(PostgresStore::open(url, options).await?.into())
            }
        }
    }

    /// Whether it is the database that was accepted, and not another one or an older copy.
    ///
    /// # Errors
    /// `Unusable`, with what to do about it.
    pub async fn check_accepted(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sqlite(_) => Ok(()),
            Kind::Postgres(store) => store.check_accepted().await,
        }
    }

    /// The version of its schema.
    ///
    /// # Errors
    /// The store's.
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        match &self.kind {
            Kind::Sqlite(store) => store.schema_version().await,
            Kind::Postgres(store) => store.schema_version().await,
        }
    }

    /// Takes over all of an embedded database that no node works on, keys and audit trail included, into an empty PostgreSQL database: everything or nothing. The file
    /// stays as it is, but pushes nothing from the beginning of this on, unless nothing was taken over. `told` hears how many rows of a table went so far.
    ///
    /// # Errors
    /// `Unusable`, with what to do about it.
    pub async fn take_over(
        &self,
        file: &Path,
        clock: Arc<dyn Clock>,
        told: &(dyn Fn(&'static str, u64) + Send + Sync),
    ) -> Result<transfer::Transferred, StoreError> {
        let Kind::Postgres(store) = &self.kind else {
            return Err(StoreError::Unusable("only a PostgreSQL database takes an embedded one over: name it in store.url".into()));
        };
        let export = sqlite::export::Export::open(file, Options::new(clock)).await?;
        // Before, not after: whatever interrupts this, the two are never both at work.
        let pushed = export.pause().await?;
        let mut transferred = postgres::import::import(store, &export, told).await;
        // Where nobody knows what came of it, it stays paused.
        if pushed
            && matches!(transferred, Err(StoreError::Unusable(_) | StoreError::Unavailable(_)))
            && let Err(error) = export.allow().await
        {
            transferred =
                Err(StoreError::Unusable(format!("nothing was taken over, and sending stays paused in {}: {error}", file.display())));
        }
        export.close().await;
        transferred
    }

    /// Closes its connections.
    pub async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(store) => store.close().await,
            Kind::Postgres(store) => store.close().await,
        }
    }
}

impl From<SqliteStore> for Store {
    fn from(store: SqliteStore) -> Self {
        let ports = Arc::new(store.clone());
        Self {
            cluster: ports.clone(),
            mailboxes: ports.clone(),
            devices: ports.clone(),
            deliveries: ports.clone(),
            registry: ports,
            kind: Kind::Sqlite(store),
        }
    }
}

impl From<PostgresStore> for Store {
    fn from(store: PostgresStore) -> Self {
        let ports = Arc::new(store.clone());
        Self {
            cluster: ports.clone(),
            mailboxes: ports.clone(),
            devices: ports.clone(),
            deliveries: ports.clone(),
            registry: ports,
            kind: Kind::Postgres(store),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Sqlite(store) => f.debug_tuple("Store").field(&store.path()).finish(),
            Kind::Postgres(store) => store.fmt(f),
        }
    }
}
