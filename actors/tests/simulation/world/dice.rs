//! Chance of one seed: everything that is drawn in a run is drawn here, in one order.

/// A generator (SplitMix64) that a seed determines.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `0..most`; zero if `most` is not positive.
    pub fn below(&mut self, most: i64) -> i64 {
        let most = u64::try_from(most).unwrap_or(0).max(1);
        i64::try_from(self.next() % most).unwrap_or(0)
    }

    /// `from..=to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below(to - from + 1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(i64::try_from(len).unwrap_or(1))).unwrap_or(0)
    }

    /// True in `per_million` of a million cases.
    pub fn hits(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < i64::from(per_million)
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.hits(percent.saturating_mul(10_000))
    }
}
