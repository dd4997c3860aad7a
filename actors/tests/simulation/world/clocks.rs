//! Clocks: the database's, which is the true one, and each machine's own, which starts anywhere, runs up to 5 % off and is set by people.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use postrider_actors::ports::Clock;
use postrider_actors::testing::clock::MONDAY;
use postrider_actors::time::{Monotonic, Timestamp};

use super::scheduler::Micros;

/// True time, shared by all clocks of a run.
pub type TrueTime = Arc<AtomicI64>;

/// The clock of the database.
pub struct DatabaseClock(pub TrueTime);

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        Timestamp(MONDAY.0 + self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.load(Ordering::Relaxed))
    }
}

/// The clocks of one machine.
pub struct MachineClock {
    time: TrueTime,
    /// What the monotonic clock showed at the beginning.
    offset: i64,
    /// How much faster than true time it runs, in millionths.
    drift: i64,
    /// How wrong the wall clock is.
    wall: AtomicI64,
    /// The database's clock less the monotonic one, as of the last heartbeat; none before the first.
    correction: AtomicI64,
}

const UNCORRECTED: i64 = i64::MIN;

impl MachineClock {
    /// A clock that is off by so much and drifts by so many millionths.
    pub fn new(time: TrueTime, offset: i64, drift: i64, wall: i64) -> Arc<Self> {
        Arc::new(Self { time, offset, drift, wall: AtomicI64::new(wall), correction: AtomicI64::new(UNCORRECTED) })
    }

    fn time(&self) -> Micros {
        self.time.load(Ordering::Relaxed)
    }

    /// Somebody sets the wall clock.
    pub fn jump(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::Relaxed);
    }

    /// A heartbeat told what the database's clock shows.
    pub fn correct(&self, database: Timestamp) {
        self.correction.store(database.0 - self.monotonic().0, Ordering::Relaxed);
    }

    /// What the machine's own wall clock shows.
    pub fn machine_now(&self) -> Timestamp {
        Timestamp(MONDAY.0 + self.time() + self.wall.load(Ordering::Relaxed))
    }

    /// The process ends; the next one knows no correction.
    pub fn forget_correction(&self) {
        self.correction.store(UNCORRECTED, Ordering::Relaxed);
    }

    /// How much true time passes while this clock advances by that much.
    pub fn true_span(&self, span: i64) -> Micros {
        i64::try_from(i128::from(span) * 1_000_000 / i128::from(1_000_000 + self.drift)).unwrap_or(i64::MAX).saturating_add(1)
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        match self.correction.load(Ordering::Relaxed) {
            UNCORRECTED => self.machine_now(),
            correction => Timestamp(self.monotonic().0 + correction),
        }
    }

    fn monotonic(&self) -> Monotonic {
        let time = self.time();
        Monotonic(self.offset + time + time * self.drift / 1_000_000)
    }
}
