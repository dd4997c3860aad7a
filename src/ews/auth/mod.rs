//! The ways into Exchange, one file a kind.

pub mod basic;
pub mod oauth;

pub use basic::Basic;
pub use oauth::ClientCredentials;

#[cfg(test)]
mod tests;
