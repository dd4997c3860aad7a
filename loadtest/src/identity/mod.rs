//! The identity provider: service accounts for Exchange, and the company's issuer of tokens for phone users.

mod accounts;

pub use accounts::{Accounts, Refusal};
