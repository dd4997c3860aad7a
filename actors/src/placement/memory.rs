//! What a leader remembers about shards from look to look, on its own clock: since when one is on its way, until when one rests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::view::Target;
use crate::ids::{Session, ShardId};
use crate::ports::cluster_store::ShardView;
use crate::time::Monotonic;

/// What is remembered. Whatever was done by whom, it is learned by looking: a commit of unknown outcome and a hand-over between two nodes are the same to it.
#[derive(Debug, Default)]
pub struct Memory {
    shards: BTreeMap<ShardId, Known>,
    /// A look failed: what hand-overs did meanwhile is not known, and they get their time again.
    gap: bool,
}

/// What is remembered about one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Who owned it.
    owner: Option<Session>,
    /// The hand-over under way.
    pub target: Option<Target>,
    /// Until then it is not moved for balance.
    pub rests_until: Monotonic,
    /// Where its last hand-over came to nothing.
    pub avoids: Option<Session>,
}

impl Memory {
    /// Takes note of all shards.
    pub fn seen(&mut self, now: Monotonic, rows: &[ShardView], cooldown: Duration) {
        for row in rows {
            let mut known = self.of(row.shard);
            if known.owner.is_none() {
                // It came from nobody, as all do when a cluster begins, or is seen for the first time: nothing is known against moving it.
            } else if known.owner != row.owner {
                known.rests_until = now + cooldown;
                known.avoids = None;
            } else if let Some(target) = known.target.filter(|target| row.target.is_none_or(|is| is.session != target.session)) {
                known.rests_until = now + cooldown;
                known.avoids = Some(target.session);
            }
            known.owner = row.owner;
            known.target = row.target.map(|target| {
                let same = known.target.filter(|known| known.session == target.session && !self.gap);
                let since = same.map_or(now, |known| known.since);
                let ready_since = target.ready.then(|| same.and_then(|known| known.ready_since).unwrap_or(now));
                Target { session: target.session, since, ready_since }
            });
            self.shards.insert(row.shard, known);
        }
        self.gap = false;
    }

    /// A look failed.
    pub fn failed(&mut self) {
        self.gap = true;
    }

    /// What is remembered about a shard.
    #[must_use]
    pub fn of(&self, shard: ShardId) -> Known {
        self.shards.get(&shard).copied().unwrap_or_default()
    }
}
