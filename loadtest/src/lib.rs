//! Simulators of Exchange, an identity provider, Apple and Google, arrivals of mail, faults from one seed, and the ledger that judges.

pub mod apple;
pub mod arrivals;
pub mod bare;
pub mod control;
pub mod credentials;
pub mod driver;
pub mod exchange;
pub mod fleet;
pub mod google;
mod https;
pub mod identity;
pub mod ledger;
pub mod phones;
pub mod push_faults;
pub mod run;
pub mod service_faults;
pub mod simulators;
pub mod socket;
pub mod tls;
pub mod witness;
pub mod world;
mod xml;
