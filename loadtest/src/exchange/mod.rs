//! A simulated Exchange server: autodiscover and web services over HTTPS, with the real one's limits, refusals and moods.

mod affinity;
mod autodiscover;
mod budgets;
mod coverage;
mod door;
mod faults;
mod names;
mod operations;
mod options;
mod pulls;
mod reply;
mod request;
mod schema;
mod server;
mod subscriptions;
mod vocabulary;

pub use autodiscover::Redirect;
pub use coverage::CoverageReport;
pub use faults::{EndlessSync, ErrorStatus, ExchangeFaults, NamedIds, RequestFault, Spoilt, StreamFault, StreamPlan};
pub use options::{ExchangeOptions, Group, Limits, Timings};
pub use request::OperationName;
pub use server::Server;

#[cfg(test)]
mod tests;
