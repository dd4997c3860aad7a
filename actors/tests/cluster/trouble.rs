//! Deaths, databases that are away, and promotions.

use postrider_actors::ports::StoreError;
use postrider_actors::testing::scripted::Call;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_users_of_a_killed_node_are_pushed_again_by_the_others_and_nobody_else_moves() {
    let world = World::cluster(SHARDS);
    users(&world, 60).await;
    let (a, b, c) = (Member::good(&world, "a", 1).await, Member::good(&world, "b", 2).await, Member::good(&world, "c", 3).await);
    hand::settle(&world).await;
    until_watched(&world, &[&a, &b, &c], 60).await;
    let (kept_a, kept_c) = (a.shards(&world), c.shards(&world));
    b.kill().await;
    let items = mails(&world, 60);
    let began = tokio::time::Instant::now();
    hand::bury(&world, b.session).await;
    hand::settle(&world).await;
    until_announced(&world, &items).await;
    assert!(began.elapsed() < seconds(12), "{:?}", began.elapsed());
    world.until("all run", || a.mailboxes() + c.mailboxes() == 60).await;
    let (now_a, now_c) = (a.shards(&world), c.shards(&world));
    assert!(kept_a.iter().all(|shard| now_a.contains(shard)) && kept_c.iter().all(|shard| now_c.contains(shard)));
    assert_eq!(doubled(&world), 0);
    assert_single_authority(&world);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_dies_while_it_warms_up_takes_nothing_along() {
    let world = World::cluster(SHARDS);
    users(&world, 10).await;
    let a = Member::good(&world, "a", 1).await;
    hand::settle(&world).await;
    until_watched(&world, &[&a], 10).await;
    let b = Member::good(&world, "b", 2).await;
    hand::plan_moves(&world, &a.shards(&world), Some(b.session)).await;
    b.kill().await;
    hand::bury(&world, b.session).await;
    let items = mails(&world, 10);
    until_announced(&world, &items).await;
    assert_eq!(a.shards(&world).len(), usize::from(SHARDS));
    assert_eq!(doubled(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_for_half_a_minute_moves_nothing_and_nothing_is_subscribed_again() {
    let world = World::cluster(SHARDS);
    users(&world, 20).await;
    let (a, b) = (Member::good(&world, "a", 1).await, Member::good(&world, "b", 2).await);
    hand::settle(&world).await;
    until_watched(&world, &[&a, &b], 20).await;
    let (shards_a, shards_b) = (a.shards(&world), b.shards(&world));
    world.store.outage(Some(StoreError::Unavailable("as the test wants".into())));
    world.pass(seconds(10)).await;
    assert!(!a.system.context().gate.is_open() && !b.system.context().gate.is_open());
    let items = mails(&world, 20);
    world.pass(seconds(20)).await;
    assert!(world.push.sent().is_empty());
    world.store.outage(None);
    let began = tokio::time::Instant::now();
    until_announced(&world, &items).await;
    assert!(began.elapsed() < seconds(3), "{:?}", began.elapsed());
    assert_eq!((a.shards(&world), b.shards(&world)), (shards_a, shards_b));
    for number in 0..20 {
        assert_eq!(world.mail.count(&address(number), Call::Watch), 1);
    }
    assert_eq!((a.system.node().state, b.system.node().state), (NodeState::Good, NodeState::Good));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_lost_the_last_seconds_loses_no_mail_and_nothing_is_subscribed_again() {
    let world = World::cluster(SHARDS);
    users(&world, 20).await;
    let (a, b) = (Member::good(&world, "a", 1).await, Member::good(&world, "b", 2).await);
    hand::settle(&world).await;
    until_watched(&world, &[&a, &b], 20).await;
    let tail = world.store.read(Clone::clone);
    let early = mails(&world, 20);
    until_announced(&world, &early).await;
    world.pass(millis(500)).await;
    world.store.tamper(|model| {
        let history = model.history.clone();
        *model = tail;
        model.database.timeline += 1;
        model.accepted = model.database.clone();
        model.history = history;
    });
    let began = tokio::time::Instant::now();
    let late = mails(&world, 20);
    until_announced(&world, &late).await;
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    world.pass(seconds(60)).await;
    assert!(doubled(&world) <= 20, "the lost tail at most: {}", doubled(&world));
    for number in 0..20 {
        assert_eq!(world.mail.count(&address(number), Call::Watch), 1, "{}", address(number));
    }
    let epochs: Vec<i64> = world.store.read(|model| model.shards.values().map(|row| row.epoch.0 >> 40).collect());
    assert!(epochs.iter().all(|timeline| *timeline == 2), "{epochs:?}");
    assert_single_authority(&world);
}

#[tokio::test(start_paused = true)]
async fn another_database_behind_the_same_address_silences_the_node_until_it_is_gone() {
    let world = World::cluster(SHARDS);
    users(&world, 5).await;
    let a = Member::good(&world, "a", 1).await;
    hand::settle(&world).await;
    until_watched(&world, &[&a], 5).await;
    world.store.tamper(|model| model.database.system_id = "other".into());
    world.until("the gate is closed", || !a.system.context().gate.is_open()).await;
    let items = mails(&world, 5);
    world.pass(seconds(20)).await;
    assert!(world.push.sent().is_empty());
    world.store.tamper(|model| model.database = model.accepted.clone());
    until_announced(&world, &items).await;
    assert_eq!(world.mail.count(&address(0), Call::Watch), 1);
}
