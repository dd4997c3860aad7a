//! `[node]`: this node among the others.

use std::time::Duration;

use super::Problems;
use super::section::section;

section! {
    /// A node is one process on one machine.
    pub struct Node with defaults {
        /// The node's name: one machine, over all lives of its process. Shown in logs, metrics and the cluster's tables.
        pub name: String = "node-1".into();
        /// Where the other nodes and administrators reach this one's `api.admin_listen`, as `http://host:port` or `https://host:port`. Nodes ask `GET /readyz` there, only when many nodes
        /// seem to be lost at once, to tell dead nodes from a database that lost them. `postrider mailbox why` asks there about a mailbox that this node watches, with the caller's key,
        /// over https or on the same machine only. Empty: nobody asks.
        pub addr: String = String::new();
        /// Its share of the users relative to the other nodes; how many it takes at most is `core.max_users`.
        pub weight: u32 = 1, within 1..=1_000;
        /// What this node can do beyond what its program can: names of small letters, digits and hyphens. `postrider cluster require NAME` gives shards only to nodes that have it.
        pub features: Vec<String>;
        /// How long SIGTERM waits until other nodes took its users over (with a database that nodes share) and what is under way is finished. A service manager must wait a little longer (systemd: `TimeoutStopSec`).
        pub stop_deadline: Duration = Duration::from_secs(120), within Duration::from_secs(1)..=Duration::from_secs(600);
        /// Threads that do the work; `0`: as many as there are processors.
        pub threads: usize = 0, within 0..=256;
    }
}

/// What every program of this version can do.
const OWN_FEATURES: &str = "ews";
/// Longest name of a feature.
const FEATURE_MAX: usize = 32;

/// Whether a text may name a feature.
#[must_use]
pub fn is_feature(text: &str) -> bool {
    let well_formed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= FEATURE_MAX && text.chars().all(well_formed)
}

/// Whether a text is the address of a server, without a path.
fn is_server(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
    })
}

impl Node {
    /// Everything that the node can do, names separated by commas.
    #[must_use]
    pub fn all_features(&self) -> String {
        let own = std::iter::once(OWN_FEATURES);
        own.chain(self.features.iter().map(String::as_str)).collect::<Vec<_>>().join(",")
    }

    /// What no range can say.
    pub fn check(&self, problems: &mut Problems) {
        if self.name.is_empty() || self.name.len() > 64 || self.name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            problems.add("node.name", "takes 1 to 64 characters without spaces");
        }
        if !self.addr.is_empty() && !is_server(&self.addr) {
            problems.add("node.addr", "takes http://HOST:PORT or https://HOST:PORT, where the other nodes reach this one; or leave it out");
        }
        if self.features.iter().any(|name| !is_feature(name)) {
            problems.add("node.features", "takes names of small letters, digits and hyphens, at most 32 characters each");
        }
    }
}
