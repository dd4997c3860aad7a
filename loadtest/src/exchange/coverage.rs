//! Which mailboxes have an open stream that holds a live subscription of theirs, and for how long they had none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// So many mailboxes are listed by name.
const LISTED: usize = 20;

/// The longest times without a stream, since the books were opened or begun anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CoverageReport {
    /// Mailboxes that had a stream at some time.
    pub mailboxes: usize,
    /// Mailboxes that have none at this moment.
    pub uncovered: usize,
    /// The longest time that any of them had none.
    pub longest_ms: u64,
    /// How many had none for longer than the limit at least once.
    pub over: usize,
    /// The worst of these, by address and milliseconds.
    pub worst: Vec<(String, u64)>,
}

/// The account of all mailboxes.
#[derive(Default)]
pub(super) struct Coverage {
    mailboxes: Mutex<HashMap<Box<str>, Cover>>,
}

#[derive(Default)]
struct Cover {
    streams: usize,
    /// Since when it has none, after it had one.
    bare_since: Option<Instant>,
    longest: Duration,
}

impl Coverage {
    /// A stream holds one more subscription of the mailbox.
    pub(super) fn opened(&self, smtp: &str) {
        let mut mailboxes = self.lock();
        let cover = match mailboxes.get_mut(smtp) {
            Some(cover) => cover,
            None => mailboxes.entry(smtp.into()).or_default(),
        };
        cover.streams += 1;
        if let Some(since) = cover.bare_since.take() {
            cover.longest = cover.longest.max(since.elapsed());
        }
    }

    /// One less.
    pub(super) fn closed(&self, smtp: &str) {
        if let Some(cover) = self.lock().get_mut(smtp) {
            cover.streams = cover.streams.saturating_sub(1);
            if cover.streams == 0 {
                cover.bare_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Begins anew: what has no stream has none since this moment.
    pub(super) fn restart(&self) {
        let now = Instant::now();
        for cover in self.lock().values_mut() {
            cover.longest = Duration::ZERO;
            cover.bare_since = cover.bare_since.map(|_| now);
        }
    }

    pub(super) fn report(&self, limit: Duration) -> CoverageReport {
        let mailboxes = self.lock();
        let longest = |cover: &Cover| cover.longest.max(cover.bare_since.map_or(Duration::ZERO, |since| since.elapsed()));
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut worst: Vec<(String, u64)> = mailboxes
            .iter()
            .map(|(smtp, cover)| (smtp, longest(cover)))
            .filter(|(_, longest)| *longest > limit)
            .map(|(smtp, longest)| (smtp.to_string(), ms(longest)))
            .collect();
        worst.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let over = worst.len();
        worst.truncate(LISTED);
        CoverageReport {
            mailboxes: mailboxes.len(),
            uncovered: mailboxes.values().filter(|cover| cover.streams == 0).count(),
            longest_ms: ms(mailboxes.values().map(longest).max().unwrap_or_default()),
            over,
            worst,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Cover>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_bare_from_its_last_stream_to_its_next() {
        let coverage = Coverage::default();
        let none = Duration::ZERO;
        coverage.closed("never@example.com");
        coverage.opened("a@example.com");
        coverage.opened("a@example.com");
        coverage.closed("a@example.com");
        assert_eq!(coverage.report(none), CoverageReport { mailboxes: 1, ..CoverageReport::default() });
        coverage.closed("a@example.com");
        std::thread::sleep(Duration::from_millis(5));
        let bare = coverage.report(Duration::from_millis(4));
        assert_eq!((bare.uncovered, bare.over, bare.worst[0].0.as_str()), (1, 1, "a@example.com"), "{bare:?}");
        coverage.opened("a@example.com");
        let over = coverage.report(Duration::from_millis(4));
        assert!(over.uncovered == 0 && over.over == 1 && over.longest_ms >= 5, "what was is kept: {over:?}");
        coverage.restart();
        assert_eq!(coverage.report(none).longest_ms, 0);
    }
}
