//! Joining a shared database: names, clocks, and lives of one process after the other.

use postrider_actors::node::state::Ended;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_process_that_is_started_again_waits_for_its_former_life_and_takes_its_place() {
    let world = World::cluster(SHARDS);
    users(&world, 10).await;
    let first = Member::good(&world, "a", 1).await;
    hand::settle(&world).await;
    until_watched(&world, &[&first], 10).await;
    first.kill().await;
    let began = tokio::time::Instant::now();
    let again = Member::good(&world, "a", 2).await;
    assert!((seconds(6)..seconds(9)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // What its former life owned is owned by a session that is gone.
    world.store.tamper(|model| model.shards.values_mut().filter(|row| row.owner == Some(Session(1))).for_each(|row| row.owner = None));
    hand::settle(&world).await;
    world.until("it watches", || again.mailboxes() == 10).await;
    let items = mails(&world, 10);
    until_announced(&world, &items).await;
    assert_single_authority(&world);
}

#[tokio::test(start_paused = true)]
async fn a_second_node_of_one_name_is_told_so_and_the_first_goes_on() {
    let world = World::cluster(SHARDS);
    users(&world, 4).await;
    let first = Member::good(&world, "a", 1).await;
    hand::settle(&world).await;
    until_watched(&world, &[&first], 4).await;
    let second = Member::start(&world, "a", 2).await;
    let Ended::Unusable(why) = second.system.ended().await else { panic!("it goes on") };
    assert!(why.contains("node.name"), "{why}");
    let items = mails(&world, 4);
    until_announced(&world, &items).await;
    assert_eq!(first.system.node().state, NodeState::Good);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_judged_dead_stops_acting_and_drops_its_subscriptions() {
    let world = World::cluster(SHARDS);
    users(&world, 6).await;
    let (first, second) = (Member::good(&world, "a", 1).await, Member::good(&world, "b", 2).await);
    hand::settle(&world).await;
    until_watched(&world, &[&first, &second], 6).await;
    world.store.tamper(|model| {
        model.nodes.values_mut().filter(|row| row.session == Session(1)).for_each(|row| row.state = NodeState::Bad);
        model.shards.values_mut().filter(|row| row.owner == Some(Session(1))).for_each(|row| row.owner = None);
    });
    assert_eq!(first.system.ended().await, Ended::Replaced);
    hand::settle(&world).await;
    until_watched(&world, &[&second], 6).await;
    assert_eq!(first.mailboxes(), 0);
    let items = mails(&world, 6);
    until_announced(&world, &items).await;
    assert_single_authority(&world);
}
