//! The port through which the core learns what time it is.

use crate::time::{Monotonic, Timestamp};

/// Both clocks. Reading never blocks.
pub trait Clock: Send + Sync + 'static {
    /// The database's wall clock: the machine's own, corrected by the offset measured at the last heartbeat.
    fn now(&self) -> Timestamp;

    /// The monotonic clock, suspend included.
    fn monotonic(&self) -> Monotonic;
}
