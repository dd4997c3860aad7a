//! Apple's answers read, payloads that always fit, and the sender against the simulated service.

mod answers;
mod payloads;
mod service;
mod tokens;
