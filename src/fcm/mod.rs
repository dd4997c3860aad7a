//! Firebase Cloud Messaging, HTTP v1: one service account for an app's project.
//!
//! `push_sender` sends, `token` fetches access tokens, `payload` finds FCM's words for a push, `verdict` ours for its answer.

pub mod error;
pub mod payload;
pub mod push_sender;
pub mod token;
pub mod verdict;

pub use error::FcmError;
pub use push_sender::FcmSender;

use crate::config::push::Fcm;
use crate::config::secret::Secret;

/// Says what is wrong with the text of a service account's file, if anything: for checking a configuration.
///
/// # Errors
/// A sentence that says what would be right, without any of the key.
pub fn service_account_problem(account: &Secret, fcm: &Fcm) -> Result<(), String> {
    token::ServiceAccount::parse(account, fcm).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
