//! What the nodes of a story said, kept in a folder for whoever looks for the reason of a failure.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Cluster;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// From here on every cluster leaves its nodes' logs there when it ends: one folder a cluster, in the order in which they ended.
pub fn keep_logs(folder: &Path) {
    FOLDER.get_or_init(|| folder.to_owned());
}

impl Drop for Cluster {
    fn drop(&mut self) {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let Some(folder) = FOLDER.get() else { return };
        let folder = folder.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let mut kept = std::fs::create_dir_all(&folder);
        for node in &self.nodes {
            kept = kept.and_then(|()| std::fs::write(folder.join(format!("{}.log", node.name)), node.log()));
        }
        if let Err(error) = kept {
            eprintln!("{}: {error}", folder.display());
        }
    }
}
