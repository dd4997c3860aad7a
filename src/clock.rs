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

impl Clock for SystemClock {
    fn correct(&self, database: Timestamp) {
        self.offset.store(database.0.saturating_sub(machine_now()), Ordering::Relaxed);
    }

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_wall_clock_follows_the_database_and_ownership_s_clock_does_not() {
        let clock = SystemClock::default();
        let (database, before) = (clock.now() + Duration::from_secs(3_600), clock.monotonic());
        clock.correct(database);
        let ahead = clock.now().0 - database.0;
        assert!((0..60_000_000).contains(&ahead), "{ahead}");
        assert!(clock.monotonic().since(before) < Duration::from_secs(60));
    }
}
