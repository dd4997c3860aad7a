//! Parts for tests: stores in memory, a clock in stopped time, scripted edges, the store conformance suite.
pub mod conformance;
pub mod memory;
