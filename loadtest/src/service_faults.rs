//! What goes wrong at the services that mail needs besides Exchange's own, autodiscover and token endpoints: refusals that pass, slow answers, cut connections.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::socket::Cut;

/// Of so many requests one meets a fault.
const ODDS: u32 = 5;
/// Faults in a row after which a request gets through.
const IN_A_ROW: u8 = 2;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFault {
    /// Refused with this status; 429 and 503 may say when to come back.
    Status {
        /// The status.
        code: u16,
        /// Seconds for `Retry-After`.
        retry_after_s: Option<u64>,
    },
    /// Answered correctly, after this long.
    Slow(Duration),
    /// The connection is reset before the request is looked at.
    Cut,
}

/// The faults of one service. Thread-safe; scripted ones come before those of the dice.
#[derive(Debug)]
pub struct ServiceFaults {
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dice: Option<SmallRng>,
    in_a_row: u8,
    scripted: VecDeque<ServiceFault>,
    met: u64,
}

/// A request that is to be refused: status and seconds for `Retry-After`.
pub(crate) type Refused = (u16, Option<u64>);

impl ServiceFaults {
    /// Nothing goes wrong until something is scripted.
    pub fn none() -> Self {
        Self { active: AtomicBool::new(true), state: Mutex::default() }
    }

    /// Everything goes wrong, now and then, by dice from `seed`; never more than twice in a row.
    pub fn storm(seed: u64) -> Self {
        let faults = Self::none();
        faults.lock().dice = Some(SmallRng::seed_from_u64(seed));
        faults
    }

    /// Switches the dice off (a storm passes) or on again. Scripts work either way.
    pub fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// The next requests meet these faults.
    pub fn script(&self, faults: impl IntoIterator<Item = ServiceFault>) {
        self.lock().scripted.extend(faults);
    }

    /// How many requests met a fault.
    pub fn met(&self) -> u64 {
        self.lock().met
    }

    /// Draws what happens to the next request.
    pub fn next(&self) -> Option<ServiceFault> {
        let mut state = self.lock();
        let fault = state.scripted.pop_front().or_else(|| self.thrown(&mut state));
        state.met += u64::from(fault.is_some());
        fault
    }

    fn thrown(&self, state: &mut State) -> Option<ServiceFault> {
        let dice = state.dice.as_mut().filter(|_| self.active.load(Ordering::Relaxed))?;
        if state.in_a_row >= IN_A_ROW || !dice.random_ratio(1, ODDS) {
            state.in_a_row = 0;
            return None;
        }
        state.in_a_row += 1;
        let status = |code, retry_after_s| ServiceFault::Status { code, retry_after_s };
        Some(match dice.random_range(0..6_u8) {
            0 => status(500, None),
            1 => status(503, None),
            2 => status(503, Some(1)),
            3 => status(429, Some(1)),
            4 => ServiceFault::Slow(Duration::from_millis(dice.random_range(50..1_500))),
            _ => ServiceFault::Cut,
        })
    }

    /// Lets a request meet what is drawn for it: nothing (perhaps after a while), or how it is refused.
    ///
    /// # Errors
    /// When its connection was cut.
    pub(crate) async fn meet(&self, cut: &Cut) -> io::Result<Option<Refused>> {
        match self.next() {
            None => Ok(None),
            Some(ServiceFault::Status { code, retry_after_s }) => Ok(Some((code, retry_after_s))),
            Some(ServiceFault::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            Some(ServiceFault::Cut) => {
                cut.now();
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thrown(seed: u64) -> Vec<Option<ServiceFault>> {
        let faults = ServiceFaults::storm(seed);
        (0..1_000).map(|_| faults.next()).collect()
    }

    #[test]
    fn one_seed_throws_the_same_dice_every_kind_comes_up_and_never_more_than_two_in_a_row() {
        assert_eq!(thrown(5), thrown(5));
        assert_ne!(thrown(5), thrown(6));
        let kinds: std::collections::BTreeSet<String> = thrown(5)
            .into_iter()
            .flatten()
            .map(|fault| match fault {
                ServiceFault::Slow(_) => "slow".to_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        let mut row = 0;
        for fault in thrown(7) {
            row = if fault.is_some() { row + 1 } else { 0 };
            assert!(row <= 2);
        }
    }

    #[test]
    fn a_storm_that_has_passed_is_over_and_scripts_work_all_the_same() {
        let faults = ServiceFaults::storm(1);
        faults.set_active(false);
        assert!((0..100).all(|_| faults.next().is_none()));
        faults.script([ServiceFault::Cut]);
        assert_eq!((faults.next(), faults.next(), faults.met()), (Some(ServiceFault::Cut), None, 1));
    }
}
