//! Room for requests at one server: a bound on how many are under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places at one server.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    wait: Duration,
}

impl Room {
    /// So many places; whoever finds none waits at most `wait`.
    #[must_use]
    pub fn new(places: usize, wait: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places.max(1))), wait }
    }

    /// Takes a place, given back when it is dropped; `None` if none was free in time.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let place = tokio::time::timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await;
        Some(place.ok()?.expect("the semaphore is never closed"))
    }
}
