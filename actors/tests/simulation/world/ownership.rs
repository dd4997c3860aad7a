//! What changes of ownership the tables show, statement by statement: for judges.

use std::collections::BTreeMap;

use postrider_actors::ids::{Fence, NodeId, Session, ShardId};
use postrider_actors::snapshot::NodeState;
use postrider_actors::testing::memory::Model;

use super::World;
use super::history::What;

/// Owners and standings as they were seen last.
#[derive(Debug, Default)]
pub struct Ownership {
    version: i64,
    shards: BTreeMap<ShardId, (Option<Session>, Fence)>,
    nodes: BTreeMap<NodeId, (Session, NodeState)>,
}

impl World {
    /// Looks what a statement changed.
    pub fn ownership_seen(&mut self) {
        let store = self.db.store.clone();
        let before = std::mem::take(&mut self.ownership);
        let after = store.read(|model| look(model, before.version, &before.shards));
        for (session, state) in after.nodes.values() {
            let bad_before = before.nodes.values().any(|(other, state)| other == session && *state == NodeState::Bad);
            if *state == NodeState::Bad && !bad_before {
                let silent = self.now - self.beats.get(session).copied().unwrap_or(self.now);
                self.note(None, What::Bad { session: *session, silent, rests: self.rests.clone() });
            }
        }
        if after.version != before.version {
            for (shard, (to, epoch)) in &after.shards {
                let Some((from, epoch_before)) = before.shards.get(shard).copied() else { continue };
                if epoch_before == *epoch && from == *to {
                    continue;
                }
                let standing = from.and_then(|from| after.nodes.values().find(|(session, _)| *session == from)).map(|(_, state)| *state);
                let (users, reason) = store.read(|model| (users(model, *shard), reason(model, *shard)));
                self.note(None, What::Owner { shard: *shard, from, standing, to: *to, epoch: *epoch, users, reason });
            }
        }
        self.ownership = after;
    }

    /// The tables are others: what they show is no change that anybody made.
    pub fn ownership_forget(&mut self) {
        let store = self.db.store.clone();
        self.ownership = store.read(|model| look(model, i64::MIN, &BTreeMap::new()));
    }

    /// A heartbeat of the session was written.
    pub fn beaten(&mut self, session: Session) {
        self.beats.insert(session, self.now);
    }
}

fn look(model: &Model, version: i64, shards: &BTreeMap<ShardId, (Option<Session>, Fence)>) -> Ownership {
    let shards = if model.assign_ver == version {
        shards.clone()
    } else {
        model.shards.iter().map(|(shard, row)| (*shard, (row.owner, row.epoch))).collect()
    };
    let nodes = model.nodes.iter().map(|(node, row)| (node.clone(), (row.session, row.state))).collect();
    Ownership { version: model.assign_ver, shards, nodes }
}

fn reason(model: &Model, shard: ShardId) -> String {
    model.assign_log.iter().rev().find(|line| line.shard == Some(shard)).map(|line| line.reason.clone()).unwrap_or_default()
}

fn users(model: &Model, shard: ShardId) -> u32 {
    let watched = model.mailboxes.iter().filter(|(id, row)| row.shard == shard && model.devices.values().any(|d| d.mailbox == **id));
    u32::try_from(watched.count()).unwrap_or(u32::MAX)
}
