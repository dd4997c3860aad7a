//! Chance from one seed: delays vary, so that what failed together is not tried again together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of varied delays.
#[derive(Debug)]
pub struct Chance(Mutex<StdRng>);

impl Chance {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// The delay before the next try after `failures` failures in a row: doubles from `first` to `limit`, then is drawn from its upper half.
    #[must_use]
    pub fn delay(&self, failures: u32, first: Duration, limit: Duration) -> Duration {
        let full = first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(limit);
        full.mul_f64(self.share())
    }

    /// A share between a half and the whole.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(0.5..=1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_vary() {
        let chance = Chance::new(7);
        let (first, limit) = (Duration::from_secs(1), Duration::from_secs(60));
        for (failures, full) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)] {
            let delay = chance.delay(failures, first, limit);
            let full = Duration::from_secs(full);
            assert!(delay >= full / 2 && delay <= full, "{failures}: {delay:?}");
        }
        let many: std::collections::HashSet<Duration> = (0..20).map(|_| chance.delay(3, first, limit)).collect();
        assert!(many.len() > 1);
    }
}
