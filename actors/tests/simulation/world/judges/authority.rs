//! I1 and I2: one authority for a mailbox; epochs only grow.

use std::collections::BTreeMap;

use postrider_actors::ids::{Fence, MailboxId, Session, ShardId};

use super::Finding;
use crate::world::World;
use crate::world::history::What;

/// Commits are under the authority that was stamped last; fences and epochs never decrease within one history of the database.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    let mut stamps: BTreeMap<MailboxId, (Fence, Session)> = BTreeMap::new();
    let mut epochs: BTreeMap<ShardId, Fence> = BTreeMap::new();
    let mut holders: BTreeMap<(ShardId, Fence), Session> = BTreeMap::new();
    for entry in world.history.entries() {
        let mut found = |text: String| findings.push(Finding::new("authority", entry.at, text));
        match &entry.what {
            What::Stamped { shard, fence, mailboxes } => {
                let holder = *holders.entry((*shard, *fence)).or_insert(entry.session);
                if holder != entry.session {
                    found(format!("shard {shard}: stamped with {fence:?} by {} and before by {holder}", entry.session));
                }
                for mailbox in mailboxes {
                    let before = stamps.insert(*mailbox, (*fence, entry.session));
                    if let Some((older, _)) = before.filter(|(older, _)| older > fence) {
                        found(format!("mailbox {mailbox}: stamped with {fence:?} after {older:?}"));
                    }
                }
            }
            What::Committed { mailbox, fence, .. } => {
                let stamp = stamps.get(mailbox);
                if stamp.is_some_and(|stamp| *stamp != (*fence, entry.session)) {
                    found(format!("mailbox {mailbox}: a commit under {fence:?} of {} after the stamp {stamp:?}", entry.session));
                }
            }
            What::Owner { shard, epoch, .. } => {
                if let Some(older) = epochs.insert(*shard, *epoch).filter(|older| older >= epoch) {
                    found(format!("shard {shard}: epoch {epoch:?} after {older:?}"));
                }
            }
            What::Promoted { .. } => {
                stamps.clear();
                epochs.clear();
            }
            _ => {}
        }
    }
}
