//! Postrider's core: it decides what is watched, collected, pushed, repeated and given up; it knows no HTTP, no SQL, no XML and no file.

pub mod alarm;
pub mod context;
pub mod delivery;
pub mod gate;
pub mod ids;
pub mod mailbox;
pub mod node;
pub mod placement;
pub mod places;
pub mod ports;
pub mod settings;
pub mod shard;
pub mod snapshot;
pub mod supervision;
pub mod system;
pub mod task;
pub mod telemetry;
pub mod time;
pub mod turns;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
