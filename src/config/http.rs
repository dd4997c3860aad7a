//! `[http]`: whom outgoing connections trust.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Problems;
use super::section::section;

section! {
    /// Connections to Exchange, autodiscover and identity providers. TLS is 1.2 or newer and certificates are always checked.
    pub struct Http with defaults {
        /// PEM files of authorities to trust besides the system's: the company's own.
        pub roots: Vec<PathBuf>;
        /// DNS servers to ask for names in place of the system's, such as `10.0.0.53:53`: for a network where only they know the mail servers.
        pub name_servers: Vec<SocketAddr>;
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
