//! What a node actor is told.

use super::state::Input;
use crate::ids::ShardId;

/// Messages of a node actor.
#[derive(Debug)]
pub enum Message {
    /// For its state machine.
    Step(Input),
    /// Mailboxes of the shard changed: look now.
    ShardChanged(ShardId),
    /// A shard whose actor failed may be started again.
    Restart(ShardId),
    /// A task of this actor ended without an answer: it panicked.
    Vanished,
}
