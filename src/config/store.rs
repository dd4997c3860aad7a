//! `[store]`: where state is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::Problems;
use super::section::section;

section! {
    /// The embedded database of one node: no server to install. A second process on the same file takes over once the first is gone.
    pub struct Store with defaults {
        /// The SQLite file; its folder must exist. Beside it lie the write-ahead log and the lock file of the process that owns it.
        pub path: PathBuf = "postrider.db".into();
        /// Deadline of one statement.
        pub statement_deadline: Duration = Duration::from_secs(5), within Duration::from_millis(100)..=Duration::from_secs(60);
        /// Connections that read beside the one that writes.
        pub readers: u32 = 4, within 1..=64;
    }
}

impl Store {
    /// The folder must be there; the file is made when it is opened.
    pub fn check(&self, problems: &mut Problems) {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            problems.add("store.path", format!("the folder {} does not exist; create it, writable for the service", folder.display()));
        }
        if self.path.is_dir() {
            problems.add("store.path", format!("{} is a folder; name a file in it", self.path.display()));
        }
    }
}
