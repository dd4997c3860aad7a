//! Apple, simulated, against the sender.
