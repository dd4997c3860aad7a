//! Faults that a test puts into the in-memory store: a call fails before or after it was carried out, or all do.

use std::collections::{BTreeMap, VecDeque};

use crate::ports::error::StoreError;

/// The kinds of calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named like the methods of the ports")]
pub enum Call {
    Join,
    Enter,
    Beat,
    ShardAdopt,
    ShardReload,
    Peek,
    Ready,
    HandOver,
    Reclaim,
    Drain,
    Leave,
    View,
    Lead,
    Plan,
    Require,
    AssignLog,
    Accept,
    MailboxLoad,
    SyncStateCommit,
    SubscriptionLoad,
    SubscriptionSet,
    Pending,
    Mark,
    Schedule,
    Stranded,
    Retain,
    Recipients,
    DevicesNow,
    DeviceForget,
    /// Any method of the registry.
    Registry,
}

/// When the call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is carried out.
    Before(StoreError),
    /// It is carried out, then the answer is lost.
    After(StoreError),
    /// The store itself fails by a bug.
    Panic,
}

impl Fault {
    /// The database cannot be reached; nothing is written.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::Before(StoreError::Unavailable("as the test wants".into()))
    }

    /// It is written, and the answer is lost.
    #[must_use]
    pub fn carried_out() -> Self {
        Self::After(StoreError::OutcomeUnknown("as the test wants".into()))
    }

    /// It is not written, and the answer is lost.
    #[must_use]
    pub fn not_carried_out() -> Self {
        Self::Before(StoreError::OutcomeUnknown("as the test wants".into()))
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    queued: BTreeMap<Call, VecDeque<Fault>>,
    pub(super) outage: Option<StoreError>,
    pub(super) calls: BTreeMap<Call, u64>,
}

impl Faults {
    pub(super) fn push(&mut self, call: Call, fault: Fault) {
        self.queued.entry(call).or_default().push_back(fault);
    }

    /// Counts the call and takes the fault that is meant for it.
    pub(super) fn take(&mut self, call: Call) -> Option<Fault> {
        *self.calls.entry(call).or_default() += 1;
        if let Some(error) = &self.outage {
            return Some(Fault::Before(error.clone()));
        }
        self.queued.get_mut(&call).and_then(VecDeque::pop_front)
    }
}
