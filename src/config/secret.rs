//! A secret from a file or the environment: it prints nothing and is wiped when dropped.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Where a secret is to be found; exactly one of the two.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SecretSource {
    /// A file whose content, without the line end, is the secret.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A secret in memory.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a secret that came from elsewhere (a test, a prompt).
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The secret itself: for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretSource {
    /// Where it is, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Env(name) => format!("environment variable {name}"),
        }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// A sentence that names the file or variable and what to do, never the content.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => {
                    Err(format!("{}: the file is empty; put the secret into it", path.display()))
                }
                Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
                Err(error) => Err(format!("{}: cannot be read ({error}); create it, readable for the service only", path.display())),
            },
            Self::Env(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(Secret::new(text)),
                _ => Err(format!("environment variable {name} is not set or empty")),
            },
        }
    }
}
