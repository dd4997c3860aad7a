//! Rules that clients broke, counted by rule, with a few examples of each.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::witness::Misuse;

use super::verdict::MisuseCount;

/// So many examples of one rule are kept.
const EXAMPLES: usize = 3;

#[derive(Debug, Default)]
struct Entry {
    count: u64,
    examples: Vec<String>,
}

/// The book of broken rules; it grows with the number of rules, not with the number of times.
#[derive(Debug, Default)]
pub(super) struct MisuseBook {
    rules: Mutex<BTreeMap<(&'static str, &'static str), Entry>>,
}

impl MisuseBook {
    pub(super) fn enter(&self, what: Misuse) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = rules.entry((what.server, what.rule)).or_default();
        entry.count += 1;
        if entry.examples.len() < EXAMPLES && !entry.examples.contains(&what.detail) {
            entry.examples.push(what.detail);
        }
    }

    pub(super) fn total(&self) -> u64 {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.values().map(|entry| entry.count).sum()
    }

    pub(super) fn counts(&self) -> Vec<MisuseCount> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = |(&(server, rule), entry): (&(&'static str, &'static str), &Entry)| MisuseCount {
            server: server.to_owned(),
            rule: rule.to_owned(),
            count: entry.count,
            examples: entry.examples.clone(),
        };
        rules.iter().map(entry).collect()
    }
}
