//! What happens again and again is told once, then counted: a line when it begins, one with the count every few minutes, one when it ends.
//!
//! A line that a far side can cause as often as it likes goes through [`Repeats`]. The key names who is in trouble (tenant, server or channel)
//! and the cause as a code, so that another cause is told at once. A state in which mail is late begins with [`Repeats::happened`] (a WARN where
//! it says so) and ends with [`Repeats::ended`] (an INFO where it says so).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Monotonic;

/// How often what lasts is told again.
const AGAIN: Duration = Duration::from_secs(300);
/// Most keys that are kept; beyond, the one that happened longest ago is forgotten, and is told anew if it happens again.
const MOST: usize = 1024;

/// What lasts, by key.
#[derive(Debug)]
pub struct Repeats<K> {
    again: Duration,
    kept: Mutex<BTreeMap<K, Kept>>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    began: Monotonic,
    told: Monotonic,
    last: Monotonic,
    untold: u64,
    times: u64,
}

/// A line that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// How often it happened since the last line, this time not counted: the field `repeated` of the line.
    pub repeated: u64,
    /// Whether it is the first line.
    pub first: bool,
}

/// What ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// How long it lasted.
    pub lasted: Duration,
    /// How often it happened.
    pub times: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self { again: AGAIN, kept: Mutex::default() }
    }
}

impl<K: Ord + Clone> Repeats<K> {
    /// Tells what lasts again after `again` instead of five minutes.
    #[must_use]
    pub fn every(again: Duration) -> Self {
        Self { again, kept: Mutex::default() }
    }

    /// It happened: says whether a line about it is due.
    pub fn happened(&self, key: K, now: Monotonic) -> Option<Due> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get_mut(&key) {
            (known.last, known.times) = (now, known.times.saturating_add(1));
            if now.since(known.told) < self.again {
                known.untold = known.untold.saturating_add(1);
                return None;
            }
            known.told = now;
            return Some(Due { repeated: std::mem::take(&mut known.untold), first: false });
        }
        if kept.len() >= MOST {
            let oldest = kept.iter().min_by_key(|(_, known)| known.last).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        kept.insert(key, Kept { began: now, told: now, last: now, untold: 0, times: 1 });
        Some(Due { repeated: 0, first: true })
    }

    /// It is over: says how long it lasted, if it had been told.
    pub fn ended(&self, key: &K, now: Monotonic) -> Option<Over> {
        let ended = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(key)?;
        Some(Over { lasted: now.since(ended.began), times: ended.times })
    }

    /// Everything whose key is chosen is over: the keys, each with how long it lasted.
    pub fn all_ended(&self, now: Monotonic, chosen: impl Fn(&K) -> bool) -> Vec<(K, Over)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<K> = kept.keys().filter(|key| chosen(key)).cloned().collect();
        let end = |key: K| kept.remove(&key).map(|was| (key, Over { lasted: now.since(was.began), times: was.times }));
        keys.into_iter().filter_map(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn what_happens_each_second_for_an_hour_makes_thirteen_lines_that_count_the_rest() {
        let repeats = Repeats::default();
        let lines: Vec<Due> = (0..=3600).filter_map(|second| repeats.happened("mail.example.com", at(second))).collect();
        assert_eq!(lines.len(), 13);
        assert_eq!(lines[0], Due { repeated: 0, first: true });
        assert!(lines[1..].iter().all(|line| *line == Due { repeated: 299, first: false }), "{lines:?}");
        let over = repeats.ended(&"mail.example.com", at(3700));
        assert_eq!(over, Some(Over { lasted: Duration::from_secs(3700), times: 3601 }));
        assert_eq!(repeats.ended(&"mail.example.com", at(3701)), None, "the end is told once");
    }

    #[test]
    fn another_cause_is_told_at_once_and_all_of_one_end_together() {
        let repeats = Repeats::default();
        assert!(repeats.happened(("acme", "UnknownIssuer"), at(0)).is_some());
        assert!(repeats.happened(("acme", "ConnectionRefused"), at(1)).is_some());
        assert!(repeats.happened(("other", "UnknownIssuer"), at(1)).is_some());
        let ended = repeats.all_ended(at(2), |(tenant, _)| *tenant == "acme");
        assert_eq!(ended.len(), 2);
        assert!(repeats.happened(("other", "UnknownIssuer"), at(3)).is_none());
    }

    #[test]
    fn what_a_far_side_invents_takes_bounded_memory() {
        let repeats = Repeats::default();
        for key in 0..100_000_u64 {
            assert!(repeats.happened(key, at(key)).is_some());
        }
        assert_eq!(repeats.kept.lock().unwrap().len(), MOST);
        assert!(repeats.happened(99_999, at(100_001)).is_none(), "the newest are kept");
    }
}
