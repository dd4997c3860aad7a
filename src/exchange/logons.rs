//! The gate of a tenant's credential, shared by all its calls, streams and look-ups: see [`super::gate`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_actors::telemetry::catalog::Level;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::gate::{Gate, Passage, Rules};
use super::{AuthError, Authenticator};
use crate::telemetry::metrics;

/// Counts a credential's logons, and holds back those that would lock it.
pub struct Logons {
    /// Tenant and identity, for people.
    name: String,
    gate: Mutex<Gate>,
    learned: Notify,
    /// The identity provider's refusals that were counted.
    refusals: AtomicU64,
    /// Shows the credential as refused.
    shown: Mutex<Option<Level>>,
}

impl std::fmt::Debug for Logons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Logons({})", self.name)
    }
}

impl Logons {
    /// The gate of one credential; `name` says tenant and identity to people.
    #[must_use]
    pub fn new(name: String, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            name,
            gate: Mutex::new(Gate::new(rules)),
            learned: Notify::new(),
            refusals: AtomicU64::new(0),
            shown: Mutex::default(),
        })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the credential rests because it is refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.gate().is_closed()
    }

    /// Waits for a logon's turn, for a mailbox.
    ///
    /// # Errors
    /// [`AuthError::Rests`].
    pub async fn enter<'a>(self: &'a Arc<Self>, who: &'a str) -> Result<Logon<'a>, AuthError> {
        loop {
            let mut learned = std::pin::pin!(self.learned.notified());
            learned.as_mut().enable();
            let passage = self.gate().ask(Instant::now(), who);
            match passage {
                Passage::Go(number) => return Ok(Logon { logons: self, who, number, over: false }),
                Passage::Rest(left) => return Err(AuthError::Rests { left, all: false }),
                Passage::Closed(left) => return Err(AuthError::Rests { left, all: true }),
                Passage::Wait(until) => {
                    let _ = tokio::time::timeout_at(until, learned).await;
                }
            }
        }
    }

    fn show_closed(&self, retry: Duration, what: &str) {
        tracing::error!(
            credential = self.name,
            what,
            ?retry,
            "Exchange refuses the credential: nothing is asked but one probe now and then, mail of the tenant is late; check name, password or secret, and whether the account is locked"
        );
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(metrics::credential_refused());
    }
}

/// A logon under way. Dropped without a verdict it says nothing.
#[must_use]
pub struct Logon<'a> {
    logons: &'a Logons,
    who: &'a str,
    number: u64,
    over: bool,
}

impl Logon<'_> {
    /// It was let in.
    pub fn accepted(mut self) {
        self.over = true;
        let opened = self.logons.gate().accepted(Instant::now(), self.who, self.number);
        if opened {
            tracing::info!(credential = self.logons.name, "Exchange accepts the credential again");
            *self.logons.shown.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.logons.learned.notify_waiters();
    }

    /// It was refused (HTTP 401). `true` if the credential was good a while ago: some servers answer so when they want to be left alone.
    pub fn refused(mut self) -> bool {
        self.over = true;
        metrics::refused_logons(1);
        let mut gate = self.logons.gate();
        let closed = gate.refused(Instant::now(), self.who, self.number);
        let was_good = gate.was_good();
        drop(gate);
        self.told(closed, "HTTP 401");
        was_good
    }

    /// There is no authorization to send. A refusal of the identity provider is counted, once however many wait for its answer.
    pub fn without_authorization(mut self, auth: &dyn Authenticator, error: &AuthError) {
        let AuthError::Refused { code } = error else { return };
        let refusals = auth.refusals();
        if self.logons.refusals.fetch_max(refusals, Ordering::Relaxed) >= refusals {
            return;
        }
        self.over = true;
        metrics::refused_logons(1);
        let closed = self.logons.gate().refused_by_provider(Instant::now(), self.number);
        self.told(closed, code);
    }

    fn told(&self, closed: bool, what: &str) {
        if closed {
            let retry = match self.logons.gate().ask(Instant::now(), self.who) {
                Passage::Closed(left) => left,
                _ => Duration::ZERO,
            };
            self.logons.show_closed(retry, what);
        }
        self.logons.learned.notify_waiters();
    }

    /// The connection broke.
    pub fn broke(mut self) {
        self.over = true;
        self.logons.gate().gave_up(Instant::now(), self.number, true);
        self.logons.learned.notify_waiters();
    }
}

impl Drop for Logon<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.logons.gate().gave_up(Instant::now(), self.number, false);
            self.logons.learned.notify_waiters();
        }
    }
}
