//! Looking at the cluster for people: one read a second, shared by all who ask meanwhile, whatever became of it.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ports::cluster_store::Depth;
use postrider_actors::ports::{Clock, ClusterStore, StoreError};
use postrider_actors::time::Monotonic;
use tokio::sync::Mutex;

use crate::api::cluster::Cluster;

/// How long a look is shown before another one is taken.
const FRESH: Duration = Duration::from_secs(1);

/// The last look, or why there was none.
#[derive(Clone)]
struct Looked {
    at: Monotonic,
    found: Result<Arc<Cluster>, StoreError>,
}

/// Looks at the cluster, one at a time and one a second at most.
#[derive(Default)]
pub struct Looks {
    /// Held while the database is asked: who comes meanwhile waits for that answer.
    last: Mutex<Option<Looked>>,
}

impl Looks {
    /// The cluster as it was within the last second, or as it is now.
    ///
    /// # Errors
    /// The store's, for a second as well: a database in trouble is not asked more often than one that is well.
    pub async fn cluster(&self, store: &dyn ClusterStore, clock: &dyn Clock) -> Result<Arc<Cluster>, StoreError> {
        let mut last = self.last.lock().await;
        if let Some(looked) = last.as_ref().filter(|looked| clock.monotonic() < looked.at + FRESH) {
            return looked.found.clone();
        }
        let found = store.view_for_people(Depth::Shards).await.map(|view| Arc::new(Cluster::of(&view)));
        *last = Some(Looked { at: clock.monotonic(), found: found.clone() });
        found
    }
}
