//! The mail source against the simulated Exchange server, over real TLS.

mod connections;
mod corrupt;
mod faults;
mod harness;
mod isolation;
mod loops;
mod metrics;
mod regroup;
mod shadow;
mod sharing;
mod stories;
mod way_in;
