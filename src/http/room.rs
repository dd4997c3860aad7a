//! Room for requests at one server: a bound on how many are under way, and a pause when the server asks for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use postrider_actors::time::Monotonic;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// All places were taken until the deadline.
    Full,
    /// The server asked to be left alone for so long.
    Paused(Duration),
}

/// The places at one server.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    wait: Duration,
    paused_until: AtomicI64,
}

impl Room {
    /// So many places; whoever finds none waits at most `wait`.
    #[must_use]
    pub fn new(places: usize, wait: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places.max(1))), wait, paused_until: AtomicI64::new(i64::MIN) }
    }

    /// Takes a place, given back when it is dropped.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub async fn enter(&self, now: impl Fn() -> Monotonic) -> Result<OwnedSemaphorePermit, NoRoom> {
        self.check_pause(now())?;
        let place = tokio::time::timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| NoRoom::Full)?.expect("the semaphore is never closed");
        // A pause may have begun meanwhile.
        self.check_pause(now())?;
        Ok(place)
    }

    /// Lets nobody in until `now + pause`; a longer pause stands.
    pub fn pause(&self, now: Monotonic, pause: Duration) {
        self.paused_until.fetch_max((now + pause).0, Ordering::AcqRel);
    }

    fn check_pause(&self, now: Monotonic) -> Result<(), NoRoom> {
        match Monotonic(self.paused_until.load(Ordering::Acquire)).since(now) {
            Duration::ZERO => Ok(()),
            left => Err(NoRoom::Paused(left)),
        }
    }
}
