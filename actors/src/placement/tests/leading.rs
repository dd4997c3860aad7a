//! Scripts about leaders: who leads, what is moved when nodes die, drain, flap or seem to, and what is left alone.

use super::scene::Scene;
use super::seconds;
use crate::ids::NodeId;
use crate::placement::leader::{Effect, Input};
use crate::ports::cluster_store::Depth;
use crate::ports::{ClusterStore as _, StoreError};
use crate::snapshot::NodeState;
use crate::testing::memory::{Call, Fault};
use crate::time::Monotonic;
use futures_util::FutureExt as _;

fn outage() -> Option<StoreError> {
    Some(StoreError::Unavailable("stopped".into()))
}

#[test]
fn the_first_node_leads_and_all_end_with_their_share() {
    let scene = Scene::settled(3, 300);
    assert_eq!(scene.leader(), "n1");
    assert!(scene.owners().values().all(|(owner, _)| owner.is_some()));
}

#[test]
fn a_follower_that_dies_is_judged_in_5_to_9_s_and_only_its_shards_move() {
    let mut scene = Scene::settled(3, 300);
    let (dead, before) = (scene.follower(), scene.owners());
    let session = scene.session(&dead);
    scene.process(&dead).stopped = true;
    let took = scene.until("it is judged", |scene| scene.state(&dead) == NodeState::Bad);
    assert!(seconds(5) <= took && took <= seconds(9), "{took:?}");
    scene.run(seconds(30));
    for (shard, (owner, epoch)) in scene.owners() {
        let (old, old_epoch) = before[&shard];
        assert!(owner.is_some() && owner != Some(session));
        assert_eq!(old == Some(session), epoch != old_epoch, "{shard} moved without need, or not with need");
    }
}

#[test]
fn when_the_leader_dies_another_takes_over_with_the_timers_that_it_has() {
    let mut scene = Scene::settled(3, 300);
    let dead = scene.leader();
    scene.process(&dead).stopped = true;
    let took = scene.until("it is judged", |scene| scene.state(&dead) == NodeState::Bad);
    assert!(seconds(5) <= took && took <= seconds(9), "{took:?}");
    assert_ne!(scene.leader(), dead);
    scene.run(seconds(1));
    assert_eq!(scene.users(&dead), 0);
}

#[test]
fn a_leader_that_dies_while_it_commits_leaves_nothing_half_done_and_the_next_goes_on() {
    let mut scene = Scene::settled(4, 300);
    let (leader, dead) = (scene.leader(), scene.follower());
    scene.process(&leader).dies_at_commit = true;
    scene.process(&dead).stopped = true;
    scene.settings.placement.guard_percent = 100;
    let took = scene.until("both are judged", |scene| scene.state(&dead) == NodeState::Bad && scene.state(&leader) == NodeState::Bad);
    assert!(took <= seconds(17), "{took:?}");
    scene.run(seconds(2));
    assert_eq!((scene.users(&leader), scene.users(&dead)), (0, 0));
    let left: usize = scene.names().iter().map(|name| scene.users(name)).sum();
    assert_eq!(left, 300);
}

#[test]
fn of_two_leaders_one_commits_and_the_other_learns_it() {
    let mut scene = Scene::settled(3, 300);
    let (old, dead) = (scene.leader(), scene.follower());
    let usurper = scene.names().into_iter().find(|name| *name != old && *name != dead).expect("the third");
    // The old leader sees the death and is stopped with its plan in hand; another takes over meanwhile.
    scene.process(&dead).stopped = true;
    scene.process(&old).dies_at_commit = true;
    scene.until("it is about to commit", |scene| scene.processes.iter().any(|process| process.name == old && process.stopped));
    let (now, settings, session) = (scene.now(), scene.settings.clone(), scene.session(&usurper));
    let seen = scene.store.read(|model| model.leader);
    assert_eq!(scene.store.lead(session, seen).now_or_never(), Some(Ok(true)));
    let committed = scene.process(&old).machine.step(now, Input::Committed(Ok(None)), &settings);
    assert_eq!(committed, []);
    scene.process(&old).stopped = false;
    scene.process(&old).dies_at_commit = false;
    scene.run(seconds(3));
    assert_eq!(scene.leader(), usurper);
    assert!(!scene.process(&old).machine.leads(), "it saw that another leads");
    assert!(scene.process(&usurper).machine.leads());
    scene.until("the dead one is judged", |scene| scene.state(&dead) == NodeState::Bad);
    assert_eq!(scene.state(&old), NodeState::Good);
}

#[test]
fn a_stalled_database_kills_nobody_and_moves_nothing() {
    let mut scene = Scene::settled(3, 300);
    let before = scene.owners();
    for stall in [3, 7, 30, 600] {
        scene.store.outage(outage());
        scene.run(seconds(stall));
        scene.store.outage(None);
        scene.run(seconds(15));
        assert!(scene.names().iter().all(|name| scene.state(name) == NodeState::Good), "after {stall} s");
        assert_eq!(scene.owners(), before);
    }
}

#[test]
fn a_node_that_cannot_reach_the_database_is_judged_and_judges_nobody_when_it_returns() {
    let mut scene = Scene::settled(3, 300);
    let cut = scene.leader();
    scene.process(&cut).cut = true;
    scene.until("it is judged", |scene| scene.state(&cut) == NodeState::Bad);
    scene.run(seconds(60));
    scene.process(&cut).cut = false;
    scene.run(seconds(30));
    let states: Vec<NodeState> = scene.names().iter().map(|name| scene.state(name)).collect();
    assert_eq!(states.iter().filter(|state| **state == NodeState::Good).count(), 2, "{states:?}");
    assert!(!scene.process(&cut).machine.leads());
    assert_eq!(scene.process(&cut).machine.due(), Monotonic::NEVER, "its session is over");
}

#[test]
fn a_node_that_flaps_costs_its_own_users_and_is_filled_again_only_after_a_minute_of_quiet() {
    let mut scene = Scene::settled(3, 300);
    let flaps = scene.follower();
    let others: Vec<String> = scene.names().into_iter().filter(|name| *name != flaps).collect();
    for _ in 0..5 {
        scene.process(&flaps).stopped = true;
        scene.until("it is judged", |scene| scene.state(&flaps) == NodeState::Bad);
        scene.run(seconds(2));
        let held: Vec<usize> = others.iter().map(|name| scene.users(name)).collect();
        assert_eq!(held.iter().sum::<usize>(), 300);
        scene.join(&flaps);
        scene.run(seconds(55));
        let after: Vec<usize> = others.iter().map(|name| scene.users(name)).collect();
        assert_eq!(after, held, "no quiet, no move");
    }
    scene.until("it has its share again", |scene| scene.users(&flaps) >= 90);
}

#[test]
fn a_drain_ends_empty_and_the_rest_is_handed_over_not_taken() {
    let mut scene = Scene::settled(3, 300);
    let drained = scene.leader();
    assert_eq!(scene.store.drain(&NodeId(drained.as_str().into())).now_or_never(), Some(Ok(true)));
    let took = scene.until("it is empty", |scene| {
        let session = scene.processes.iter().find(|process| process.name == drained).map(|process| process.session);
        scene.owners().values().all(|(owner, _)| *owner != session)
    });
    assert!(took <= seconds(10), "{took:?}");
    let log = scene.store.read(|model| model.assign_log.clone());
    let from = |line: &&crate::ports::cluster_store::AssignLine| {
        line.from.as_ref().is_some_and(|node| *node.0 == *drained) && line.to.as_ref() != line.from.as_ref()
    };
    assert!(log.iter().filter(from).any(|line| line.reason == "hand_over"), "users leave by hand-over");
    assert!(log.iter().filter(from).all(|line| matches!(line.reason.as_str(), "hand_over" | "drain" | "rebalance")), "{log:?}");
}

#[test]
fn a_receiver_that_never_gets_ready_loses_the_move_after_30_s_and_another_is_tried() {
    let mut scene = Scene::settled(3, 300);
    let drained = scene.leader();
    let lame = scene.follower();
    scene.process(&lame).lame = true;
    assert_eq!(scene.store.drain(&NodeId(drained.as_str().into())).now_or_never(), Some(Ok(true)));
    let took = scene.until("it is empty", |scene| scene.users(&drained) == 0);
    assert!(seconds(30) <= took && took <= seconds(45), "{took:?}");
    assert!(scene.store.read(|model| model.assign_log.iter().any(|line| line.reason == "cancelled")));
}

#[test]
fn when_half_of_the_nodes_fall_silent_the_guard_holds_twice_t_and_asks_before_it_judges() {
    let mut scene = Scene::settled(4, 300);
    let leader = scene.leader();
    let silent: Vec<String> = scene.names().into_iter().filter(|name| *name != leader).take(2).collect();
    let sessions: Vec<_> = silent.iter().map(|name| scene.session(name)).collect();
    silent.iter().for_each(|name| scene.process(name).stopped = true);
    scene.answering.insert(sessions[0]);
    let began = scene.now();
    scene.until("one is judged", |scene| scene.state(&silent[1]) == NodeState::Bad);
    let took = scene.now().since(began);
    assert!(seconds(17) <= took && took <= seconds(21), "{took:?}");
    assert_eq!(scene.asked.len(), 2, "each was asked once: {:?}", scene.asked);
    assert!(scene.told.iter().any(|(_, told)| told.held.len() == 2));
    scene.run(seconds(60));
    assert_eq!(scene.state(&silent[0]), NodeState::Good, "who answers lives");
    scene.answering.clear();
    scene.until("the other one is judged", |scene| scene.state(&silent[0]) == NodeState::Bad);
    scene.run(seconds(1));
    assert_eq!(scene.users(&silent[0]) + scene.users(&silent[1]), 0);
}

#[test]
fn a_node_that_beats_again_while_the_guard_holds_is_let_be() {
    let mut scene = Scene::settled(4, 300);
    let (leader, before) = (scene.leader(), scene.owners());
    let silent: Vec<String> = scene.names().into_iter().filter(|name| *name != leader).take(2).collect();
    silent.iter().for_each(|name| scene.process(name).stopped = true);
    scene.until("the guard holds", |scene| scene.told.iter().any(|(_, told)| !told.held.is_empty()));
    silent.iter().for_each(|name| scene.process(name).stopped = false);
    scene.run(seconds(30));
    assert!(scene.names().iter().all(|name| scene.state(name) == NodeState::Good));
    assert_eq!(scene.owners(), before);
}

#[test]
fn one_of_two_nodes_may_die_without_the_guard() {
    let mut scene = Scene::settled(2, 300);
    let dead = scene.leader();
    scene.process(&dead).stopped = true;
    let took = scene.until("it is judged", |scene| scene.state(&dead) == NodeState::Bad);
    assert!(took <= seconds(9), "{took:?}");
}

#[test]
fn a_plan_whose_answer_was_lost_is_not_made_twice_and_one_that_was_lost_is_made_again() {
    for fault in [Fault::carried_out(), Fault::not_carried_out(), Fault::unavailable()] {
        let mut scene = Scene::settled(3, 300);
        let (dead, before) = (scene.follower(), scene.store.read(|model| model.assign_ver));
        scene.store.fail_next(Call::Plan, fault.clone());
        scene.process(&dead).stopped = true;
        scene.until("it is judged", |scene| scene.state(&dead) == NodeState::Bad);
        scene.run(seconds(5));
        assert_eq!(scene.users(&dead), 0);
        assert_eq!(scene.store.read(|model| model.assign_ver), before + 1, "one plan was carried out: {fault:?}");
    }
}

#[test]
fn leadership_whose_answer_was_lost_is_found_by_looking() {
    for fault in [Fault::carried_out(), Fault::not_carried_out()] {
        let mut scene = Scene::settled(3, 300);
        let dead = scene.leader();
        scene.store.fail_next(Call::Lead, fault);
        scene.process(&dead).stopped = true;
        scene.until("it is judged", |scene| scene.state(&dead) == NodeState::Bad);
        scene.run(seconds(2));
        assert_eq!(scene.users(&dead), 0);
    }
}

#[test]
fn what_nobody_has_room_for_is_told_and_placed_when_there_is() {
    let mut scene = Scene::settled(2, 300);
    let dead = scene.follower();
    let full = scene.leader();
    scene.store.tamper(|model| model.nodes.get_mut(&NodeId(full.as_str().into())).expect("it is there").max_users = 200);
    scene.process(&dead).stopped = true;
    scene.until("some are unplaced", |scene| scene.told.last().is_some_and(|(_, told)| told.unplaced > 0));
    let unowned = |scene: &Scene| scene.owners().values().filter(|(owner, _)| owner.is_none()).count();
    scene.run(seconds(2));
    assert!(unowned(&scene) > 0, "the table names no dead owner");
    assert!(scene.users(&full) <= 220);
    scene.join(&dead);
    scene.until("all are placed", |scene| unowned(scene) == 0);
}

#[test]
fn beyond_sixteen_nodes_followers_look_at_the_leader_alone() {
    let mut scene = Scene::new(18, 300);
    scene.run(seconds(120));
    let follower = scene.follower();
    let (settings, mut leader_looks, mut looks) = (scene.settings.clone(), 0, 0);
    for _ in 0..64 {
        let now = scene.process(&follower).machine.due();
        let machine = &mut scene.process(&follower).machine;
        let effects = machine.step(now, Input::Alarm, &settings);
        looks += 1;
        leader_looks += usize::from(effects == [Effect::Look(Depth::Leader)]);
        machine.step(now, Input::Seen(now, Err(StoreError::Unavailable(String::new()))), &settings);
    }
    assert_eq!((looks, leader_looks), (64, 62));
    let dead = scene.leader();
    scene.process(&dead).stopped = true;
    let took = scene.until("the leader is judged", |scene| scene.state(&dead) == NodeState::Bad);
    assert!(took <= seconds(10), "the timer that followers have goes on: {took:?}");
}

#[test]
fn on_an_embedded_database_nothing_is_observed() {
    let mut scene = Scene::new(1, 0);
    scene.store.tamper(|model| (model.database.timeline, model.accepted.timeline) = (0, 0));
    scene.run(seconds(3));
    assert_eq!(scene.process("n1").machine.due(), Monotonic::NEVER);
}
