//! FCM's answers read, messages that always fit, access tokens, and the sender against the simulated service.

mod answers;
mod payloads;
mod service;
mod tokens;
