//! `[node]`: this node among the others.

use std::time::Duration;

use super::section::section;

section! {
    /// A node is one process on one machine.
    pub struct Node with defaults {
        /// The node's name: one machine, over all lives of its process. Shown in logs, metrics and the cluster's tables.
        pub name: String = "node-1".into();
        /// How long SIGTERM waits for what is under way.
        pub stop_deadline: Duration = Duration::from_secs(20), within Duration::from_secs(1)..=Duration::from_secs(600);
        /// Threads that do the work; `0`: as many as there are processors.
        pub threads: usize = 0, within 0..=256;
    }
}
