//! One collection of a mailbox and the pushes that come of it.

pub mod batch;
pub mod breaker;
pub mod channels;
pub mod collect;
pub mod commit;
pub mod fanout;
pub mod message;
pub mod outgoing;
pub mod policy;
pub mod retry;
pub mod run;
pub mod send;
#[cfg(test)]
mod tests;
mod transmit;
