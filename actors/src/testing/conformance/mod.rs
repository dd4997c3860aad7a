//! One suite that every store must pass: a function for each clause of the ports' contracts, so that memory, SQLite and PostgreSQL refuse alike.
//!
//! [`conformance!`](crate::conformance) makes a test of each. Nothing here depends on the time of day; the waits are those of `join`.

#![allow(clippy::unwrap_used, reason = "a test suite: a failed call fails the test")]

pub mod clauses;
pub mod cluster;
pub mod deliveries;
pub mod devices;
pub mod embedded;
pub mod mailboxes;
pub mod members;
pub mod registry;
pub mod shared;
pub mod shared_mail;
pub mod world;

use async_trait::async_trait;

use crate::ports::{ClusterStore, DeliveryStore, DeviceStore, MailboxStore, RegistryStore};

/// All five traits at once.
pub trait Store: ClusterStore + MailboxStore + DeviceStore + DeliveryStore + RegistryStore {}

impl<S: ClusterStore + MailboxStore + DeviceStore + DeliveryStore + RegistryStore> Store for S {}

/// Makes the stores that the suite works on.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// What it makes.
    type Store: Store;

    /// A store on an empty database of its own.
    async fn store(&self) -> Self::Store;

    /// Another process on the same database.
    async fn process(&self, of: &Self::Store) -> Self::Store;

    /// The process dies without a word; what the operating system held for it is given back.
    async fn kill(&self, store: Self::Store);
}
