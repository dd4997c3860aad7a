//! Points in time, in whole microseconds: the wall clock that rules and expiries read, and the monotonic clock that timers read.

use std::ops::{Add, Sub};
use std::time::Duration;

macro_rules! micros {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i64);

        impl $name {
            /// Later than anything that happens.
            pub const NEVER: Self = Self(i64::MAX);

            /// How long after `earlier` this is; zero if it is not after it.
            #[must_use]
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
            }
        }

        impl Add<Duration> for $name {
            type Output = Self;
            fn add(self, by: Duration) -> Self {
                Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
            }
        }

        impl Sub<Duration> for $name {
            type Output = Self;
            fn sub(self, by: Duration) -> Self {
                Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
            }
        }
    };
}

micros!(
    /// Microseconds since 1970-01-01 UTC by the database's clock, so that all nodes agree. Cut-off, expiry, retry and retention read it; ownership never does.
    Timestamp
);
micros!(
    /// Microseconds on this machine's monotonic clock, which goes on during suspend (CLOCK_BOOTTIME). Windows, back-offs and the gate read it.
    Monotonic
);

impl Timestamp {
    /// Whole seconds since 1970, rounded down: what APNs calls an epoch.
    #[must_use]
    pub fn epoch_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}
