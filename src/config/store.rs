//! `[store]`: where state is kept.

use std::time::Duration;

use super::Problems;
use super::database_url::{DatabaseUrl, PostgresUrl};
use super::secret::SecretSource;
use super::section::section;

section! {
    /// The database: a file (SQLite) for one node without a server to install, or PostgreSQL for as many nodes as one likes.
    pub struct Store with defaults {
        /// `sqlite:<path>`: its folder must exist; beside the file lie the write-ahead log and the lock file of the process that owns it, and a second process on the file takes over once the first is gone.
        /// `postgres://user@host:port,host:port/database?sslmode=verify-full&sslrootcert=ca.pem`: all hosts are tried, the one that takes writes is used and found again after a failover.
        pub url: DatabaseUrl = DatabaseUrl::Sqlite("postrider.db".into());
        /// The password of the URL's user, so that it need not stand in the URL (PostgreSQL).
        pub password: Option<SecretSource>;
        /// Work with a PostgreSQL server on another machine that does not prove who it is: a `sslmode` weaker than `verify-full`. Whoever can answer in its place then reads and
        /// changes everything; a password is given to no such server all the same (a client certificate is, as it reveals nothing).
        pub unverified_server: bool = false;
        /// Deadline of one statement (PostgreSQL).
        pub statement_deadline: Duration = Duration::from_secs(5), within Duration::from_millis(100)..=Duration::from_secs(60);
        /// Connections at most, beside the one for heartbeats and the one for looks at the cluster (PostgreSQL); half of them serve people and phones. Nodes times this, and two more each, must be less than the server's `max_connections`.
        pub connections: u32 = 8, within 1..=100;
        /// Connections that read beside the one that writes (SQLite).
        pub readers: u32 = 4, within 1..=64;
    }
}

impl Store {
    /// The folder and the certificates must be there; the file is made when it is opened.
    pub fn check(&self, problems: &mut Problems) {
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                    let text = format!("the folder {} does not exist; create it, writable for the service", folder.display());
                    problems.add("store.url", text);
                }
                if path.is_dir() {
                    problems.add("store.url", format!("{} is a folder; name a file in it", path.display()));
                }
                if self.password.is_some() {
                    problems.add("store.password", "a file has no password: leave it out, or name a PostgreSQL server in store.url");
                }
            }
            DatabaseUrl::Postgres(url) => self.check_server(url, problems),
        }
    }

    fn check_server(&self, url: &PostgresUrl, problems: &mut Problems) {
        let (certificate, key) = url.ssl_client.as_ref().map(|(certificate, key)| (certificate, key)).unzip();
        for path in [url.ssl_roots.as_ref(), certificate].into_iter().flatten() {
            problems.file("store.url", path);
        }
        if let Some(key) = key {
            problems.secret_file("store.url", key);
        }
        if let Err(text) = url.refuse_unverified(self.unverified_server, url.password.is_some() || self.password.is_some()) {
            problems.add("store.url", text);
        }
        if url.password.is_some() && self.password.is_some() {
            problems.add("store.password", "store.url holds a password, too: leave one of them out");
        }
        if let Some(password) = &self.password {
            problems.secret("store.password", password);
        }
    }
}
