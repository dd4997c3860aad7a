//! Exit codes: what a script learns without reading the text.

use std::process::ExitCode;

use crate::config::ConfigError;

/// How a command ended. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration has a mistake.
    Usage = 2,
    /// The node, its database or another server cannot be reached.
    NotReachable = 3,
    /// A mail was lost (`demo`).
    MailLost = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure that has an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Its code.
    pub exit: Exit,
    /// What happened and what to do.
    pub text: String,
}

impl Failure {
    /// A failure with its code and text.
    #[must_use]
    pub fn error(exit: Exit, text: impl Into<String>) -> anyhow::Error {
        Self { exit, text: text.into() }.into()
    }
}

impl Exit {
    /// The code of an error.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return failure.exit;
            }
            if cause.is::<ConfigError>() {
                return Self::Usage;
            }
        }
        Self::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_what_is_said_about_it() {
        let lost = Failure::error(Exit::MailLost, "3 mails were lost").context("the demo failed");
        assert_eq!(Exit::of(&lost), Exit::MailLost);
        let config = anyhow::Error::from(ConfigError { file: None, problems: vec![] });
        assert_eq!(Exit::of(&config), Exit::Usage);
        assert_eq!(Exit::of(&anyhow::anyhow!("something else")), Exit::Failed);
    }
}
