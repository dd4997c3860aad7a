//! Apple Push Notification service: one credential for an app in one environment, with token authentication over HTTP/2.
//!
//! `push_sender` sends, `token` signs, `payload` finds Apple's words for a push, `verdict` ours for Apple's answer.

pub mod error;
pub mod payload;
pub mod push_sender;
pub mod token;
pub mod verdict;

pub use error::ApnsError;
pub use push_sender::{ApnsSender, Environment};
pub use token::ProviderTokens;

use crate::config::secret::Secret;

/// Says what is wrong with the text of a key file, if anything: for checking a configuration.
///
/// # Errors
/// A sentence that says what would be right, without any of the key.
pub fn key_problem(key: &Secret) -> Result<(), String> {
    token::parse_key(key).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
