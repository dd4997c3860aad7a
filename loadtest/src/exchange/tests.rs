//! The simulator, spoken to as its clients do: real HTTPS requests.

mod autodiscover;
mod client;
mod faults;
mod foreign;
mod lasting;
mod operations;
mod refusals;
