//! The simulator, spoken to as its clients do: real HTTPS requests.

mod autodiscover;
mod client;
mod faults;
mod foreign;
mod operations;
mod refusals;
