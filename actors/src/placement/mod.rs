//! Who owns what: nodes observe each other, one leads, and it plans which shard belongs to whom.

pub mod actor;
pub mod board;
pub mod cef;
pub mod forced;
pub mod guard;
pub mod leader;
pub mod memory;
pub mod message;
pub mod observe;
pub mod plan;
pub mod rebalance;
pub mod rendezvous;
pub mod report;
pub mod round;
pub mod tell;
pub mod tuning;
pub mod view;

#[cfg(test)]
mod tests;
