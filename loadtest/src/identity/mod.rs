//! The identity provider: service accounts for Exchange, and the company's issuer of tokens for phone users.

mod accounts;
mod clients;
mod discovery;
mod issuer;
mod keys;
mod server;
mod tokens;

pub use accounts::{Accounts, Refusal};
pub use clients::ClientCertificate;
pub use issuer::{Issuer, Mint, Signing};
pub use server::{Client, IdentityOptions, Server};

#[cfg(test)]
mod tests;
