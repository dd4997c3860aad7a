//! First watches, refused sync states, moves: old mail stays quiet, mail that comes meanwhile does not.

use postrider_actors::ports::mail_source::Hint;
use postrider_actors::testing::scripted::{Call, Inbox};

use super::*;

#[tokio::test(start_paused = true)]
async fn fifty_thousand_old_mails_stay_quiet_and_one_that_comes_meanwhile_is_announced_meanwhile() {
    let world = World::new();
    for place in 0..50_000 {
        world.put_old(ADA, seconds(60 + place));
    }
    let mailbox = world.register(ADA, "phone").await;
    let system = world.start().await;
    world.until("seeding is under way", || world.mail.count(ADA, Call::Changes) > 10).await;
    let began = tokio::time::Instant::now();
    world.mail.deliver(ADA);
    let sent = world.push.until_accepted(1).await;
    assert!(began.elapsed() < millis(200), "{:?}", began.elapsed());
    assert!(world.mail.count(ADA, Call::Changes) < 90, "before the end: {}", world.mail.count(ADA, Call::Changes));
    assert_eq!((sent[0].subject(), sent[0].push.badge), (Some("mail 50001"), Some(50_001)));
    world.until_live(&system, mailbox).await;
    assert!(world.store.read(|model| model.mailboxes[&mailbox].seeded));
    world.pass(seconds(3_600)).await;
    assert_eq!(world.push.sent().len(), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn mail_meanwhile_does_not_wait_for_other_mailboxes_to_be_seeded() {
    let mut world = World::new();
    world.settings.seedings = 1;
    for place in 0..50_000 {
        world.put_old(BOB, seconds(60 + place));
    }
    let bob = world.register(BOB, "phone").await;
    let system = world.start().await;
    world.until("the other's seeding is under way", || world.mail.count(BOB, Call::Changes) > 5).await;
    world.register(ADA, "phone").await;
    world.until("she is watched", || world.mail.watchers(ADA) == 1).await;
    world.pass(millis(50)).await;
    let began = tokio::time::Instant::now();
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    assert!(began.elapsed() < millis(200), "{:?}", began.elapsed());
    world.until_live(&system, bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_sync_state_repeats_nothing_and_loses_nothing() {
    let world = World::new();
    world.put_old(ADA, seconds(300));
    let (system, mailbox) = world.one(ADA).await;
    let first = world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    world.pass(seconds(60)).await;
    world.mail.change(ADA, Inbox::refuse_states);
    let second = world.mail.deliver(ADA);
    let sent = world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&second))).await;
    assert_eq!(sent.last().unwrap().push.hashes, hashes(&[&second]));
    world.until_live(&system, mailbox).await;
    let third = world.mail.deliver(ADA);
    let sent = world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&third))).await;
    let told: Vec<EventKey> = sent.iter().flat_map(|sent| sent.push.hashes.clone()).collect();
    assert_eq!(told, hashes(&[&first, &second, &third]));
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_moves_to_another_server_announces_no_mail_of_before_again() {
    let world = World::new();
    for age in 1..600 {
        world.put_old(ADA, seconds(age));
    }
    let (system, mailbox) = world.one(ADA).await;
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    world.pass(seconds(7_200)).await;
    world.mail.deliver(ADA);
    world.push.until_accepted(2).await;
    let unread_hour = world.push.sent().len();
    world.mail.change(ADA, |inbox| {
        let read: Vec<ItemId> = inbox.items().map(|(item, _)| item.clone()).collect();
        read.iter().for_each(|item| inbox.mark_read(item, true));
    });
    world.mail.change_all_ids(ADA);
    world.until("it is watched again", || world.mail.watchers(ADA) == 1).await;
    world.until_live(&system, mailbox).await;
    world.pass(seconds(120)).await;
    assert!(world.push.sent()[unread_hour..].iter().all(Sent::is_badge), "{:?}", &world.push.sent()[unread_hour..]);
    let item = world.mail.deliver(ADA);
    world.push.until("what comes after the move is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_stream_loses_nothing() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.mail.hint(ADA, Hint::Gap);
    world.mail.lose_hints(ADA, true);
    let item = world.mail.deliver(ADA);
    world.pass(seconds(1)).await;
    world.mail.lose_hints(ADA, false);
    let began = tokio::time::Instant::now();
    world.mail.hint(ADA, Hint::StreamOpened);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < millis(100), "{:?}", began.elapsed());
    world.until_live(&system, mailbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_went_silent_is_found_out_by_the_reconcile() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.lose_hints(ADA, true);
    let began = tokio::time::Instant::now();
    let item = world.mail.deliver(ADA);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() <= seconds(1_981), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_subscription_is_made_again_and_what_came_meanwhile_is_found() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.mail.lose_subscription(ADA, false);
    let item = world.mail.deliver(ADA);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    world.until("it is watched again", || world.mail.watchers(ADA) == 1).await;
    world.until_live(&system, mailbox).await;
}
