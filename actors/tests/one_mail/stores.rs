//! A store that is away at the worst moments, the gate, and what is written when.

use postrider_actors::ports::{RegistryStore, StoreError};
use postrider_actors::testing::memory::{Call as Store, Fault};

use super::*;

fn away() -> Option<StoreError> {
    Some(StoreError::Unavailable("as the test wants".into()))
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_not_carried_out_is_made_again() {
    let world = World::new();
    let _system = world.one(ADA).await;
    for fault in [Fault::unavailable(), Fault::not_carried_out()] {
        world.store.fail_next(Store::SyncStateCommit, fault);
        let began = tokio::time::Instant::now();
        let item = world.mail.deliver(ADA);
        world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
        assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    }
    assert_eq!(world.push.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_strands_nothing() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.store.fail_next(Store::SyncStateCommit, Fault::carried_out());
    let began = tokio::time::Instant::now();
    let item = world.mail.deliver(ADA);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    world.pass(seconds(300)).await;
    assert_eq!(world.push.sent().len(), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_could_not_be_marked_is_marked_later_and_nothing_is_pushed_twice() {
    let world = World::new();
    let _system = world.one(ADA).await;
    for fault in [Fault::unavailable(), Fault::carried_out(), Fault::not_carried_out()] {
        world.store.fail_next(Store::Mark, fault);
    }
    world.mail.deliver(ADA);
    world.until("it is marked", || rows(&world) == (0, 1, 0, 0)).await;
    world.pass(seconds(300)).await;
    assert_eq!(world.push.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_heartbeats_fail_no_commit_and_no_send_begins_and_afterwards_it_goes_on_at_once() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.store.outage(away());
    world.pass(seconds(6)).await;
    assert!(!system.context().gate.is_open());
    let (commits, asked) = (world.store.history().len(), world.mail.asked(ADA).len());
    let item = world.mail.deliver(ADA);
    world.pass(seconds(60)).await;
    assert_eq!((world.store.history().len(), world.push.sent().len()), (commits, 0));
    assert_eq!(world.mail.asked(ADA).len(), asked, "nothing could come of asking the server");
    world.store.outage(None);
    let began = tokio::time::Instant::now();
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < seconds(4), "{:?}", began.elapsed());
    world.until_live(&system, mailbox).await;
    assert_eq!(world.mail.count(ADA, postrider_actors::testing::scripted::Call::Watch), 1, "nothing is subscribed again");
}

#[tokio::test(start_paused = true)]
async fn an_outage_between_commit_and_send_delays_the_push_and_no_more() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.latency(seconds(1));
    let item = world.mail.deliver(ADA);
    world.until("the row is committed", || world.store.read(|model| model.deliveries.len()) == 1).await;
    world.store.outage(away());
    world.pass(seconds(30)).await;
    assert!(world.push.sent().is_empty());
    world.store.outage(None);
    let began = tokio::time::Instant::now();
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < seconds(40), "{:?}", began.elapsed());
    world.until("it is marked", || rows(&world) == (0, 1, 0, 0)).await;
    assert_eq!(world.push.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn paused_sending_pushes_nothing_and_later_delivers_everything() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.store.sending_allow(false).await.unwrap();
    world.pass(seconds(3)).await;
    let mut items = Vec::new();
    for _ in 0..5 {
        items.push(world.mail.deliver(ADA));
        world.pass(seconds(60)).await;
    }
    assert!(world.push.sent().is_empty(), "{:?}", world.push.sent());
    world.store.sending_allow(true).await.unwrap();
    let began = tokio::time::Instant::now();
    let sent = world.push.until("all are announced", |sent| announced(sent, &items)).await;
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    assert_eq!(sent.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_covers_no_push_is_written_behind_within_seconds() {
    let world = World::new();
    let old = world.put_old(ADA, seconds(7_200));
    let (_system, mailbox) = world.one(ADA).await;
    world.pass(seconds(30)).await;
    let (before, commits) = (world.store.read(|model| model.mailboxes[&mailbox].sync_seq), world.store.calls(Store::SyncStateCommit));
    world.mail.change(ADA, |inbox| inbox.mark_read(&old, true));
    world.mail.hint(ADA, postrider_actors::ports::mail_source::Hint::StreamOpened);
    world.pass(seconds(1)).await;
    world.until("it is written", || world.store.read(|model| model.mailboxes[&mailbox].sync_seq > before)).await;
    assert_eq!(world.store.calls(Store::SyncStateCommit), commits + 1);
    let sent = world.push.until_accepted(1).await;
    assert!(sent[0].is_badge() && sent[0].push.badge == Some(0), "the badge that was owed is told: {sent:?}");
}

#[tokio::test(start_paused = true)]
async fn the_sweep_finds_rows_that_nobody_holds() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.push.always(Some(postrider_actors::testing::scripted::Answer::later(Some(seconds(90)))));
    let item = world.mail.deliver(ADA);
    world.push.until("it was tried", |sent| sent.len() == 1).await;
    world.until("its retry is written", || world.store.read(|model| model.deliveries.values().any(|row| row.attempts == 1))).await;
    world.push.always(None);
    let sent = world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    let waited = sent[1].at.since(sent[0].at);
    assert!((seconds(90)..seconds(100)).contains(&waited), "{waited:?}");
    world.until_live(&system, mailbox).await;
}

#[tokio::test(start_paused = true)]
async fn settled_rows_are_removed_after_the_retention_and_pending_ones_are_not() {
    let mut world = World::new();
    (world.settings.max_age, world.settings.retention) = (seconds(600), seconds(600));
    let _system = world.one(ADA).await;
    world.mail.deliver(ADA);
    world.until("it is settled", || rows(&world) == (0, 1, 0, 0)).await;
    world.pass(seconds(590)).await;
    assert_eq!(rows(&world).1, 1);
    world.until("it is removed", || rows(&world) == (0, 0, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_not_taken_within_its_time_to_live_is_a_dead_letter() {
    let mut world = World::new();
    world.settings.push_ttl = seconds(600);
    let _system = world.one(ADA).await;
    world.push.always(Some(postrider_actors::testing::scripted::Answer::later(None)));
    world.mail.deliver(ADA);
    world.until("it is given up", || rows(&world) == (0, 0, 1, 0)).await;
    let reason = world.store.read(|model| model.deliveries.values().find_map(|row| row.reason.clone()));
    assert_eq!(reason.as_deref(), Some("expired"));
    let last = world.push.sent().last().map(|sent| sent.at);
    world.pass(seconds(600)).await;
    assert_eq!(world.push.sent().last().map(|sent| sent.at), last);
}

#[tokio::test(start_paused = true)]
async fn while_sending_is_paused_no_mail_is_read_for_rows_that_wait() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.latency(seconds(4));
    let item = world.mail.deliver(ADA);
    world.until("the row is committed", || world.store.read(|model| model.deliveries.len()) == 1).await;
    world.store.sending_allow(false).await.expect("it can be paused");
    world.pass(seconds(600)).await;
    assert!(world.mail.count(ADA, postrider_actors::testing::scripted::Call::Contents) <= 1);
    assert!(world.push.sent().is_empty());
    world.store.sending_allow(true).await.expect("it can be allowed");
    let began = tokio::time::Instant::now();
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() < seconds(12), "{:?}", began.elapsed());
}
