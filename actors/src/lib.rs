//! Postrider's core: it decides what is watched, collected, pushed, repeated and given up; it knows no HTTP, no SQL, no XML and no file.

pub mod ids;
pub mod ports;
pub mod settings;
pub mod snapshot;
pub mod telemetry;
pub mod time;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
