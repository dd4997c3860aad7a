//! `[http]`: whom outgoing connections trust.

use std::path::PathBuf;

use super::Problems;
use super::section::section;

section! {
    /// Connections to Exchange, autodiscover and identity providers. TLS is 1.2 or newer and certificates are always checked.
    pub struct Http with defaults {
        /// PEM files of authorities to trust besides the system's: the company's own.
        pub roots: Vec<PathBuf>;
    }
}

impl Http {
    /// The files must be there; what is in them is looked at when they are used.
    pub fn check(&self, problems: &mut Problems) {
        for path in &self.roots {
            problems.file("http.roots", path);
        }
    }
}
