//! A temporary PostgreSQL of the tests' own: on a free port, stopped, killed, copied and promoted at will, thrown away however the tests end.
#![allow(dead_code, unused_imports, reason = "each test binary needs a part of it")]

mod folder;
mod programs;
mod server;

pub use programs::{LOCKED_ROLE, PASSWORD};
pub use server::{Database, Server};
