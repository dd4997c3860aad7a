//! This node among the others: joining, heartbeats, the gate, its shards, its chores.

pub mod actor;
pub mod chores;
pub mod message;
pub mod moves;
pub mod rival;
pub mod state;
#[cfg(test)]
mod tests;
