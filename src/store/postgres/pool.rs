//! Connections for everything but heartbeats: a bounded number, each to the server in use, none used again after a call that did not end well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_actors::ports::StoreError;
use sqlx::PgConnection;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::hosts::SharedHosts;

pub(super) struct Pool {
    hosts: SharedHosts,
    permits: Semaphore,
    /// Places for what people and phones ask.
    people: Semaphore,
    /// Last in, first out, so that those that are not needed stay idle.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: PgConnection,
    generation: u64,
}

/// A connection in the hands of one call. Unless the call says that it ended well it is closed, which rolls back what it left open.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    held: Option<Idle>,
    /// Whether it was used before: then the server may be gone without anybody having noticed.
    used: bool,
    _permit: SemaphorePermit<'a>,
    _of_people: Option<SemaphorePermit<'a>>,
}

impl Pool {
    pub(super) fn new(hosts: SharedHosts, size: u32) -> Self {
        let size = size.max(1) as usize;
        Self { hosts, permits: Semaphore::new(size), people: Semaphore::new(people_of(size)), idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn; the call's own deadline bounds the wait.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        self.take(None).await
    }

    /// Waits for a turn among people first: whatever they ask, and however slowly it is answered, the other places stay free for mail.
    pub(super) async fn lease_for_people(&self) -> Result<Lease<'_>, StoreError> {
        let place = self.people.acquire().await.map_err(closed)?;
        self.take(Some(place)).await
    }

    async fn take<'a>(&'a self, of_people: Option<SemaphorePermit<'a>>) -> Result<Lease<'a>, StoreError> {
        let permit = self.permits.acquire().await.map_err(closed)?;
        let generation = self.hosts.generation();
        let kept = {
            let mut idle = self.idle();
            idle.retain(|idle| idle.generation == generation);
            idle.pop()
        };
        let used = kept.is_some();
        let held = match kept {
            Some(kept) => kept,
            None => {
                let found = self.hosts.connect().await?;
                Idle { connection: found.connection, generation: found.primary.generation }
            }
        };
        Ok(Lease { pool: self, held: Some(held), used, _permit: permit, _of_people: of_people })
    }

    /// Closes all that nobody uses: a server that cut one connection cut the others as well.
    pub(super) fn flush(&self) {
        self.idle().clear();
    }

    /// Nothing begins any more.
    pub(super) fn close(&self) {
        self.permits.close();
        self.people.close();
        self.flush();
    }
}

fn closed(_: tokio::sync::AcquireError) -> StoreError {
    StoreError::Unavailable("the database was closed".into())
}

/// How many of the places people and phones may have: half of them, and the only one if there is one.
fn people_of(size: usize) -> usize {
    (size / 2).max(1)
}

impl Lease<'_> {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.held.as_mut().expect("held until it is given back, which takes the lease").connection
    }

    pub(super) fn used(&self) -> bool {
        self.used
    }

    /// The call ended well, and no transaction is open.
    pub(super) fn give_back(mut self) {
        if let Some(held) = self.held.take().filter(|held| held.generation == self.pool.hosts.generation()) {
            self.pool.idle().push(held);
        }
    }
}

/// Shared by all ports.
pub(super) type SharedPool = Arc<Pool>;
