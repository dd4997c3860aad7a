//! What can go wrong with a store, in terms of what one does about it.

/// Why a store call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written: the database is out of reach, busy beyond its deadline or a lock was not granted. Try again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The call may or may not have been carried out (the answer was lost): read again before going on.
    #[error("it is not known whether the database carried out the call: {0}")]
    OutcomeUnknown(String),
    /// Nothing can be written until a person helps: disk full, read-only file, wrong or newer schema, another database.
    #[error("the database cannot be used: {0}")]
    Unusable(String),
}
