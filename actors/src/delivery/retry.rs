//! How long to wait before the next try, and the chance that keeps neighbours from trying at the same moment.

use std::time::Duration;

/// A small generator of chance (SplitMix64), seeded from outside so that a run can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A duration from zero up to, not including, `most`.
    pub fn below(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % micros)
    }

    /// `middle`, give or take 10 %.
    pub fn around(&mut self, middle: Duration) -> Duration {
        middle - middle / 10 + self.below(middle / 5)
    }
}

/// The delay before try number `failures + 1`: doubles from `base` to `most`, half of it left to chance.
#[must_use]
pub fn backoff(failures: u32, base: Duration, most: Duration, chance: &mut Chance) -> Duration {
    let full = base.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most);
    full / 2 + chance.below(full / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_never_leaves_its_upper_half() {
        let (base, most) = (Duration::from_millis(500), Duration::from_secs(60));
        let mut chance = Chance::new(7);
        for (failures, full) in [(1, 500), (2, 1_000), (3, 2_000), (7, 32_000), (8, 60_000), (u32::MAX, 60_000)] {
            let full = Duration::from_millis(full);
            for _ in 0..100 {
                let delay = backoff(failures, base, most, &mut chance);
                assert!(delay >= full / 2 && delay <= full, "{failures} failures: {delay:?} of {full:?}");
            }
        }
    }

    #[test]
    fn neighbours_with_other_seeds_wait_differently() {
        let delay = |seed| Chance::new(seed).around(Duration::from_secs(1_800));
        assert_ne!(delay(1), delay(2));
        assert_eq!(delay(1), delay(1));
    }
}
