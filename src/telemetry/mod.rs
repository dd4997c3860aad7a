//! Logs, metrics, and what happens to both when the process fails.

pub mod catalog;
pub mod crash;
pub mod exporter;
pub mod logs;
pub mod metrics;
