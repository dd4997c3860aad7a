//! Who owns what: the plan that spreads shards over nodes, and what it is given.

pub mod board;
pub mod forced;
pub mod plan;
pub mod rebalance;
pub mod rendezvous;
pub mod view;

#[cfg(test)]
mod tests;
