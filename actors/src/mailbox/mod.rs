//! One watched mailbox: its subscription, its coalescing window, and when it is collected.

pub mod actor;
pub mod journal;
pub mod message;
pub mod slot;
pub mod state;
#[cfg(test)]
mod tests;
