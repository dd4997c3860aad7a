//! What a shard actor is told.

use super::state::Input;

/// Messages of a shard actor.
#[derive(Debug)]
pub enum Message {
    /// For its state machine.
    Step(Input),
    /// A task of this actor ended without an answer: it panicked.
    Vanished,
}
