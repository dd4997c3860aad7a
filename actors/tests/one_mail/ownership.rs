//! Restarts, takeovers and drains: who may act, and what the next one finds.

use postrider_actors::node::state::Ended;
use postrider_actors::snapshot::{Control, NodeState};
use postrider_actors::testing::scripted::Answer;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_between_commit_and_send_leaves_rows_that_the_next_one_sends() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    world.mail.latency(seconds(1));
    let item = world.mail.deliver(ADA);
    world.until("the row is committed", || rows(&world).0 == 1).await;
    system.kill().await;
    world.store.kill();
    let process = world.store.process();
    let began = tokio::time::Instant::now();
    let _next = world.node(&process, 2).await;
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < seconds(8), "{:?}", began.elapsed());
    assert_eq!(world.mail.predecessors().len(), 1, "the subscription of the former one is ended");
    world.until("it is marked", || rows(&world) == (0, 1, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_after_a_send_repeats_it_with_the_same_ids() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    world.push.next(Answer::accepted().slow(seconds(5)));
    world.mail.deliver(ADA);
    world.push.until("it was sent", |sent| sent.len() == 1).await;
    system.kill().await;
    world.store.kill();
    let _next = world.node(&world.store.process(), 2).await;
    let sent = world.push.until("it was sent again", |sent| sent.len() == 2).await;
    assert_eq!((sent[0].push.id, sent[0].push.event), (sent[1].push.id, sent[1].push.event));
    world.until("it is marked", || rows(&world) == (0, 1, 0, 0)).await;
    world.pass(seconds(300)).await;
    assert_eq!(world.push.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn mail_that_came_while_nobody_ran_is_announced_by_the_next_one() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    system.kill().await;
    world.store.kill();
    world.pass(seconds(600)).await;
    let item = world.mail.deliver(ADA);
    world.pass(seconds(600)).await;
    let _next = world.node(&world.store.process(), 2).await;
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_process_takes_over_and_the_first_stops_acting() {
    let world = World::new();
    let (first, mailbox) = world.one(ADA).await;
    let process = world.store.process();
    let second = world.node(&process, 2).await;
    assert_eq!(first.ended().await, Ended::Replaced);
    assert!(!first.context().gate.is_open());
    world.until("the second owns", || second.node().state == NodeState::Good && second.node().shards > 0).await;
    assert_eq!(first.node().state, NodeState::Bad);
    world.until_live(&second, mailbox).await;
    world.until("one of them watches", || world.mail.watchers(ADA) == 1).await;
    let item = world.mail.deliver(ADA);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    world.pass(seconds(120)).await;
    assert_eq!(world.push.sent().iter().filter(|sent| !sent.is_badge()).count(), 1, "by one of them");
    let history = world.store.history();
    let fences: Vec<_> = history.iter().map(|commit| commit.authority.fence).collect();
    assert!(fences.is_sorted(), "fences never decrease: {fences:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_is_started_while_the_node_drains_collects_nothing() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    world.push.always(Some(Answer::accepted().slow(seconds(20))));
    world.mail.deliver(ADA);
    world.push.until("something is under way", |sent| sent.len() == 1).await;
    let draining = tokio::spawn({
        let system = system.clone();
        async move { system.drain(seconds(60)).await }
    });
    world.pass(seconds(1)).await;
    let bob = world.register(BOB, "phone").await;
    let shard = world.store.read(|model| model.mailboxes[&bob].shard);
    system.shard_changed(shard);
    world.pass(seconds(15)).await;
    assert!(!draining.is_finished() && system.mailbox(bob).await.is_some(), "he has an actor");
    assert_eq!(world.mail.asked(BOB), [], "nobody asks for him");
    draining.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_under_way_and_the_next_one_repeats_nothing() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    world.push.next(Answer::accepted().slow(seconds(3)));
    world.mail.deliver(ADA);
    world.push.until("it is being sent", |sent| sent.len() == 1).await;
    system.drain(seconds(20)).await;
    assert_eq!(rows(&world), (0, 1, 0, 0), "the verdict is marked");
    let item = world.mail.deliver(ADA);
    let began = tokio::time::Instant::now();
    let _next = world.node(&world.store.process(), 2).await;
    world.push.until("what came meanwhile is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < seconds(3), "taken over at once: {:?}", began.elapsed());
    assert_eq!(world.push.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_and_the_next_one_finishes() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    world.push.next(Answer::accepted().slow(seconds(100)));
    world.mail.deliver(ADA);
    world.push.until("it is being sent", |sent| sent.len() == 1).await;
    let began = tokio::time::Instant::now();
    system.drain(seconds(5)).await;
    assert!(began.elapsed() < seconds(11), "{:?}", began.elapsed());
    let _next = world.node(&world.store.process(), 2).await;
    let sent = world.push.until("it is sent again", |sent| sent.len() == 2).await;
    assert_eq!(sent[0].push.id, sent[1].push.id);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_is_watched_within_a_heartbeat_of_its_registration_and_left_after_its_removal() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    let began = tokio::time::Instant::now();
    let bob = world.register(BOB, "phone").await;
    world.until_live(&system, bob).await;
    assert!(began.elapsed() < seconds(3), "{:?}", began.elapsed());
    use postrider_actors::ports::RegistryStore;
    let smtp = postrider_actors::ids::Smtp::new(BOB);
    let shard = world.store.mailbox_remove(&postrider_actors::testing::world::tenant(), &smtp).await.unwrap().unwrap();
    system.shard_changed(shard);
    world.until("he is left", || world.mail.watchers(BOB) == 0).await;
    assert!(system.mailbox(bob).await.is_none());
}
