//! Starts the simulators as a process of their own.
fn main() {}
