//! Membership, ownership and moves in memory: each method one transaction on the model.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{Call, Fault, MemoryStore, Model, NodeRow, shared};
use crate::ids::{Authority, Fence, MailboxId, NodeId, Session, ShardId};
use crate::ports::cluster_store::{
    AdoptedShard, AssignLine, Beat, ClusterStore, ClusterView, Depth, History, Incoming, Join, Joined, Manner, OwnedMailbox, PlanCommit,
    Reason, ShardSeen,
};
use crate::ports::error::StoreError;
use crate::ports::mail_source::MailboxRef;
use crate::snapshot::NodeState;
use crate::time::Timestamp;

#[async_trait]
impl ClusterStore for MemoryStore {
    async fn join(&self, join: &Join) -> Result<Joined, StoreError> {
        if self.read(|model| model.manner) == Manner::Shared {
            return self.call(Call::Join, |model, now| shared::join(model, join, now))?;
        }
        let fault = self.faults().take(Call::Join);
        if let Some(Fault::Before(error)) = fault {
            return Err(error);
        }
        self.join_embedded(join).await?;
        match fault {
            Some(Fault::After(error)) => Err(error),
            _ => Ok(Joined::Done {
                history: self.read(|model| model.database.clone()),
                now: self.shared.clock.now(),
                manner: Manner::Embedded,
            }),
        }
    }

    async fn enter(&self, node: &NodeId, session: Session) -> Result<bool, StoreError> {
        self.call(Call::Enter, |model, _| shared::enter(model, node, session))
    }

    async fn beat(&self, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError> {
        self.call(Call::Beat, |model, now| {
            if model.manner == Manner::Shared {
                shared::check(model)?;
                // A promotion is remembered, so that a copy from before it is known as one.
                model.accepted = model.database.clone();
            }
            let live = |state| matches!(state, NodeState::Joining | NodeState::Good | NodeState::Draining);
            let joining_counts = model.manner == Manner::Shared;
            let row = model.nodes.get_mut(node).filter(|row| row.session == session && live(row.state));
            let Some(row) = row.filter(|row| joining_counts || row.state != NodeState::Joining) else {
                self.let_go(model, session);
                return Ok(None);
            };
            row.hb_seq += 1;
            row.hb_at = now;
            row.users = users;
            let (hb_seq, state) = (row.hb_seq, row.state);
            if model.manner == Manner::Embedded {
                self.relock(model);
            }
            Ok(Some(seen(model, session, (hb_seq, state), now)))
        })?
    }

    async fn shard_adopt(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        self.call(Call::ShardAdopt, |model, _| adopt(model, shard, authority))
    }

    async fn shard_reload(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        self.call(Call::ShardReload, |model, _| adopt(model, shard, authority))
    }

    async fn shard_peek(&self, shard: ShardId, session: Session) -> Result<Option<AdoptedShard>, StoreError> {
        self.call(Call::Peek, |model, _| {
            let row = model.shards.get(&shard).filter(|row| row.target.is_some_and(|target| target.session == session));
            row.map(|row| row.change_seq).map(|change_seq| AdoptedShard { change_seq, mailboxes: watched(model, shard) })
        })
    }

    async fn shards_ready(&self, session: Session, shards: &[ShardId]) -> Result<(), StoreError> {
        self.call(Call::Ready, |model, _| shared::ready(model, session, shards))
    }

    async fn hand_over(&self, session: Session, shards: &[(ShardId, Fence)]) -> Result<Vec<ShardId>, StoreError> {
        self.call(Call::HandOver, |model, now| {
            shared::check(model)?;
            Ok(shared::hand_over(model, session, shards, now))
        })?
    }

    async fn reclaim(&self, session: Session, shards: Option<&[ShardId]>) -> Result<(), StoreError> {
        self.call(Call::Reclaim, |model, now| {
            if model.alive(session) {
                let named = |shard: &ShardId| shards.is_none_or(|shards| shards.contains(shard));
                let ours = model.shards.iter().filter(|(shard, row)| row.owner == Some(session) && named(shard));
                let ours: Vec<ShardId> = ours.map(|(shard, _)| *shard).collect();
                if !ours.is_empty() {
                    reassign_keeping_targets(model, &ours, session, now);
                }
            }
        })
    }

    async fn drain(&self, node: &NodeId) -> Result<bool, StoreError> {
        self.call(Call::Drain, |model, _| {
            let row = model.nodes.get_mut(node).filter(|row| matches!(row.state, NodeState::Good | NodeState::Draining));
            row.map(|row| row.state = NodeState::Draining).is_some()
        })
    }

    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        self.call(Call::Leave, |model, now| {
            let owned: Vec<ShardId> = model.shards.iter().filter(|(_, row)| row.owner == Some(session)).map(|(shard, _)| *shard).collect();
            if !owned.is_empty() {
                reassign(model, &owned, session, |_| None, Reason::Leave, now);
            }
            let live = |row: &&mut NodeRow| {
                row.session == session && matches!(row.state, NodeState::Good | NodeState::Draining | NodeState::Joining)
            };
            if let Some(row) = model.nodes.get_mut(node).filter(live) {
                row.state = NodeState::Left;
            }
            self.farewell(model, session, !owned.is_empty());
        })
    }

    async fn view(&self, depth: Depth) -> Result<ClusterView, StoreError> {
        self.call(Call::View, |model, now| shared::view(model, depth, now))
    }

    async fn lead(&self, session: Session, seen: Option<Session>) -> Result<bool, StoreError> {
        self.call(Call::Lead, |model, _| {
            let good = model.nodes.values().any(|row| row.session == session && row.state == NodeState::Good);
            let takes = model.manner == Manner::Shared && good && model.leader == seen;
            if takes {
                model.leader = Some(session);
            }
            takes
        })
    }

    async fn plan_commit(&self, plan: &PlanCommit) -> Result<Option<i64>, StoreError> {
        self.call(Call::Plan, |model, now| {
            shared::check(model)?;
            Ok(shared::plan_commit(model, plan, now))
        })?
    }

    async fn require(&self, feature: &str) -> Result<(), StoreError> {
        self.call(Call::Require, |model, _| {
            model.assign_ver += 1;
            for row in model.shards.values_mut() {
                row.requires = crate::ports::cluster_store::Features::parse(&format!("{},{feature}", row.requires));
            }
        })
    }

    async fn assign_log(&self, limit: u32) -> Result<Vec<AssignLine>, StoreError> {
        self.call(Call::AssignLog, |model, _| {
            let mut lines: Vec<&AssignLine> = model.assign_log.iter().collect();
            lines.sort_by_key(|line| (std::cmp::Reverse(line.ver), line.shard));
            lines.into_iter().take(limit as usize).cloned().collect()
        })
    }

    async fn accept_database(&self) -> Result<History, StoreError> {
        self.call(Call::Accept, |model, _| {
            if model.accepted != model.database {
                model.accepted = model.database.clone();
                model.sending_allowed = false;
            }
            model.database.clone()
        })
    }
}

/// A node's row at its joining.
pub(super) fn node_row(join: &Join, state: NodeState, now: Timestamp) -> NodeRow {
    NodeRow {
        session: join.session,
        state,
        hb_seq: 0,
        hb_at: now,
        users: 0,
        weight: join.weight,
        max_users: join.max_users,
        features: join.features.clone(),
        version: join.version.clone(),
        addr: join.addr.clone(),
    }
}

/// Gives shards to owners under one new epoch; `to` is asked by place.
pub(super) fn reassign(
    model: &mut Model,
    shards: &[ShardId],
    by: Session,
    to: impl Fn(usize) -> Option<Session>,
    reason: Reason,
    now: Timestamp,
) {
    model.assign_ver += 1;
    let version = model.assign_ver;
    for (place, shard) in shards.iter().enumerate() {
        assign_one(model, (version, by), *shard, to(place), reason, now);
    }
}

fn reassign_keeping_targets(model: &mut Model, shards: &[ShardId], session: Session, now: Timestamp) {
    let targets: Vec<_> = shards.iter().map(|shard| model.shards[shard].target).collect();
    reassign(model, shards, session, |_| Some(session), Reason::Reclaim, now);
    for (shard, target) in shards.iter().zip(targets) {
        if let Some(row) = model.shards.get_mut(shard) {
            row.target = target;
        }
    }
}

/// Gives one shard to an owner as a part of the change of ownership `version`.
pub(super) fn assign_one(model: &mut Model, by: (i64, Session), shard: ShardId, to: Option<Session>, reason: Reason, now: Timestamp) {
    log(model, by, shard, to, reason, now);
    let epoch = Fence::new(model.database.timeline, by.0);
    if let Some(row) = model.shards.get_mut(&shard) {
        row.owner = to;
        row.epoch = epoch;
        row.target = None;
    }
}

/// Leaves a line in the assignment log.
pub(super) fn log(model: &mut Model, (ver, by): (i64, Session), shard: ShardId, to: Option<Session>, reason: Reason, at: Timestamp) {
    let name = |session: Session| model.nodes.iter().find(|(_, row)| row.session == session).map(|(node, _)| node.clone());
    let from = model.shards.get(&shard).and_then(|row| row.owner).and_then(name);
    let (by, to) = (name(by), to.and_then(name));
    let epoch = Fence::new(model.database.timeline, ver);
    model.assign_log.push(AssignLine { ver, by, reason: reason.as_str().into(), shard: Some(shard), from, to, epoch, at });
}

fn seen(model: &Model, session: Session, (hb_seq, state): (i64, NodeState), now: Timestamp) -> Beat {
    let ours = model.shards.iter().filter(|(_, row)| row.owner == Some(session));
    let shards = ours.map(|(shard, row)| ShardSeen { shard: *shard, epoch: row.epoch, change_seq: row.change_seq, target: row.target });
    let is_ours = |shard: ShardId| model.shards.get(&shard).is_some_and(|row| row.owner == Some(session));
    let watched = model.devices.values().map(|device| device.mailbox);
    let watched = watched.filter(|mailbox| model.mailboxes.get(mailbox).is_some_and(|row| is_ours(row.shard)));
    let watched: BTreeSet<MailboxId> = watched.collect();
    let peopled: BTreeSet<ShardId> = watched.iter().filter_map(|mailbox| Some(model.mailboxes.get(mailbox)?.shard)).collect();
    let (first, last): (Vec<_>, Vec<_>) = shards.partition(|seen| peopled.contains(&seen.shard));
    let coming = model.shards.iter().filter_map(|(shard, row)| {
        let target = row.target.filter(|target| target.session == session)?;
        Some(Incoming { shard: *shard, epoch: row.epoch, ready: target.ready })
    });
    Beat {
        hb_seq,
        state,
        assign_ver: model.assign_ver,
        sending_allowed: model.sending_allowed,
        now,
        history: model.database.clone(),
        shards: [first, last].concat(),
        users: watched.len() as u64,
        incoming: coming.collect(),
    }
}

fn adopt(model: &mut Model, shard: ShardId, authority: Authority) -> Option<AdoptedShard> {
    let row = model.shards.get(&shard)?;
    if row.owner != Some(authority.session) || row.epoch != authority.fence || !model.alive(authority.session) {
        return None;
    }
    let change_seq = row.change_seq;
    for row in model.mailboxes.values_mut().filter(|row| row.shard == shard) {
        row.authority = Some(authority);
    }
    Some(AdoptedShard { change_seq, mailboxes: watched(model, shard) })
}

/// The mailboxes of the shard that have a device, recently active first.
fn watched(model: &Model, shard: ShardId) -> Vec<OwnedMailbox> {
    let of = model.mailboxes.iter().filter(|(id, row)| row.shard == shard && model.devices_of(**id).next().is_some());
    let mut owned: Vec<OwnedMailbox> = of
        .map(|(id, row)| OwnedMailbox {
            mailbox: MailboxRef { id: *id, tenant: row.tenant.clone(), smtp: row.smtp.clone() },
            seeded: row.seeded,
            badge_dirty: row.badge_dirty,
            pending: model.deliveries.values().any(|d| d.mailbox == *id && d.settled.is_none()),
            announced_until: row.announced_until,
        })
        .collect();
    owned.sort_by_key(|mailbox| (std::cmp::Reverse(mailbox.announced_until), mailbox.mailbox.id));
    owned
}
