//! Logs, metrics, and what happens to both when the process fails.

pub mod crash;
pub mod logs;
