//! What people, disks, networks and servers do wrong: each time a message one can act on, nothing lost, no crash.

mod node;

#[path = "bad_input/configuration.rs"]
mod configuration;
#[path = "bad_input/database.rs"]
mod database;
#[path = "bad_input/full_disk.rs"]
mod full_disk;
#[path = "bad_input/refused.rs"]
mod refused;
#[path = "bad_input/servers.rs"]
mod servers;
#[path = "bad_input/topic.rs"]
mod topic;
