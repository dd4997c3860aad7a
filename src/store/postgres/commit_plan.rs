//! The commit of a leader's plan: all of it under the conditions that it was made under, or nothing.

use std::collections::BTreeSet;

use postrider_actors::ids::{Fence, Session, ShardId};
use postrider_actors::ports::cluster_store::PlanCommit;
use sqlx::PgConnection;

use super::call;
use super::error::Failure;
use super::number_of;
use super::ownership::{Change, Cluster, assign, log};

/// Commits the plan, or undoes what it tried of it.
pub(super) async fn plan_commit(connection: &mut PgConnection, plan: &PlanCommit) -> Result<Option<i64>, Failure> {
    let committed = carry_out(connection, plan).await?;
    if committed.is_none() {
        call::undo(connection).await?;
    }
    Ok(committed)
}

async fn carry_out(connection: &mut PgConnection, plan: &PlanCommit) -> Result<Option<i64>, Failure> {
    let cluster = Cluster::lock(connection).await?;
    if cluster.assign_ver != plan.assign_ver || cluster.leader != Some(plan.by) {
        return Ok(None);
    }
    if !judge(connection, plan).await? || !receive(connection, plan).await? || !unchanged(connection, plan).await? {
        return Ok(None);
    }
    let victims: Vec<i64> = plan.victims.iter().map(|victim| victim.session.0).collect();
    if !victims.is_empty() {
        let query = sqlx::query("UPDATE shard SET target_session = NULL, ready_session = NULL WHERE target_session = ANY ($1)");
        query.bind(victims).execute(&mut *connection).await?;
    }
    let at = cluster.advance(connection).await?;
    let retargets: Vec<Change> =
        plan.retargets.iter().map(|planned| Change { shard: planned.shard, to: planned.target, reason: planned.reason }).collect();
    log(connection, at, plan.by, &retargets).await?;
    target(connection, plan).await?;
    let assigns: Vec<Change> =
        plan.assigns.iter().map(|change| Change { shard: change.shard, to: change.to, reason: change.reason }).collect();
    assign(connection, at, plan.by, &assigns).await?;
    Ok(Some(at.0))
}

/// Judges the victims; `false` if one of them beat since, or is over already.
async fn judge(connection: &mut PgConnection, plan: &PlanCommit) -> Result<bool, Failure> {
    if plan.victims.is_empty() {
        return Ok(true);
    }
    let sessions: Vec<i64> = plan.victims.iter().map(|victim| victim.session.0).collect();
    let beats: Vec<i64> = plan.victims.iter().map(|victim| victim.hb_seq).collect();
    let judged = sqlx::query(include_str!("queries/judge.sql")).bind(sessions).bind(beats).execute(connection).await?.rows_affected();
    Ok(judged == plan.victims.len() as u64)
}

/// Whether the leader is alive and all receivers are GOOD; they stay so until the transaction ends, because ownership is locked (see [`super::membership::drain`]).
/// Victims of this plan are BAD by now.
async fn receive(connection: &mut PgConnection, plan: &PlanCommit) -> Result<bool, Failure> {
    let assigned = plan.assigns.iter().filter_map(|change| change.to);
    let receivers: BTreeSet<Session> = assigned.chain(plan.retargets.iter().filter_map(|planned| planned.target)).collect();
    let asked: BTreeSet<i64> = receivers.iter().chain([&plan.by]).map(|session| session.0).collect();
    let query = sqlx::query_as::<_, (i64, String)>("SELECT session, state FROM node WHERE session = ANY ($1)");
    let found = query.bind(asked.into_iter().collect::<Vec<_>>()).fetch_all(connection).await?;
    let state = |session: Session| found.iter().find(|(found, _)| *found == session.0).map(|(_, state)| state.as_str());
    let leads = matches!(state(plan.by), Some("GOOD" | "DRAINING"));
    Ok(leads && receivers.into_iter().all(|session| state(session) == Some("GOOD")))
}

/// Whether every shard of the plan still has the epoch that was seen, and nobody if that was presumed; locks them, and those that were to go to a victim, in order.
async fn unchanged(connection: &mut PgConnection, plan: &PlanCommit) -> Result<bool, Failure> {
    let planned: Vec<(ShardId, Fence)> = plan
        .assigns
        .iter()
        .map(|change| (change.shard, change.epoch))
        .chain(plan.retargets.iter().map(|planned| (planned.shard, planned.epoch)))
        .collect();
    let shards: Vec<i32> = planned.iter().map(|(shard, _)| number_of(*shard)).collect();
    let victims: Vec<i64> = plan.victims.iter().map(|victim| victim.session.0).collect();
    let query = sqlx::query_as::<_, (i32, i64, i64)>(
        "SELECT shard_id, epoch, users::bigint FROM shard WHERE shard_id = ANY ($1) OR target_session = ANY ($2) ORDER BY shard_id FOR NO KEY UPDATE",
    );
    let found = query.bind(shards).bind(victims).fetch_all(connection).await?;
    // In order, because they are.
    let row = |shard: ShardId| found.binary_search_by_key(&number_of(shard), |row| row.0).ok().map(|place| found[place]);
    let filled = |shard: ShardId| row(shard).is_some_and(|(_, _, users)| users > 0);
    Ok(planned.into_iter().all(|(shard, seen)| row(shard).is_some_and(|(_, epoch, _)| epoch == seen.0))
        && !plan.assigns.iter().any(|assign| assign.presumes_empty() && filled(assign.shard)))
}

/// Writes down where shards are to go.
async fn target(connection: &mut PgConnection, plan: &PlanCommit) -> Result<(), Failure> {
    if plan.retargets.is_empty() {
        return Ok(());
    }
    let shards: Vec<i32> = plan.retargets.iter().map(|planned| number_of(planned.shard)).collect();
    let targets: Vec<Option<i64>> = plan.retargets.iter().map(|planned| planned.target.map(|target| target.0)).collect();
    let query = sqlx::query(
        "UPDATE shard SET target_session = planned.target, ready_session = NULL \
         FROM unnest($1::int[], $2::bigint[]) AS planned (shard_id, target) WHERE shard.shard_id = planned.shard_id",
    );
    query.bind(shards).bind(targets).execute(connection).await?;
    Ok(())
}
