//! Hand-overs under way: what counts for them, when they are given up, where they end when their owner dies.

use super::*;
use crate::placement::plan::Why;

const NOW: Monotonic = Monotonic(1_000_000_000);

/// Two good nodes; the first owns a shard of 100 users that is on its way to the second.
fn one_under_way(since: Monotonic, ready: Option<Monotonic>) -> Cluster {
    let shards = vec![Shard { target: under_way(2, since, ready), ..shard(0, 100, Some(1)) }, shard(1, 100, Some(1))];
    Cluster { nodes: vec![node(1, 1_000), node(2, 1_000)], shards, params: Params::default(), now: NOW }
}

fn only(plan: &Plan) -> (Step, Why) {
    assert_eq!(plan.moves.len(), 1, "{plan:?}");
    (plan.moves[0].step, plan.moves[0].why)
}

#[test]
fn a_hand_over_in_its_time_is_let_be_and_counts_at_the_receiver() {
    assert_eq!(one_under_way(NOW - seconds(30), None).plan(), Plan::default());
    assert_eq!(one_under_way(NOW - seconds(34), Some(NOW - seconds(5))).plan(), Plan::default());
}

#[test]
fn a_target_that_is_not_ready_in_30_s_or_not_given_the_shard_5_s_later_is_cleared() {
    let late = NOW - seconds(30) - Duration::from_micros(1);
    assert_eq!(only(&one_under_way(late, None).plan()), (Step::Cancel, Why::NotReady));
    let late = NOW - seconds(5) - Duration::from_micros(1);
    assert_eq!(only(&one_under_way(late, Some(late)).plan()), (Step::Cancel, Why::NotReleased));
}

#[test]
fn a_target_that_is_not_good_any_more_is_cleared() {
    for state in [NodeState::Bad, NodeState::Draining, NodeState::Left, NodeState::Joining] {
        let mut cluster = one_under_way(NOW, None);
        cluster.set(2, state);
        assert_eq!(only(&cluster.plan()), (Step::Cancel, Why::TargetLost), "{state:?}");
    }
}

#[test]
fn a_shard_whose_owner_dies_belongs_to_the_node_it_was_on_its_way_to() {
    let mut cluster = one_under_way(NOW - seconds(60), None);
    cluster.nodes.push(node(3, 1_000));
    cluster.set(1, NodeState::Bad);
    let plan = cluster.plan();
    assert_eq!((plan.moves[0].shard, plan.moves[0].step), (ShardId(0), Step::Assign(Session(2))));
    assert_eq!(
        (plan.moves[1].shard, plan.moves[1].step),
        (ShardId(1), Step::Assign(Session(3))),
        "which counts it: the other goes elsewhere"
    );
}

#[test]
fn what_is_under_way_takes_from_the_budget_of_its_receiver() {
    let mut cluster = Cluster::new(1, 10_000, 0, 0);
    cluster.nodes.push(node(2, 10_000));
    cluster.shards = (0..10).map(|id| shard(id, 200, Some(1))).collect();
    cluster.shards[0].target = under_way(2, NOW, None);
    cluster.now = NOW;
    let plan = cluster.plan();
    assert_eq!(moved(&plan), 200, "500 may be under way, 200 are: {plan:?}");
    cluster.set(1, NodeState::Draining);
    assert_eq!(moved(&cluster.plan()), 200);
}

#[test]
fn a_shard_larger_than_the_budget_moves_alone() {
    let mut cluster = Cluster::new(1, 10_000, 0, 0);
    cluster.set(1, NodeState::Draining);
    cluster.nodes.push(node(2, 10_000));
    cluster.shards = vec![shard(0, 900, Some(1)), shard(1, 800, Some(1))];
    assert_eq!(moved(&cluster.plan()), 900);
}

#[test]
fn shards_without_users_leave_a_draining_node_at_once_and_all_together() {
    let mut cluster = Cluster::new(3, 10_000, 0, 4096);
    cluster.settle();
    cluster.set(1, NodeState::Draining);
    let plan = cluster.plan();
    assert!(plan.moves.iter().all(|step| matches!(step.step, Step::Assign(_)) && step.why == Why::Drain));
    cluster.apply(&plan);
    let counts = [1, 2, 3].map(|session| cluster.shards.iter().filter(|shard| shard.owner == Some(Session(session))).count());
    assert_eq!(counts, [0, 2048, 2048]);
}

#[test]
fn a_receiver_that_failed_a_hand_over_is_the_last_choice_while_the_shard_rests() {
    let mut cluster = Cluster::new(3, 1_000, 0, 0);
    cluster.now = NOW;
    cluster.set(1, NodeState::Draining);
    cluster.shards =
        vec![Shard { rests_until: NOW + seconds(1), ..shard(0, 100, Some(1)) }, shard(1, 300, Some(2)), shard(2, 400, Some(3))];
    assert_eq!(only(&cluster.plan()).0, Step::HandOver(Session(2)));
    cluster.shards[0].avoids = Some(Session(2));
    assert_eq!(only(&cluster.plan()).0, Step::HandOver(Session(3)));
    cluster.set(3, NodeState::Bad);
    cluster.shards.truncate(2);
    assert_eq!(only(&cluster.plan()).0, Step::HandOver(Session(2)), "there is no other");
}

#[test]
fn a_shard_whose_owner_lacks_a_feature_is_handed_over_to_one_that_has_it() {
    let mut cluster = Cluster::new(3, 1_000, 0, 0);
    cluster.nodes[2].features = Features(0b10);
    cluster.shards = vec![Shard { needs: Features(0b10), ..shard(0, 100, Some(1)) }, shard(1, 100, Some(2))];
    assert_eq!(only(&cluster.plan()), (Step::HandOver(Session(3)), Why::Features));
    cluster.set(3, NodeState::Bad);
    assert_eq!(cluster.plan(), Plan { unplaced: vec![ShardId(0)], ..Plan::default() }, "it stays where it is, and that is said");
}

#[test]
fn a_drain_that_nobody_has_room_for_is_stuck_and_its_shards_stay() {
    let mut cluster = Cluster::new(2, 100, 0, 0);
    cluster.set(1, NodeState::Draining);
    cluster.shards = vec![shard(0, 60, Some(1)), shard(1, 60, Some(2))];
    assert_eq!(cluster.plan(), Plan { stuck: vec![ShardId(0)], ..Plan::default() });
}
