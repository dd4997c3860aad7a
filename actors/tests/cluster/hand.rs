//! A leader's hand: commits what a story wants, in the name of whoever leads.

use std::time::Duration;

use postrider_actors::ids::{Session, ShardId};
use postrider_actors::ports::ClusterStore;
use postrider_actors::ports::cluster_store::{Assign, ClusterView, Depth, PlanCommit, Reason, Retarget, Victim};
use postrider_actors::snapshot::NodeState;
use postrider_actors::testing::world::World;

const LOOK: Duration = Duration::from_millis(100);

async fn view(world: &World) -> ClusterView {
    world.store.view(Depth::Shards).await.expect("the database answers")
}

fn good(view: &ClusterView) -> Vec<Session> {
    view.nodes.iter().filter(|node| node.state == NodeState::Good).map(|node| node.session).collect()
}

/// Commits a plan that `make` makes of what is seen; says whether it went.
async fn commit(world: &World, make: impl Fn(&ClusterView, &mut PlanCommit)) -> bool {
    let seen = view(world).await;
    let alive = |session: &Session| good(&seen).contains(session);
    let by = match seen.leader.filter(alive) {
        Some(leader) => leader,
        None => {
            let Some(first) = good(&seen).first().copied() else { return false };
            if !world.store.lead(first, seen.leader).await.expect("the database answers") {
                return false;
            }
            first
        }
    };
    let mut plan = PlanCommit { by, assign_ver: seen.assign_ver, victims: vec![], assigns: vec![], retargets: vec![] };
    make(&seen, &mut plan);
    world.store.plan_commit(&plan).await.expect("the database answers").is_some()
}

/// Gives what nobody owns to the GOOD nodes in turn, until everything is owned.
pub async fn settle(world: &World) {
    while view(world).await.shards.iter().any(|shard| shard.owner.is_none()) {
        commit(world, |seen, plan| {
            let receivers = good(seen);
            let orphans = seen.shards.iter().filter(|shard| shard.owner.is_none());
            let assign = |(place, shard): (usize, &postrider_actors::ports::cluster_store::ShardView)| Assign {
                shard: shard.shard,
                epoch: shard.epoch,
                to: receivers.get(place % receivers.len().max(1)).copied(),
                reason: Reason::Unowned,
            };
            plan.assigns = orphans.enumerate().map(assign).collect();
        })
        .await;
        world.pass(LOOK).await;
    }
}

/// Judges a node that stood still for T, and gives what it owned to nobody; ends when that is done, by whomever.
pub async fn bury(world: &World, victim: Session) {
    let beats = || world.store.read(|model| model.nodes.values().find(|row| row.session == victim).map(|row| row.hb_seq));
    let stood = beats();
    world.pass(world.settings.observe_dead + world.settings.heartbeat / 2).await;
    assert_eq!(beats(), stood, "it moved");
    loop {
        let seen = view(world).await;
        let row = seen.nodes.iter().find(|node| node.session == victim).cloned();
        if row.as_ref().is_none_or(|row| row.state == NodeState::Bad) {
            return;
        }
        commit(world, |seen, plan| {
            plan.victims = row.iter().map(|row| Victim { session: victim, hb_seq: row.hb_seq }).collect();
            let owned = seen.shards.iter().filter(|shard| shard.owner == Some(victim));
            plan.assigns = owned.map(|shard| Assign { shard: shard.shard, epoch: shard.epoch, to: None, reason: Reason::Failed }).collect();
        })
        .await;
        world.pass(LOOK).await;
    }
}

/// Plans moves; none as a receiver cancels.
pub async fn plan_moves(world: &World, shards: &[ShardId], to: Option<Session>) {
    let moved = |seen: &ClusterView, plan: &mut PlanCommit| {
        let rows = seen.shards.iter().filter(|row| shards.contains(&row.shard));
        plan.retargets = rows.map(|row| Retarget { shard: row.shard, epoch: row.epoch, target: to, reason: Reason::Rebalance }).collect();
    };
    while !commit(world, moved).await {
        world.pass(LOOK).await;
    }
}

/// While a node drains, plans the moves of what it owns to the others, until it owns nothing.
pub async fn drain(world: &World, from: Session) {
    loop {
        let seen = view(world).await;
        let left: Vec<ShardId> =
            seen.shards.iter().filter(|row| row.owner == Some(from) && row.target.is_none()).map(|row| row.shard).collect();
        if seen.shards.iter().all(|row| row.owner != Some(from)) {
            return;
        }
        let to = good(&seen).into_iter().find(|session| *session != from);
        let draining = seen.nodes.iter().any(|node| node.session == from && node.state == NodeState::Draining);
        if draining && !left.is_empty() && to.is_some() {
            plan_moves(world, &left, to).await;
        }
        world.pass(LOOK).await;
    }
}
