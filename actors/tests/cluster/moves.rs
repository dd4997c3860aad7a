//! Planned moves and drains: no mailbox is without a live subscription, nothing is lost and nothing is pushed twice.

use postrider_actors::node::state::Ended;
use postrider_actors::ports::{ClusterStore, StoreError};
use postrider_actors::testing::memory::{Call as Store, Fault};
use postrider_actors::testing::scripted::{Answer, Call};
use tokio::task::JoinHandle;

use super::*;

/// Watches, every few milliseconds, that each of so many users has a subscription.
fn guard(world: &World, count: usize) -> JoinHandle<()> {
    let world = world.clone();
    tokio::spawn(async move {
        loop {
            for number in 0..count {
                assert!(world.mail.watchers(&address(number)) > 0, "{} has no subscription", address(number));
            }
            world.pass(millis(if count > 100 { 50 } else { 3 })).await;
        }
    })
}

/// The guard found nothing.
fn calm(guard: &JoinHandle<()>) {
    assert!(!guard.is_finished(), "a mailbox had no subscription");
    guard.abort();
}

async fn two(world: &World, count: usize) -> (Member, Member) {
    users(world, count).await;
    let first = Member::good(world, "a", 1).await;
    hand::settle(world).await;
    until_watched(world, &[&first], count).await;
    let second = Member::good(world, "b", 2).await;
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn a_planned_move_leaves_no_mailbox_without_a_subscription_and_subscribes_once() {
    let world = World::cluster(SHARDS);
    let (first, second) = two(&world, 30).await;
    let guard = guard(&world, 30);
    let (items, moving) = (mails(&world, 30), first.shards(&world));
    hand::plan_moves(&world, &moving, Some(second.session)).await;
    let mut all = items;
    while second.mailboxes() < 30 {
        all.extend(mails(&world, 30));
        world.pass(millis(700)).await;
    }
    until_watched(&world, &[&second], 30).await;
    all.extend(mails(&world, 30));
    until_announced(&world, &all).await;
    calm(&guard);
    for number in 0..30 {
        let count = |call| world.mail.count(&address(number), call);
        assert_eq!((count(Call::Watch), count(Call::Warm)), (1, 1), "{}", address(number));
    }
    assert_eq!((first.mailboxes(), first.shards(&world)), (0, vec![]));
    assert_eq!(doubled(&world), 0);
    assert_eq!(world.mail.predecessors().len(), 0, "who hands over ends his own");
    assert_single_authority(&world);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_move_ends_what_was_warmed_up_and_the_owner_goes_on() {
    let world = World::cluster(SHARDS);
    let (first, second) = two(&world, 10).await;
    world.store.fail_next(Store::Ready, Fault::unavailable());
    let moving = first.shards(&world);
    hand::plan_moves(&world, &moving, Some(second.session)).await;
    world.until("shadows are there", || (0..10).all(|number| world.mail.watchers(&address(number)) == 2)).await;
    hand::plan_moves(&world, &moving, None).await;
    until_watched(&world, &[&first], 10).await;
    let items = mails(&world, 10);
    until_announced(&world, &items).await;
    assert_eq!(doubled(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_that_is_refused_or_of_unknown_outcome_loses_nothing() {
    for fault in [Fault::unavailable(), Fault::carried_out(), Fault::not_carried_out()] {
        let world = World::cluster(SHARDS);
        let (first, second) = two(&world, 10).await;
        let guard = guard(&world, 10);
        world.store.fail_next(Store::HandOver, fault.clone());
        hand::plan_moves(&world, &first.shards(&world), Some(second.session)).await;
        let items = mails(&world, 10);
        world.until("it moved", || second.shards(&world).len() == usize::from(SHARDS)).await;
        until_watched(&world, &[&second], 10).await;
        until_announced(&world, &items).await;
        calm(&guard);
        assert_eq!(doubled(&world), 0, "{fault:?}");
        assert_single_authority(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_has_not_answered_in_time_is_taken_up_by_the_next_owner() {
    let world = World::cluster(SHARDS);
    let (first, second) = two(&world, 4).await;
    world.push.always(Some(Answer::accepted().slow(seconds(60))));
    let items = mails(&world, 4);
    world.push.until("they are being sent", |sent| sent.len() == 4).await;
    world.push.always(None);
    let began = tokio::time::Instant::now();
    hand::plan_moves(&world, &first.shards(&world), Some(second.session)).await;
    until_watched(&world, &[&second], 4).await;
    assert!((seconds(5)..seconds(9)).contains(&began.elapsed()), "{:?}", began.elapsed());
    world.push.until("they are sent again", |sent| sent.len() == 8).await;
    until_announced(&world, &items).await;
    let sent = world.push.sent();
    for late in &sent[4..] {
        assert!(sent[..4].iter().any(|first| first.push.id == late.push.id), "a repeat carries the id of what it repeats");
    }
}

#[tokio::test(start_paused = true)]
async fn what_rests_for_another_try_goes_along_and_is_not_waited_for() {
    let world = World::cluster(SHARDS);
    let (first, second) = two(&world, 4).await;
    world.push.always(Some(Answer::later(Some(seconds(20)))));
    let items = mails(&world, 4);
    world.push.until("they were tried", |sent| sent.len() == 4).await;
    world.pass(seconds(1)).await;
    world.push.always(None);
    let began = tokio::time::Instant::now();
    hand::plan_moves(&world, &first.shards(&world), Some(second.session)).await;
    until_watched(&world, &[&second], 4).await;
    assert!(began.elapsed() < seconds(4), "{:?}", began.elapsed());
    until_announced(&world, &items).await;
    assert!(began.elapsed() < seconds(40), "{:?}", began.elapsed());
    assert_eq!(doubled(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn an_operators_drain_moves_a_thousand_users_within_a_minute_and_ends_the_session() {
    let world = World::cluster(64);
    let (first, second) = two(&world, 1_000).await;
    let guard = guard(&world, 1_000);
    let began = tokio::time::Instant::now();
    assert!(world.store.drain(&"a".into_node()).await.expect("the database answers"));
    let leader = tokio::spawn({
        let (world, from) = (world.clone(), first.session);
        async move { hand::drain(&world, from).await }
    });
    assert_eq!(first.system.ended().await, Ended::Drained);
    assert!(began.elapsed() < seconds(60), "{:?}", began.elapsed());
    leader.await.expect("the leader's hand does not fail");
    first.system.drain(seconds(20)).await;
    until_watched(&world, &[&second], 1_000).await;
    calm(&guard);
    let left = world.store.read(|model| model.nodes.values().find(|row| row.session == first.session).map(|row| row.state));
    assert_eq!(left, Some(NodeState::Left));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_told_to_stop_hands_everything_over_first() {
    let world = World::cluster(SHARDS);
    let (first, second) = two(&world, 50).await;
    let guard = guard(&world, 50);
    let items = mails(&world, 50);
    let leader = tokio::spawn({
        let (world, from) = (world.clone(), first.session);
        async move { hand::drain(&world, from).await }
    });
    let began = tokio::time::Instant::now();
    first.system.drain(seconds(20)).await;
    assert!(began.elapsed() < seconds(15), "{:?}", began.elapsed());
    leader.await.expect("the leader's hand does not fail");
    assert_eq!(second.shards(&world).len(), usize::from(SHARDS));
    until_watched(&world, &[&second], 50).await;
    calm(&guard);
    until_announced(&world, &items).await;
    assert_eq!(doubled(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_told_to_stop_releases_at_its_deadline_what_nobody_took() {
    let world = World::cluster(SHARDS);
    let (first, _second) = two(&world, 10).await;
    // Whoever leads cannot commit a plan.
    for _ in 0..10_000 {
        world.store.fail_next(Store::Plan, Fault::Before(StoreError::Unavailable("as the test wants".into())));
    }
    let began = tokio::time::Instant::now();
    first.system.drain(seconds(20)).await;
    assert!((seconds(10)..seconds(31)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(first.shards(&world), vec![], "owned by nobody");
}

#[tokio::test(start_paused = true)]
async fn the_last_node_stops_without_waiting_for_a_receiver() {
    let world = World::cluster(SHARDS);
    users(&world, 10).await;
    let only = Member::good(&world, "a", 1).await;
    hand::settle(&world).await;
    until_watched(&world, &[&only], 10).await;
    let began = tokio::time::Instant::now();
    only.system.drain(seconds(20)).await;
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
    assert_eq!(only.shards(&world), vec![]);
}

#[tokio::test(start_paused = true)]
async fn the_drain_of_an_only_node_ends_when_it_has_no_users_and_not_before() {
    let world = World::cluster(SHARDS);
    users(&world, 1).await;
    let only = Member::good(&world, "a", 1).await;
    hand::settle(&world).await;
    until_watched(&world, &[&only], 1).await;
    assert!(world.store.drain(&"a".into_node()).await.expect("the database answers"));
    world.pass(seconds(20)).await;
    assert_eq!(only.mailboxes(), 1, "nobody could take its user over: it is served");
    world.store.tamper(|model| model.devices.clear());
    assert_eq!(only.system.ended().await, Ended::Drained);
    only.system.drain(seconds(20)).await;
    assert_eq!(only.shards(&world), vec![]);
}

trait IntoNode {
    fn into_node(self) -> postrider_actors::ids::NodeId;
}

impl IntoNode for &str {
    fn into_node(self) -> postrider_actors::ids::NodeId {
        postrider_actors::ids::NodeId(self.into())
    }
}
