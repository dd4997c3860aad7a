//! The folder of a test's servers, with a keeper outside of the test's process that ends what still runs and removes all of it.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use std::os::unix::process::CommandExt as _;

use super::programs::Programs;

/// Waits for the end of its input, which comes with the end of the process that holds the other side, whatever ends that.
const KEEPER: &str = r#"
trap '' INT TERM HUP
read -r _
for file in "$0"/*/postmaster.pid; do
    [ -f "$file" ] || continue
    server=$(head -n 1 "$file")
    kill -CONT "$server"
    kill -QUIT "$server"
    tries=0
    while kill -0 "$server" && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
    kill -KILL "$server"
done
rm -rf "$0"
"#;

/// A folder that is gone, with every server in it, when this value or this process is.
pub struct Folder {
    path: PathBuf,
    keeper: Child,
    hold: Option<ChildStdin>,
}

impl Folder {
    pub fn new() -> Self {
        let path = tempfile::Builder::new().prefix("postrider-postgres-").tempdir().expect("a folder").keep();
        Programs::here().give(&path);
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(KEEPER).arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that what ends the test by its group leaves the keeper.
        let mut keeper = keeper.process_group(0).spawn().expect("sh is there");
        let hold = keeper.stdin.take();
        Self { path, keeper, hold }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.hold.take());
        // It ends by itself; nothing hangs on how.
        let _ = self.keeper.wait();
    }
}
