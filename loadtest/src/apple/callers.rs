//! Which connection each accepted push came on: tells apart several processes of one product.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Times of pushes by the local port of the client.
#[derive(Default)]
pub(super) struct Callers {
    pushes: Mutex<HashMap<u16, Vec<Instant>>>,
}

impl Callers {
    pub(super) fn note(&self, port: u16, at: Instant) {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner).entry(port).or_default().push(at);
    }

    /// What came from these ports at `since` or later.
    pub(super) fn since(&self, ports: &[u16], since: Instant) -> Vec<Instant> {
        let pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        ports.iter().filter_map(|port| pushes.get(port)).flatten().copied().filter(|at| *at >= since).collect()
    }
}
