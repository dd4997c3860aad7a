//! A node that watches a simulated world: what the `demo` command, the stories under `tests/` and the benches start.

pub mod display;
pub mod setup;
pub mod story;
