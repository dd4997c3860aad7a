//! Membership and ownership in memory, in the manner of the embedded database: whoever comes later takes everything over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;

use super::{Call, Fault, MemoryStore, Model, NodeRow, NodeState};
use crate::ids::{Authority, Fence, NodeId, Session, ShardId};
use crate::ports::cluster_store::{AdoptedShard, Beat, ClusterStore, Join, OwnedMailbox, ShardSeen};
use crate::ports::error::StoreError;
use crate::ports::mail_source::MailboxRef;

const POLL: Duration = Duration::from_millis(50);

#[async_trait]
impl ClusterStore for MemoryStore {
    async fn join(&self, join: &Join) -> Result<(), StoreError> {
        let fault = self.faults().take(Call::Join);
        if let Some(Fault::Before(error)) = fault {
            return Err(error);
        }
        let mut announced = false;
        let mut waited = Duration::ZERO;
        let seen = self.read(rival);
        loop {
            match self.join_step(join, &mut announced, waited, seen) {
                Step::Done => break,
                Step::Refused(why) => return Err(StoreError::Unavailable(why.into())),
                Step::Wait => {
                    tokio::time::sleep(POLL).await;
                    waited += POLL;
                }
            }
        }
        match fault {
            Some(Fault::After(error)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn beat(&self, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError> {
        self.call(Call::Beat, |model, now| {
            let row = model.nodes.get_mut(node).filter(|row| row.session == session && row.state == NodeState::Good);
            let Some(row) = row else {
                if self.session.load(Ordering::Relaxed) == session.0 {
                    // Somebody else announced himself or took over: let go, so that he need not wait.
                    self.evicted.store(true, Ordering::Relaxed);
                    self.unlock(model);
                }
                return None;
            };
            row.hb_seq += 1;
            row.users = users;
            let hb_seq = row.hb_seq;
            if model.lock.is_none() {
                model.lock = Some(self.process);
                model.owner_locked = true;
            }
            let ours = model.shards.iter().filter(|(_, row)| row.owner == Some(session));
            let shards = ours.map(|(shard, row)| ShardSeen { shard: *shard, epoch: row.epoch, change_seq: row.change_seq }).collect();
            Some(Beat { hb_seq, assign_ver: model.assign_ver, sending_allowed: model.sending_allowed, now, shards })
        })
    }

    async fn shard_adopt(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        self.call(Call::ShardAdopt, |model, _| adopt(model, shard, authority))
    }

    async fn shard_reload(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        self.call(Call::ShardReload, |model, _| adopt(model, shard, authority))
    }

    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        self.call(Call::Leave, |model, _| {
            let owns = model.shards.values().any(|shard| shard.owner == Some(session));
            if owns {
                assign(model, None);
                model.owner_locked = true;
            }
            if let Some(row) = model.nodes.get_mut(node).filter(|row| row.session == session && row.state == NodeState::Good) {
                row.state = NodeState::Left;
            }
            if self.session.load(Ordering::Relaxed) == session.0 {
                self.unlock(model);
            }
        })
    }
}

enum Step {
    Done,
    Wait,
    Refused(&'static str),
}

/// Who else is there: his session and heartbeat, to see whether he moves.
fn rival(model: &Model) -> Option<(Session, i64)> {
    let live = |row: &&NodeRow| matches!(row.state, NodeState::Good | NodeState::Joining);
    model.nodes.values().find(live).map(|row| (row.session, row.hb_seq))
}

impl MemoryStore {
    fn join_step(&self, join: &Join, announced: &mut bool, waited: Duration, seen: Option<(Session, i64)>) -> Step {
        let mut model = self.model();
        let model = &mut *model;
        let free = model.lock.is_none_or(|holder| holder == self.process);
        if *announced && model.nodes.get(&join.node).is_none_or(|row| row.session != join.session) {
            return Step::Refused("another process announced itself meanwhile");
        }
        let claimed = rival(model).is_some_and(|(session, _)| {
            session != join.session && model.nodes.values().any(|row| row.session == session && row.state == NodeState::Joining)
        });
        let evicted = self.evicted.load(Ordering::Relaxed) || (claimed && model.lock == Some(self.process));
        let dead = free && model.owner_locked && !(evicted && claimed);
        if dead || (waited >= join.patience && (*announced || free)) {
            take_over(model, join);
            if free {
                model.lock = Some(self.process);
            }
            model.owner_locked = free;
            self.evicted.store(false, Ordering::Relaxed);
            self.session.store(join.session.0, Ordering::Relaxed);
            return Step::Done;
        }
        if evicted {
            return if rival(model) != seen || waited >= join.patience {
                Step::Refused("another process has taken the database over and is alive")
            } else {
                Step::Wait
            };
        }
        if !*announced {
            announce(model, join, NodeState::Joining);
            *announced = true;
        }
        Step::Wait
    }
}

/// Writes the session down, so that nobody else's heartbeat goes on.
fn announce(model: &mut Model, join: &Join, state: NodeState) {
    for row in model.nodes.values_mut().filter(|row| row.state != NodeState::Left) {
        row.state = NodeState::Bad;
    }
    model.nodes.insert(join.node.clone(), NodeRow { session: join.session, state, hb_seq: 0, users: 0 });
}

fn take_over(model: &mut Model, join: &Join) {
    announce(model, join, NodeState::Good);
    assign(model, Some(join.session));
}

fn assign(model: &mut Model, owner: Option<Session>) {
    model.assign_ver += 1;
    let epoch = Fence::new(0, model.assign_ver);
    for shard in model.shards.values_mut() {
        shard.owner = owner;
        shard.epoch = epoch;
    }
}

fn adopt(model: &mut Model, shard: ShardId, authority: Authority) -> Option<AdoptedShard> {
    let row = *model.shards.get(&shard)?;
    if row.owner != Some(authority.session) || row.epoch != authority.fence || !model.alive(authority.session) {
        return None;
    }
    let Model { mailboxes, devices, deliveries, .. } = model;
    let mut owned = Vec::new();
    for (id, row) in mailboxes.iter_mut().filter(|(_, row)| row.shard == shard) {
        row.authority = Some(authority);
        if devices.values().any(|device| device.mailbox == *id) {
            owned.push(OwnedMailbox {
                mailbox: MailboxRef { id: *id, tenant: row.tenant.clone(), smtp: row.smtp.clone() },
                seeded: row.seeded,
                badge_dirty: row.badge_dirty,
                pending: deliveries.values().any(|d| d.mailbox == *id && d.settled.is_none()),
                announced_until: row.announced_until,
            });
        }
    }
    owned.sort_by_key(|mailbox| (std::cmp::Reverse(mailbox.announced_until), mailbox.mailbox.id));
    Some(AdoptedShard { change_seq: row.change_seq, mailboxes: owned })
}
