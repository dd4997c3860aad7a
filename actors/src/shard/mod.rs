//! One shard at its owner: adopting it, starting its mailboxes at the node's pace, restarting those that fail.

pub mod actor;
pub mod directory;
pub mod message;
pub mod state;
#[cfg(test)]
mod tests;
