//! Membership and moves in memory in the manner of a database that many nodes share; the simulation's model of PostgreSQL.

use super::Model;
use super::cluster::{node_row, reassign};
use crate::ids::{Fence, NodeId, Session, ShardId};
use crate::ports::cluster_store::{ClusterView, Depth, Join, Joined, Manner, NodeSeen, PlanCommit, Reason, ShardView, Target};
use crate::ports::error::StoreError;
use crate::snapshot::NodeState;
use crate::time::Timestamp;

/// Refuses a database that is not the one that was accepted, and one that is older.
pub(super) fn check(model: &Model) -> Result<(), StoreError> {
    let (is, was) = (&model.database, &model.accepted);
    if is.system_id != was.system_id || is.timeline < was.timeline {
        return Err(StoreError::Unusable("this is another database, or an older copy, than the one that was accepted".into()));
    }
    Ok(())
}

pub(super) fn join(model: &mut Model, join: &Join, now: Timestamp) -> Result<Joined, StoreError> {
    check(model)?;
    model.accepted = model.database.clone();
    if let Some(row) = model.nodes.get(&join.node) {
        let over = matches!(row.state, NodeState::Left | NodeState::Bad);
        // A session joins once: a request that the network held back neither sets it back nor brings it back.
        if row.session == join.session && !over {
            return Ok(Joined::Done { history: model.database.clone(), now, manner: Manner::Shared });
        }
        if row.session == join.session {
            return Ok(Joined::Over);
        }
        if !over && join.replaces != Some((row.session, row.hb_seq)) {
            return Ok(Joined::Occupied { session: row.session, hb_seq: row.hb_seq });
        }
    }
    model.nodes.insert(join.node.clone(), node_row(join, NodeState::Joining, now));
    Ok(Joined::Done { history: model.database.clone(), now, manner: Manner::Shared })
}

pub(super) fn enter(model: &mut Model, node: &NodeId, session: Session) -> bool {
    let row = model.nodes.get_mut(node).filter(|row| row.session == session);
    let Some(row) = row else { return false };
    if row.state == NodeState::Joining {
        row.state = NodeState::Good;
    }
    matches!(row.state, NodeState::Good | NodeState::Draining)
}

fn state_of(model: &Model, session: Session) -> Option<NodeState> {
    model.nodes.values().find(|row| row.session == session).map(|row| row.state)
}

pub(super) fn ready(model: &mut Model, session: Session, shards: &[ShardId]) {
    for shard in shards {
        if let Some(Target { session: target, ready }) = model.shards.get_mut(shard).and_then(|row| row.target.as_mut())
            && *target == session
        {
            *ready = true;
        }
    }
}

pub(super) fn hand_over(model: &mut Model, session: Session, shards: &[(ShardId, Fence)], now: Timestamp) -> Vec<ShardId> {
    if !model.alive(session) {
        return Vec::new();
    }
    let goes = |(shard, epoch): &&(ShardId, Fence)| {
        let Some(row) = model.shards.get(shard) else { return false };
        row.owner == Some(session)
            && row.epoch == *epoch
            && row.target.is_some_and(|target| target.ready && state_of(model, target.session) == Some(NodeState::Good))
    };
    let going: Vec<ShardId> = shards.iter().filter(goes).map(|(shard, _)| *shard).collect();
    let targets: Vec<Option<Session>> = going.iter().map(|shard| model.shards[shard].target.map(|target| target.session)).collect();
    if !going.is_empty() {
        reassign(model, &going, session, |place| targets[place], Reason::HandOver, now);
    }
    going
}

pub(super) fn plan_commit(model: &mut Model, plan: &PlanCommit, now: Timestamp) -> Option<i64> {
    let good = |session: Option<Session>| session.is_none_or(|session| state_of(model, session) == Some(NodeState::Good));
    let victims: Vec<Session> = plan.victims.iter().map(|victim| victim.session).collect();
    let holds = model.leader == Some(plan.by)
        && model.assign_ver == plan.assign_ver
        && model.alive(plan.by)
        && plan.victims.iter().all(|victim| {
            let live = |state| matches!(state, NodeState::Joining | NodeState::Good | NodeState::Draining);
            model.nodes.values().any(|row| row.session == victim.session && row.hb_seq == victim.hb_seq && live(row.state))
        })
        && plan.assigns.iter().all(|assign| model.shards.get(&assign.shard).is_some_and(|row| row.epoch == assign.epoch))
        && plan.assigns.iter().all(|assign| !assign.presumes_empty() || users(model, assign.shard) == 0)
        && plan.retargets.iter().all(|move_| model.shards.get(&move_.shard).is_some_and(|row| row.epoch == move_.epoch))
        && plan.assigns.iter().all(|assign| good(assign.to) && assign.to.is_none_or(|to| !victims.contains(&to)))
        && plan.retargets.iter().all(|move_| good(move_.target) && move_.target.is_none_or(|to| !victims.contains(&to)));
    if !holds {
        return None;
    }
    for row in model.nodes.values_mut().filter(|row| victims.contains(&row.session)) {
        row.state = NodeState::Bad;
    }
    for row in model.shards.values_mut() {
        row.target = row.target.filter(|target| !victims.contains(&target.session));
    }
    for retarget in &plan.retargets {
        if let Some(row) = model.shards.get_mut(&retarget.shard) {
            row.target = retarget.target.map(|session| Target { session, ready: false });
        }
    }
    // One change of ownership, whatever the reasons in it.
    model.assign_ver += 1;
    let version = model.assign_ver;
    for assign in &plan.assigns {
        super::cluster::assign_one(model, (version, plan.by), assign.shard, assign.to, assign.reason, now);
    }
    for retarget in &plan.retargets {
        let to = retarget.target;
        super::cluster::log(model, (version, plan.by), retarget.shard, to, retarget.reason, now);
    }
    Some(version)
}

pub(super) fn view(model: &Model, depth: Depth, now: Timestamp) -> ClusterView {
    let seen = |(node, row): (&NodeId, &super::NodeRow)| NodeSeen {
        node: node.clone(),
        session: row.session,
        state: row.state,
        hb_seq: row.hb_seq,
        hb_at: row.hb_at,
        weight: row.weight,
        max_users: row.max_users,
        users: row.users,
        features: row.features.clone(),
        version: row.version.clone(),
        addr: row.addr.clone(),
    };
    let nodes = model.nodes.iter().filter(|(_, row)| depth != Depth::Leader || Some(row.session) == model.leader).map(seen).collect();
    let shard = |(shard, row): (&ShardId, &super::ShardRow)| ShardView {
        shard: *shard,
        owner: row.owner,
        epoch: row.epoch,
        target: row.target,
        users: users(model, *shard),
        requires: row.requires.clone(),
    };
    let shards = if depth == Depth::Shards { model.shards.iter().map(shard).collect() } else { Vec::new() };
    ClusterView {
        assign_ver: model.assign_ver,
        leader: model.leader,
        history: model.database.clone(),
        link: 1,
        sending_allowed: model.sending_allowed,
        now,
        nodes,
        shards,
    }
}

fn users(model: &Model, shard: ShardId) -> u32 {
    let watched = model.mailboxes.iter().filter(|(id, row)| row.shard == shard && model.devices_of(**id).next().is_some());
    u32::try_from(watched.count()).unwrap_or(u32::MAX)
}
