//! Keys that were looked up a moment ago, so that not every request asks the database; short-lived, so that a revoked key stops working within seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_actors::ports::registry_store::ApiKey;
use postrider_actors::ports::{RegistryStore, StoreError};
use postrider_actors::time::Monotonic;

/// How many keys are remembered, unknown ones included.
const ROOM: usize = 1_024;

/// Keys and when they were looked up; `None` = there is no such key.
pub struct KeyCache {
    ttl: Duration,
    seen: Mutex<HashMap<String, Seen>>,
}

struct Seen {
    key: Option<Arc<ApiKey>>,
    at: Monotonic,
}

impl KeyCache {
    /// Remembers a key for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, seen: Mutex::default() }
    }

    /// The key with this public part.
    ///
    /// # Errors
    /// The store's, if it had to be asked.
    pub async fn find(&self, id: &str, now: Monotonic, registry: &dyn RegistryStore) -> Result<Option<Arc<ApiKey>>, StoreError> {
        if let Some(seen) = self.remembered(id, now) {
            return Ok(seen);
        }
        let found = registry.key_find(id).await?.map(Arc::new);
        self.remember(id, found.clone(), now);
        Ok(found)
    }

    fn remembered(&self, id: &str, now: Monotonic) -> Option<Option<Arc<ApiKey>>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(id).filter(|seen| now < seen.at + self.ttl).map(|seen| seen.key.clone())
    }

    fn remember(&self, id: &str, key: Option<Arc<ApiKey>>, now: Monotonic) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= ROOM {
            seen.retain(|_, seen| now < seen.at + self.ttl);
        }
        if seen.len() >= ROOM {
            seen.clear();
        }
        seen.insert(id.to_owned(), Seen { key, at: now });
    }
}
