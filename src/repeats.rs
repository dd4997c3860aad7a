//! Lines of the log that would come again and again: one a minute is written, the others are counted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Default)]
pub struct Repeats(Mutex<Option<(Instant, u64)>>);

impl Repeats {
    /// A line with nothing before it.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether the line is written now, and how many were not since the last one.
    pub fn due(&self) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match last.as_mut() {
            Some((at, more)) if now.duration_since(*at) < PAUSE => {
                *more += 1;
                None
            }
            former => {
                let more = former.map_or(0, |(_, more)| *more);
                *last = Some((now, 0));
                Some(more)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_a_minute_counts_the_others() {
        let repeats = Repeats::new();
        assert_eq!((repeats.due(), repeats.due(), repeats.due()), (Some(0), None, None));
        tokio::time::advance(PAUSE).await;
        assert_eq!((repeats.due(), repeats.due()), (Some(2), None));
    }
}
