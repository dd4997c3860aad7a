//! What goes wrong at the simulated server: by script for a test, by dice from one seed for a storm.

mod kinds;
mod lasting;
mod storm;

pub use kinds::{ErrorStatus, NamedIds, RequestFault, StreamFault, StreamPlan};
pub(super) use kinds::{Flavour, HintFate};
pub use lasting::{EndlessSync, Spoilt};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::request::OperationName;
use storm::Storm;

/// The faults of one server. Thread-safe; scripted faults come before those of the dice.
#[derive(Debug)]
pub struct ExchangeFaults {
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    storm: Option<Storm>,
    requests: Vec<Scripted<RequestFault>>,
    streams: Vec<Scripted<StreamPlan>>,
    blocked: HashMap<String, &'static str>,
    broken: HashMap<String, RequestFault>,
    share: Option<Share>,
    counted: HashMap<&'static str, u64>,
    lasting: lasting::Lasting,
}

/// One of so many requests meets a fault.
#[derive(Debug)]
struct Share {
    of: u64,
    fault: RequestFault,
    requests: u64,
}

impl Share {
    /// Spreads the numbers of requests, so that nobody's every third is met.
    fn meets(&mut self) -> bool {
        self.requests += 1;
        (self.requests.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).is_multiple_of(self.of)
    }
}

/// A fault that waits for its occasion.
#[derive(Debug)]
struct Scripted<F> {
    operation: Option<OperationName>,
    mailbox: Option<String>,
    times: usize,
    fault: F,
}

impl<F> Scripted<F> {
    fn fits(&self, operation: OperationName, mailbox: &str) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation) && self.mailbox.as_deref().is_none_or(|wanted| wanted == mailbox)
    }
}

fn take<F: Clone>(waiting: &mut Vec<Scripted<F>>, operation: OperationName, mailbox: &str) -> Option<F> {
    let at = waiting.iter().position(|s| s.fits(operation, mailbox))?;
    let found = waiting.get_mut(at)?;
    let fault = found.fault.clone();
    found.times -= 1;
    if found.times == 0 {
        waiting.remove(at);
    }
    Some(fault)
}

impl ExchangeFaults {
    /// Nothing goes wrong until something is scripted.
    pub fn none() -> Self {
        Self { active: AtomicBool::new(true), state: Mutex::default() }
    }

    /// Everything goes wrong, each thing now and then, by dice from `seed`. No mailbox has more than two faults in a row, so each
    /// gets through in finite time.
    pub fn storm(seed: u64) -> Self {
        let faults = Self::none();
        faults.lock().storm = Some(Storm::new(seed));
        faults
    }

    /// Switches the dice off (a storm passes) or on again. Scripts work either way.
    pub fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// The next `times` requests of `operation` (any when `None`) about `mailbox` (any when `None`) meet `fault`.
    pub fn script(&self, operation: Option<OperationName>, mailbox: Option<&str>, times: usize, fault: RequestFault) {
        if times > 0 {
            self.lock().requests.push(Scripted { operation, mailbox: mailbox.map(str::to_ascii_lowercase), times, fault });
        }
    }

    /// The next `times` streams that are opened in the name of `anchor` (any when `None`) meet what `plan` says.
    pub fn script_stream(&self, anchor: Option<&str>, times: usize, plan: StreamPlan) {
        if times > 0 {
            self.lock().streams.push(Scripted { operation: None, mailbox: anchor.map(str::to_ascii_lowercase), times, fault: plan });
        }
    }

    /// From here on every request for `mailbox` is refused with 403 and this `X-EWS-Policy-Reason`.
    pub fn block_by_policy(&self, mailbox: &str, reason: &'static str) {
        self.lock().blocked.insert(mailbox.to_ascii_lowercase(), reason);
    }

    /// Lifts what [`ExchangeFaults::block_by_policy`] set.
    pub fn unblock(&self, mailbox: &str) {
        self.lock().blocked.remove(&mailbox.to_ascii_lowercase());
    }

    /// From here on every request for `mailbox` meets `fault`, streams in its name too: `Status(503)` is a dismounted database behind a good front end.
    pub fn break_mailbox(&self, mailbox: &str, fault: RequestFault) {
        self.lock().broken.insert(mailbox.to_ascii_lowercase(), fault);
    }

    /// Lifts what [`ExchangeFaults::break_mailbox`] set.
    pub fn mend_mailbox(&self, mailbox: &str) {
        self.lock().broken.remove(&mailbox.to_ascii_lowercase());
    }

    /// From here on one of `of` requests, whosever they are, meets `fault`: one back end of several is dead.
    pub fn one_in(&self, of: u64, fault: RequestFault) {
        self.lock().share = Some(Share { of: of.max(1), fault, requests: 0 });
    }

    /// How often each kind of fault was met.
    pub fn counted(&self) -> Vec<(&'static str, u64)> {
        let mut counted: Vec<_> = self.lock().counted.iter().map(|(k, n)| (*k, *n)).collect();
        counted.sort_unstable();
        counted
    }

    /// What happens to this request.
    pub(super) fn request(&self, operation: OperationName, mailbox: &str) -> Option<RequestFault> {
        let mut state = self.lock();
        let reason = state.blocked.get(mailbox).copied();
        let fault = reason
            .map(RequestFault::PolicyBlocked)
            .or_else(|| state.broken.get(mailbox).cloned())
            .or_else(|| state.share.as_mut().and_then(|share| share.meets().then(|| share.fault.clone())))
            .or_else(|| take(&mut state.requests, operation, mailbox))
            .or_else(|| self.dice(&mut state)?.request(operation, mailbox))?;
        *state.counted.entry(fault.kind()).or_default() += 1;
        Some(fault)
    }

    /// What happens to a stream opened in the name of `anchor`.
    pub(super) fn stream(&self, anchor: &str) -> Option<StreamPlan> {
        let mut state = self.lock();
        let plan = take(&mut state.streams, OperationName::GetStreamingEvents, anchor).or_else(|| self.dice(&mut state)?.stream())?;
        *state.counted.entry(plan.fault.kind()).or_default() += 1;
        Some(plan)
    }

    /// How an answer that succeeds is dressed.
    pub(super) fn flavour(&self) -> Flavour {
        let mut state = self.lock();
        let flavour = self.dice(&mut state).map(Storm::flavour);
        flavour.unwrap_or_default()
    }

    /// What happens to a notification on its way.
    pub(super) fn hint(&self) -> HintFate {
        let mut state = self.lock();
        self.dice(&mut state).map(Storm::hint).unwrap_or_default()
    }

    /// Where a document of `length` bytes is cut into chunks.
    pub(super) fn cuts(&self, document: &str) -> Vec<usize> {
        let mut state = self.lock();
        self.dice(&mut state).map(|storm| storm.cuts(document)).unwrap_or_default()
    }

    fn dice<'a>(&self, state: &'a mut State) -> Option<&'a mut Storm> {
        let active = self.active.load(Ordering::Relaxed);
        state.storm.as_mut().filter(|_| active)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
