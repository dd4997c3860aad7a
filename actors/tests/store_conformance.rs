//! The in-memory store keeps every clause of the ports' contracts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use postrider_actors::ports::Clock;
use postrider_actors::testing::conformance::Fixture;
use postrider_actors::testing::conformance::world::START;
use postrider_actors::testing::memory::MemoryStore;
use postrider_actors::time::{Monotonic, Timestamp};

/// A clock that goes on by a microsecond with each look at it.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct Memory;

#[async_trait]
impl Fixture for Memory {
    type Store = MemoryStore;

    async fn store(&self) -> MemoryStore {
        MemoryStore::new(Arc::new(Ticking(AtomicI64::new(START.0))))
    }

    async fn process(&self, of: &MemoryStore) -> MemoryStore {
        of.process()
    }

    async fn kill(&self, store: MemoryStore) {
        store.kill();
    }
}

/// The store that many nodes share.
struct Cluster;

#[async_trait]
impl Fixture for Cluster {
    type Store = MemoryStore;

    async fn store(&self) -> MemoryStore {
        MemoryStore::cluster(Arc::new(Ticking(AtomicI64::new(START.0))), 64)
    }

    async fn process(&self, of: &MemoryStore) -> MemoryStore {
        of.process()
    }

    async fn kill(&self, store: MemoryStore) {
        store.kill();
    }
}

postrider_actors::conformance!(Memory);
postrider_actors::conformance!(embedded: Memory);

mod cluster_of_nodes {
    use super::Cluster;

    postrider_actors::conformance!(Cluster);
    postrider_actors::conformance!(shared: Cluster);
}
