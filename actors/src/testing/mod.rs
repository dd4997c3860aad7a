//! Parts for tests: stores in memory, a clock in stopped time, scripted edges, a small world of all of them, the store conformance suite.
pub mod clock;
pub mod conformance;
pub mod memory;
pub mod scripted;
pub mod world;
