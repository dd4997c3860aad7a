//! Callers who are not recognised: each is counted, and a sample is logged with the caller's address. They write nothing into the database, however often they try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postrider_actors::time::Monotonic;

use crate::api::limit::network_of;
use crate::telemetry::metrics::api_unrecognised;

/// An address is logged once in this time; what it did meanwhile is counted.
const PAUSE: Duration = Duration::from_secs(60);
/// How many addresses are told apart; beyond, the others are one.
const ROOM: usize = 256;
/// The name of those for whom there was no room.
const CROWD: &str = "others";

struct Seen {
    logged: Monotonic,
    since: u64,
}

/// Whose failed tries were logged when.
#[derive(Default)]
pub struct Strangers(Mutex<HashMap<String, Seen>>);

impl Strangers {
    /// Takes note of a caller who was not let in at a route, and why.
    pub fn note(&self, peer: IpAddr, route: &str, why: &str, now: Monotonic) {
        api_unrecognised(1);
        if let Some(earlier) = self.due(&network_of(peer), now) {
            tracing::warn!(target: "postrider::audit", %peer, route, why, earlier, "a caller was not let in; `earlier` tries of its network were not logged");
        }
    }

    /// Whether this one is logged, and how many were not since the last one that was.
    fn due(&self, network: &str, now: Monotonic) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= ROOM && !seen.contains_key(network) {
            seen.retain(|_, seen| now < seen.logged + PAUSE);
        }
        let name = if seen.len() < ROOM || seen.contains_key(network) { network } else { CROWD };
        match seen.get_mut(name) {
            Some(seen) if now < seen.logged + PAUSE => {
                seen.since += 1;
                None
            }
            Some(seen) => {
                let earlier = seen.since;
                *seen = Seen { logged: now, since: 0 };
                Some(earlier)
            }
            None => {
                seen.insert(name.to_owned(), Seen { logged: now, since: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_minute_and_hides_nobody() {
        let strangers = Strangers::default();
        let at = |second: i64| Monotonic(1 + second * 1_000_000);
        let flood = |second: i64| (0..31_000).filter_map(|_| strangers.due("192.0.2.1", at(second))).collect::<Vec<_>>();
        assert_eq!(flood(0), [0_u64]);
        assert_eq!(strangers.due("192.0.2.2", at(1)), Some(0), "another address has its own line");
        assert!(flood(59).is_empty());
        assert_eq!(flood(60), [61_999_u64]);
        for n in 0..10_000 {
            let _ = strangers.due(&n.to_string(), at(61));
        }
        assert!(strangers.0.lock().unwrap().len() <= ROOM + 1);
    }
}
