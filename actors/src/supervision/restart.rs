//! How long a failed actor waits before it is started again: longer each time, forgiven after a while of quiet.

use std::time::Duration;

use crate::settings::Settings;
use crate::time::Monotonic;

/// The failures of one actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restarts {
    /// All of them.
    pub total: u32,
    row: u32,
    last: Monotonic,
}

impl Restarts {
    /// Notes a failure and says how long to wait. Ten times the largest delay without a failure forgives what was before.
    pub fn failed(&mut self, now: Monotonic, settings: &Settings) -> Duration {
        if self.total > 0 && now.since(self.last) > settings.restart_max * 10 {
            self.row = 0;
        }
        self.total = self.total.saturating_add(1);
        self.row = self.row.saturating_add(1);
        self.last = now;
        settings.restart_base.saturating_mul(1 << (self.row - 1).min(20)).min(settings.restart_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_its_bound_and_quiet_forgives() {
        let (mut restarts, settings) = (Restarts::default(), Settings::default());
        let delays: Vec<u128> = (0..12).map(|_| restarts.failed(Monotonic(0), &settings).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(restarts.failed(Monotonic(0) + Duration::from_secs(601), &settings).as_millis(), 100);
        assert_eq!(restarts.total, 13);
    }
}
