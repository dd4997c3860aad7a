//! The simulator, spoken to as its clients do: real HTTPS requests.

mod client;
mod operations;
