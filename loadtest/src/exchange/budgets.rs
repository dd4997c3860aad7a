//! The throttling policy: how much of what a budget may have under way, and who must stay away for how long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// Streaming connections.
    Hanging,
    /// Ordinary requests.
    Requests,
    /// SyncFolderItems.
    SyncCalls,
}

/// What every budget has under way.
#[derive(Default)]
pub(super) struct Budgets {
    under_way: Mutex<HashMap<(Counted, String), usize>>,
    busy: Mutex<HashMap<String, Busy>>,
}

/// A time of back-off.
#[derive(Clone, Copy, Debug)]
struct Busy {
    told: Instant,
    length: Duration,
}

/// A request during a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StayAway {
    /// What is left of it, prolonged if the request came in spite of better knowledge.
    pub(super) left: Duration,
    /// The client had been told long enough ago.
    pub(super) knew: bool,
}

/// A place in a budget, given back when dropped.
pub(super) struct Slot {
    budgets: Arc<Budgets>,
    key: (Counted, String),
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut under_way = self.budgets.lock();
        if let Some(count) = under_way.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}

impl Budgets {
    /// Takes a place; `None` when the budget is full. The real server does not wait for one either: a connection that its client closed
    /// counts until the server has noticed.
    pub(super) fn take(self: &Arc<Self>, counted: Counted, budget: &str, limit: usize) -> Option<Slot> {
        let key = (counted, budget.to_owned());
        let mut under_way = self.lock();
        let count = under_way.entry(key.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Slot { budgets: Arc::clone(self), key })
    }

    /// Tells `account` to stay away for `length`.
    pub(super) fn begin_back_off(&self, account: &str, length: Duration) {
        let told = Instant::now();
        self.busy().insert(account.to_owned(), Busy { told, length });
    }

    /// Whether `account` must stay away. A request that could not have been on its way yet when the account was told
    /// (`grace`) begins the back-off anew.
    pub(super) fn back_off(&self, account: &str, grace: Duration) -> Option<StayAway> {
        let mut all = self.busy();
        let busy = all.get_mut(account)?;
        let since = busy.told.elapsed();
        let Some(left) = busy.length.checked_sub(since).filter(|left| !left.is_zero()) else {
            all.remove(account);
            return None;
        };
        // A client that counts from when it read the answer may be early by a clock's grain, not by more.
        let knew = since > grace && left > Duration::from_millis(50);
        if !knew {
            return Some(StayAway { left, knew });
        }
        busy.told = Instant::now();
        Some(StayAway { left: busy.length, knew })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Counted, String), usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<String, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
