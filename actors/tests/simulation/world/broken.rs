//! Protocols that are broken on purpose: each must be caught by its judge. They live in the simulation alone.

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The store does not compare the authority on a commit.
    NoFence,
    /// The gate is always open.
    NoGate,
    /// Whoever believes to own a mailbox writes: neither authority nor number is compared.
    LeaseOnly,
    /// Epochs without the timeline, and no session beside them.
    NoTimelineAndSession,
    /// The sync state is committed first, the rows that it covers a moment later.
    SyncStateAhead,
    /// Rows that nobody holds are not looked for.
    NoSweep,
    /// No sync follows the opening of a stream.
    NoSecondSync,
    /// Adoption does not conflict with the adding of a mailbox.
    SharedLockOnAdoption,
    /// The sweep asks for each mailbox.
    SweepByMailbox,
}
