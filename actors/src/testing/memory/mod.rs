//! All stores in memory: one plain model behind a lock, with the refusals of the SQL stores, and hooks for tests.
//!
//! It behaves like the embedded database (one owner of all shards, a lock that the process holds, takeover by the process that comes later) or,
//! made by [`MemoryStore::cluster`], like one that many nodes share.

mod cluster;
mod deliveries;
mod devices;
mod embedded;
mod faults;
mod mailboxes;
mod model;
mod registry;
mod shared;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use faults::{Call, Fault};
pub use model::{CommitRecord, DeliveryRow, DeviceRow, MailboxRow, Model, NodeRow, ShardRow};

use crate::ports::Clock;
use crate::ports::cluster_store::Manner;
use crate::ports::error::StoreError;
use crate::time::Timestamp;

/// Shards of a store unless a test asks for another number.
pub const SHARDS: u16 = 8;

struct Shared {
    model: Mutex<Model>,
    faults: Mutex<faults::Faults>,
    processes: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// One process's handle on the store; clones are the same process, [`MemoryStore::process`] makes another.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    process: u64,
    /// The session that it joined with last.
    session: Arc<AtomicI64>,
    /// Whether another process put an end to that session.
    evicted: Arc<AtomicBool>,
}

impl MemoryStore {
    /// An empty store of [`SHARDS`] shards.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_shards(clock, SHARDS)
    }

    /// An empty store of that many shards.
    #[must_use]
    pub fn with_shards(clock: Arc<dyn Clock>, shards: u16) -> Self {
        Self::made(clock, Manner::Embedded, shards)
    }

    /// An empty store of that many shards that many nodes share.
    #[must_use]
    pub fn cluster(clock: Arc<dyn Clock>, shards: u16) -> Self {
        Self::made(clock, Manner::Shared, shards)
    }

    fn made(clock: Arc<dyn Clock>, manner: Manner, shards: u16) -> Self {
        let shared =
            Shared { model: Mutex::new(Model::new(manner, shards)), faults: Mutex::default(), processes: AtomicU64::new(1), clock };
        Self { shared: Arc::new(shared), process: 0, session: Arc::default(), evicted: Arc::default() }
    }

    /// Another process on the same database.
    #[must_use]
    pub fn process(&self) -> Self {
        let process = self.shared.processes.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), process, session: Arc::default(), evicted: Arc::default() }
    }

    /// The process dies: the operating system gives its lock back, nothing else happens.
    pub fn kill(&self) {
        self.unlock(&mut self.model());
    }

    /// The next call of that kind, of any process, fails; asked twice, the two next ones do.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.faults().push(call, fault);
    }

    /// From here on every call fails with the error and does nothing; `None` ends the outage.
    pub fn outage(&self, error: Option<StoreError>) {
        self.faults().outage = error;
    }

    /// How many calls of that kind were made.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.faults().calls.get(&call).copied().unwrap_or(0)
    }

    /// Reads the rows.
    pub fn read<R>(&self, read: impl FnOnce(&Model) -> R) -> R {
        read(&self.model())
    }

    /// Changes rows behind everybody's back (a lost tail, a restored copy, an operator with a SQL prompt).
    pub fn tamper<R>(&self, change: impl FnOnce(&mut Model) -> R) -> R {
        change(&mut self.model())
    }

    /// All commits that matched, in order.
    #[must_use]
    pub fn history(&self) -> Vec<CommitRecord> {
        self.model().history.clone()
    }

    fn unlock(&self, model: &mut Model) {
        if model.lock == Some(self.process) {
            model.lock = None;
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction, with the fault that waits for it.
    fn call<R>(&self, call: Call, run: impl FnOnce(&mut Model, Timestamp) -> R) -> Result<R, StoreError> {
        let fault = self.faults().take(call);
        match &fault {
            Some(Fault::Before(error)) => return Err(error.clone()),
            Some(Fault::Panic) => panic!("the store panics, as the test wants"),
            Some(Fault::After(_)) | None => {}
        }
        let now = self.shared.clock.now();
        let answer = run(&mut self.model(), now);
        match fault {
            Some(Fault::After(error)) => Err(error),
            _ => Ok(answer),
        }
    }
}
