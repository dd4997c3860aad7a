//! PostgreSQL: one database that many nodes share, on one host or on several of which one takes writes.
//!
//! Heartbeats have a connection of their own, the looks of observers and leaders another; all other calls share a few, of which people and phones take at most half: nobody's
//! question makes a heartbeat, a judgement or a mail wait. Ownership, and what people register, is as durable as the server can make it
//! when the call returns; what the mail path commits may be lost by a promotion, state and rows together, so that the mails are derived again.

mod adopt;
mod call;
mod cluster;
mod commit_plan;
mod deliveries;
mod devices;
mod error;
mod hand_over;
mod hosts;
pub(in crate::store) mod import;
mod look;
mod mailboxes;
mod membership;
mod migrate;
mod ownership;
mod pool;
mod pulse;
mod registry;
mod registry_changes;
mod registry_devices;
mod registry_mailboxes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::ShardId;
use postrider_actors::ports::StoreError;

use crate::config::database_url::PostgresUrl;
use crate::config::secret::Secret;
use call::BEHIND;
use error::Failure;
use hosts::Hosts;
use pool::{Lease, Pool, SharedPool};
use pulse::Pulse;

/// Shards of a database that many nodes share.
pub const SHARDS: u16 = 4096;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The password of the URL's user, unless the URL holds it.
    pub password: Option<Secret>,
    /// Connections at most, beside the one for heartbeats and the one for looks at the cluster.
    pub connections: u32,
    /// Whether a server on another machine may be one that does not prove who it is.
    pub unverified_server: bool,
    /// Deadline of one statement.
    pub statement_deadline: Duration,
    /// Whether the schema is made or brought up to date; if not, an older one is refused.
    pub migrate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { password: None, connections: 8, unverified_server: false, statement_deadline: Duration::from_secs(5), migrate: false }
    }
}

/// A process's handle on the database; clones share its connections. Opening it takes no ownership: only `join` does.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    pool: SharedPool,
    /// For heartbeats.
    pulse: Pulse,
    /// For the looks of observers and leaders.
    looks: Pulse,
    statement: Duration,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.inner.name).finish()
    }
}

impl PostgresStore {
    /// Finds the host that takes writes, and brings the schema up to date if the options say so.
    ///
    /// # Errors
    /// `Unusable`, with what to do about it: wrong user or password, no such database, only read replicas, a newer or (without `migrate`) older schema, another
    /// program's tables, a server that need not prove who it is. `Unavailable` when no host answers.
    pub async fn open(url: &PostgresUrl, options: Options) -> Result<Self, StoreError> {
        let password = options.password.as_ref().or(url.password.as_ref());
        url.refuse_unverified(options.unverified_server, password.is_some()).map_err(StoreError::Unusable)?;
        let hosts = Arc::new(Hosts::new(url, password, options.statement_deadline));
        let inner = Inner {
            name: url.to_string(),
            pool: Arc::new(Pool::new(Arc::clone(&hosts), options.connections)),
            pulse: Pulse::new(Arc::clone(&hosts)),
            looks: Pulse::new(hosts),
            statement: options.statement_deadline,
        };
        let store = Self { inner: Arc::new(inner) };
        if options.migrate {
            store.migrate().await?;
        } else {
            migrate::refuse_older(store.schema_version().await?)?;
        }
        Ok(store)
    }

    /// Brings the schema up to date; says how many files were applied.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn migrate(&self) -> Result<usize, StoreError> {
        migrate::migrate(self).await
    }

    /// The version of the schema, 0 when the database is empty.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        migrate::version(self).await
    }

    /// Whether the server is the one that was accepted, and its history no shorter.
    ///
    /// # Errors
    /// `Unusable` if not.
    pub async fn check_accepted(&self) -> Result<(), StoreError> {
        let (accepted, found) = call::reading!(self, |connection| ownership::histories(connection).await?)?;
        ownership::refuse_other(&accepted, &found)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.inner.pool.close();
        self.inner.pulse.close().await;
        self.inner.looks.close().await;
    }

    /// The URL without its password.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        self.inner.pool.lease().await
    }

    /// The same database for what people and phones ask.
    fn people(&self) -> People<'_> {
        People(self)
    }

    /// How long a call may take, the wait for a connection included.
    fn deadline(&self) -> Duration {
        self.inner.statement + BEHIND
    }
}

/// Calls of people and phones: they wait for each other, not the mail path for them.
#[derive(Clone, Copy)]
struct People<'a>(&'a PostgresStore);

impl<'a> People<'a> {
    fn pool(self) -> &'a Pool {
        self.0.pool()
    }

    async fn lease(self) -> Result<Lease<'a>, StoreError> {
        self.0.inner.pool.lease_for_people().await
    }

    fn deadline(self) -> Duration {
        self.0.deadline()
    }
}

/// A shard's number as a row holds it.
fn shard_of(number: i32) -> ShardId {
    ShardId(u16::try_from(number).unwrap_or(u16::MAX))
}

fn number_of(shard: ShardId) -> i32 {
    i32::from(shard.0)
}

/// A count as a row holds it.
fn count(number: i64) -> u32 {
    super::names::count(number)
}

/// What several writers of the same rows do about a row that moved while it was not locked yet.
fn moved<T>() -> Result<T, Failure> {
    Err(Failure::Moved)
}
