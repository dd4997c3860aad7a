//! The embedded database, on real files: every clause of the ports' contracts, two processes on one file, and files that cannot be used.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "store/files.rs"]
mod files;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/processes.rs"]
mod processes;

use fixture::Sqlite;

postrider_actors::conformance!(Sqlite::default());
postrider_actors::conformance!(embedded: Sqlite::default());
