//! The port through which the core learns what time it is.

use crate::time::{Monotonic, Timestamp};

/// Both clocks. Reading never blocks.
pub trait Clock: Send + Sync + 'static {
    /// The database's wall clock: the machine's own, corrected by the offset measured at the last heartbeat.
    fn now(&self) -> Timestamp;

    /// The monotonic clock, suspend included.
    fn monotonic(&self) -> Monotonic;

    /// Notes what a shared database's clock showed just now, so that all of its nodes agree on expiries and retries; [`Clock::now`] follows it from
    /// here on. Ownership never reads it. A clock that is the database's own ignores it.
    fn correct(&self, _database: Timestamp) {}
}
