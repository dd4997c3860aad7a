//! What shares a push, and what waits for what.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_mail_after_quiet_is_pushed_at_once() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.pass(seconds(60)).await;
    let began = tokio::time::Instant::now();
    let item = world.mail.deliver(ADA);
    let sent = world.push.until_accepted(1).await;
    assert!(began.elapsed() < millis(50), "{:?}", began.elapsed());
    assert_eq!(sent[0].subject(), Some("mail 1"));
    assert_eq!(sent[0].push.badge, Some(1));
    assert_eq!(sent[0].push.hashes, hashes(&[&item]));
    assert_eq!(sent[0].push.count, 1);
    world.until("the row is marked", || rows(&world) == (0, 1, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_shares_one_push_a_window_that_shows_the_newest_and_counts_all() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    let mut items = Vec::new();
    for _ in 0..20 {
        world.pass(millis(100)).await;
        items.push(world.mail.deliver(ADA));
    }
    let sent = world.push.until_accepted(2).await;
    assert_eq!(sent[1].push.count, 20);
    assert_eq!(sent[1].subject(), Some("mail 21"));
    assert_eq!(sent[1].push.hashes, hashes(&items.iter().rev().take(16).collect::<Vec<_>>()), "the newest sixteen, newest first");
    assert_eq!(sent[1].push.badge, Some(21));
    assert!(sent[1].at.since(sent[0].at) <= seconds(3), "{:?}", sent[1].at.since(sent[0].at));
    world.pass(seconds(30)).await;
    assert_eq!(world.push.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_push_a_window_while_mail_keeps_coming_and_every_mail_is_in_one() {
    let world = World::new();
    let _system = world.one(ADA).await;
    let mut items = Vec::new();
    for _ in 0..60 {
        items.push(world.mail.deliver(ADA));
        world.pass(millis(500)).await;
    }
    let sent = world.push.until("all are announced", |sent| announced(sent, &items)).await;
    assert!((10..=12).contains(&sent.len()), "{} pushes in 30 s", sent.len());
    for pair in sent.windows(2) {
        assert!(pair[1].at.since(pair[0].at) >= millis(2_900), "{:?}", pair[1].at.since(pair[0].at));
    }
    assert_eq!(sent.iter().map(|sent| sent.push.count).sum::<u32>(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_window_of_zero_lets_every_mail_go_at_once() {
    let mut world = World::new();
    world.settings.window = Duration::ZERO;
    let _system = world.one(ADA).await;
    for count in 1..=5 {
        let began = tokio::time::Instant::now();
        world.mail.deliver(ADA);
        world.push.until_accepted(count).await;
        assert!(began.elapsed() < millis(50), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_badge_waits_twenty_seconds_for_company_and_then_goes_alone() {
    let world = World::new();
    let old = world.put_old(ADA, seconds(3_600));
    let _system = world.one(ADA).await;
    world.pass(seconds(60)).await;
    let began = tokio::time::Instant::now();
    world.mail.read(ADA, &old, true);
    let sent = world.push.until_accepted(1).await;
    assert!(sent[0].is_badge() && sent[0].push.badge == Some(0), "{sent:?}");
    assert!((millis(20_000)..millis(20_100)).contains(&began.elapsed()), "{:?}", began.elapsed());
    world.until("nothing is owed", || world.store.read(|model| model.mailboxes.values().all(|row| !row.badge_dirty))).await;
    world.pass(seconds(120)).await;
    assert_eq!(world.push.sent().len(), 1, "told once");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_badge_rides_along_with_the_next_mail() {
    let world = World::new();
    let old = world.put_old(ADA, seconds(3_600));
    let _system = world.one(ADA).await;
    world.pass(seconds(60)).await;
    world.mail.read(ADA, &old, true);
    world.pass(seconds(10)).await;
    world.mail.deliver(ADA);
    let sent = world.push.until_accepted(1).await;
    assert_eq!((sent[0].push.badge, sent[0].is_badge()), (Some(1), false));
    world.pass(seconds(120)).await;
    assert_eq!(world.push.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_badge_is_asked_for_when_no_folder_event_carried_it() {
    let world = World::new();
    world.mail.tell_unread(false);
    let _system = world.one(ADA).await;
    world.mail.deliver(ADA);
    let sent = world.push.until_accepted(1).await;
    assert_eq!(sent[0].push.badge, Some(1));
    assert_eq!(world.mail.count(ADA, postrider_actors::testing::scripted::Call::Unread), 1);
}
