//! The mail source against the simulated Exchange server, over real TLS.

mod connections;
mod corrupt;
mod faults;
mod harness;
mod isolation;
mod metrics;
mod regroup;
mod shadow;
mod sharing;
mod stories;
mod way_in;
