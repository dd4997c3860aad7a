//! Who owns what: the plan that spreads shards over nodes, and what it is given.

pub mod board;
pub mod cef;
pub mod forced;
pub mod guard;
pub mod leader;
pub mod memory;
pub mod observe;
pub mod plan;
pub mod rebalance;
pub mod rendezvous;
pub mod report;
pub mod round;
pub mod tuning;
pub mod view;

#[cfg(test)]
mod tests;
