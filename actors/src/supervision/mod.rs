//! Who is restarted when: one policy for all actors.

pub mod restart;
