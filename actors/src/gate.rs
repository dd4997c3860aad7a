//! The gate: one deadline, read before every effect, after which this process does nothing that anybody could notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::ports::Clock;
use crate::time::Monotonic;

/// Whether effects (fenced commits, pushes) may begin. Closes by itself when heartbeats cease to be acknowledged (invariant I8).
pub struct Gate {
    clock: Arc<dyn Clock>,
    /// Monotonic microseconds; an effect may begin before it.
    deadline: AtomicI64,
    /// Whether the database allows pushes to leave.
    sending: AtomicBool,
    /// Closed for ever.
    closed: AtomicBool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("open", &self.is_open()).finish()
    }
}

impl Gate {
    /// A gate that is closed until the first heartbeat.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, deadline: AtomicI64::new(i64::MIN), sending: AtomicBool::new(false), closed: AtomicBool::new(false) })
    }

    /// A heartbeat that was sent at `t_send` came back: effects may begin until `until`.
    pub fn open_until(&self, until: Monotonic, sending: bool) {
        self.sending.store(sending, Ordering::Release);
        self.deadline.fetch_max(until.0, Ordering::AcqRel);
        // Closed meanwhile by another thread: it stays closed.
        if self.closed.load(Ordering::Acquire) {
            self.close();
        }
    }

    /// No effect begins before the next heartbeat that opens the gate.
    pub fn suspend(&self) {
        self.deadline.store(i64::MIN, Ordering::Release);
    }

    /// No effect begins from here on, for ever.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.sending.store(false, Ordering::Release);
        self.deadline.store(i64::MIN, Ordering::Release);
    }

    /// Whether a fenced commit may begin at this moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open_at(self.clock.monotonic())
    }

    fn is_open_at(&self, now: Monotonic) -> bool {
        !self.closed.load(Ordering::Acquire) && now.0 < self.deadline.load(Ordering::Acquire)
    }

    /// Whether a push may begin at this moment.
    #[must_use]
    pub fn lets_pushes_out(&self) -> bool {
        self.lets_pushes_out_at(self.clock.monotonic())
    }

    /// The same at a moment that was read just now.
    #[must_use]
    pub fn lets_pushes_out_at(&self, now: Monotonic) -> bool {
        self.sending.load(Ordering::Acquire) && self.is_open_at(now)
    }

    /// Whether the database allows pushes to leave.
    #[must_use]
    pub fn sending_allowed(&self) -> bool {
        self.sending.load(Ordering::Acquire)
    }
}
