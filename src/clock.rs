//! The only place that reads the system's clocks.

use std::sync::atomic::{AtomicI64, Ordering};

use postrider_actors::ports::Clock;
use postrider_actors::time::{Monotonic, Timestamp};

/// The machine's clocks; the wall clock is corrected to the database's.
#[derive(Debug, Default)]
pub struct SystemClock {
    /// Microseconds to add to the machine's wall clock.
    offset: AtomicI64,
}

impl SystemClock {
    /// Notes what the database's clock showed just now; from here on [`Clock::now`] follows it.
    pub fn correct(&self, database: Timestamp) {
        self.offset.store(database.0.saturating_sub(machine_now()), Ordering::Relaxed);
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(machine_now().saturating_add(self.offset.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Monotonic {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Monotonic(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000))
    }
}

fn machine_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
