//! What the placement actor is told.

use super::leader::Input;
use crate::snapshot::NodeState;

/// Messages of the placement actor.
#[derive(Debug)]
pub enum Message {
    /// For its state machine.
    Step(Input),
    /// Where this node stands changed.
    Stands(NodeState),
    /// The node is no more.
    Over,
    /// A task of this actor ended without an answer: it panicked.
    Vanished,
}
