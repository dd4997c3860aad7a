//! Google, simulated, against the sender.
