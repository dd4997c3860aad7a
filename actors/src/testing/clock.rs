//! Clocks for tests: both follow the runtime's stopped time; the wall clock can be set, and a nervous clock makes whoever reads it panic at random.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::delivery::retry::Chance;
use crate::ports::Clock;
use crate::time::{Monotonic, Timestamp};

/// What the wall clock shows at the start: 2026-01-05 08:00:00 UTC.
pub const MONDAY: Timestamp = Timestamp(1_767_600_000_000_000);

/// A clock that moves with the runtime's time, which tests stop (`start_paused`).
#[derive(Debug)]
pub struct StoppedClock {
    start: tokio::time::Instant,
    wall: AtomicI64,
}

impl StoppedClock {
    /// A clock whose monotonic side stands at one hour and whose wall side shows [`MONDAY`].
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: tokio::time::Instant::now(), wall: AtomicI64::new(MONDAY.0) })
    }

    /// Makes the wall clock show that time; the monotonic clock does not notice.
    pub fn wall_set(&self, now: Timestamp) {
        self.wall.store(now.0 - self.elapsed(), Ordering::Release);
    }

    /// Moves the wall clock by so many microseconds, back if negative.
    pub fn wall_jump(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::AcqRel);
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::Acquire).saturating_add(self.elapsed()))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(3_600_000_000 + self.elapsed())
    }
}

/// A clock that panics now and then when it is read: as every actor reads it in every step, actors panic at random.
#[derive(Debug)]
pub struct NervousClock {
    clock: Arc<StoppedClock>,
    chance: Mutex<Chance>,
    /// One reading in so many panics; zero: none.
    one_in: AtomicU64,
    panics: AtomicU64,
}

impl NervousClock {
    /// Reads that clock, calmly until told otherwise.
    #[must_use]
    pub fn new(clock: Arc<StoppedClock>, seed: u64) -> Arc<Self> {
        Arc::new(Self { clock, chance: Mutex::new(Chance::new(seed)), one_in: AtomicU64::new(0), panics: AtomicU64::new(0) })
    }

    /// From here on one reading in `one_in` panics.
    pub fn scare(&self, one_in: u32) {
        self.one_in.store(u64::from(one_in), Ordering::Release);
    }

    /// From here on no reading panics.
    pub fn calm(&self) {
        self.one_in.store(0, Ordering::Release);
    }

    /// How often it panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Acquire)
    }

    fn tremble(&self) {
        let one_in = self.one_in.load(Ordering::Acquire);
        if one_in == 0 {
            return;
        }
        let drawn = self.chance.lock().unwrap_or_else(PoisonError::into_inner).below(Duration::from_micros(one_in));
        if drawn.is_zero() {
            self.panics.fetch_add(1, Ordering::AcqRel);
            panic!("the clock panics, as the test wants");
        }
    }
}

impl Clock for NervousClock {
    fn now(&self) -> Timestamp {
        self.tremble();
        self.clock.now()
    }

    fn monotonic(&self) -> Monotonic {
        self.tremble();
        self.clock.monotonic()
    }
}
