//! A mail server that refuses, throttles, or has no room.

use postrider_actors::ports::mail_source::{Hint, SourceError};
use postrider_actors::snapshot::{Control, Phase};
use postrider_actors::testing::scripted::{Call, Endless};

use super::*;

fn unavailable() -> SourceError {
    SourceError::Unavailable { code: "ErrorServerBusy".into() }
}

#[tokio::test(start_paused = true)]
async fn without_room_for_a_subscription_the_mailbox_is_polled() {
    let world = World::new();
    world.mail.fail(ADA, Call::Watch, Some(SourceError::SubscriptionsFull));
    let mailbox = world.register(ADA, "phone").await;
    let system = world.start().await;
    world.until_phase(&system, mailbox, Phase::Polling).await;
    let began = tokio::time::Instant::now();
    let item = world.mail.deliver(ADA);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() <= seconds(67), "{:?}", began.elapsed());
    world.mail.fail(ADA, Call::Watch, None);
    world.until_live(&system, mailbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_keeps_no_mail_from_the_mailboxes_of_another() {
    let mut world = World::new();
    world.settings.collections = 8;
    let hung: Vec<String> = (0..20).map(|number| format!("user{number}@hung.example")).collect();
    for smtp in &hung {
        world.register(smtp, "phone").await;
    }
    let (system, _) = world.one(ADA).await;
    world.until("all are live", || live(&system) == 21).await;
    world.pass(seconds(5)).await;
    world.mail.hang("hung.example", true);
    let items: Vec<ItemId> = hung.iter().map(|smtp| world.mail.deliver(smtp)).collect();
    for _ in 0..20 {
        world.pass(seconds(10)).await;
        let began = tokio::time::Instant::now();
        let item = world.mail.deliver(ADA);
        world.push.until("she is told", |sent| announced(sent, std::slice::from_ref(&item))).await;
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    }
    world.mail.hang("hung.example", false);
    world.push.until("the others are told when their server is back", |sent| announced(sent, &items)).await;
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_parks_the_mailbox_and_much_later_it_is_tried_again() {
    let world = World::new();
    world.mail.fail(ADA, Call::Watch, Some(SourceError::Refused { code: "ErrorNonExistentMailbox".into() }));
    let mailbox = world.register(ADA, "phone").await;
    let system = world.start().await;
    world.until_phase(&system, mailbox, Phase::Parked).await;
    let asked = world.mail.asked(ADA).len();
    world.pass(seconds(3_000)).await;
    assert_eq!(world.mail.asked(ADA).len(), asked, "nothing is asked meanwhile");
    world.mail.fail(ADA, Call::Watch, None);
    let item = world.mail.deliver(ADA);
    world.until_live(&system, mailbox).await;
    world.push.until("what came meanwhile is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_mailbox_asks_nothing_before_its_time() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.pass(seconds(60)).await;
    world.mail.fail_next(ADA, Call::Changes, SourceError::Throttled { retry_after: seconds(100) });
    let item = world.mail.deliver(ADA);
    let asked = world.mail.asked(ADA).len();
    let sent = world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    let calls = &world.mail.asked(ADA)[asked..];
    assert_eq!(calls[0].call, Call::Changes);
    assert!(calls[1].at.since(calls[0].at) >= seconds(100), "{:?}", calls[1].at.since(calls[0].at));
    assert!(sent.last().unwrap().at.since(calls[0].at) < seconds(102));
    assert_eq!(system.mailbox(mailbox).await.unwrap().phase, Phase::Live);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_for_minutes_loses_nothing_and_is_not_hammered() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.fail(ADA, Call::Changes, Some(unavailable()));
    let item = world.mail.deliver(ADA);
    world.pass(seconds(600)).await;
    assert!(world.mail.count(ADA, Call::Changes) < 40, "{}", world.mail.count(ADA, Call::Changes));
    world.mail.fail(ADA, Call::Changes, None);
    let began = tokio::time::Instant::now();
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(began.elapsed() <= seconds(61));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_many_pages_is_read_to_its_end_though_a_page_fails_now_and_then() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.mail.lose_hints(ADA, true);
    for age in 0..6_000 {
        world.mail.put(
            ADA,
            postrider_actors::testing::scripted::Mail {
                read: true,
                ..postrider_actors::testing::scripted::Mail::at(world.now() - seconds(age))
            },
        );
    }
    let item = world.mail.deliver(ADA);
    for _ in 0..3 {
        world.mail.fail_next(ADA, Call::Changes, unavailable());
    }
    world.mail.lose_hints(ADA, false);
    world.mail.touch(ADA, true);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert!(world.mail.count(ADA, Call::Changes) < 40, "{}", world.mail.count(ADA, Call::Changes));
    world.until_live(&system, mailbox).await;
}

#[tokio::test(start_paused = true)]
async fn a_mail_whose_content_cannot_be_read_is_announced_without_it() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.fail(ADA, Call::Contents, Some(unavailable()));
    world.mail.deliver(ADA);
    let sent = world.push.until_accepted(1).await;
    assert_eq!((sent[0].subject(), sent[0].push.count), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_happened_to_a_mailbox_can_be_told_and_holds_no_content() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.mail.fail_next(ADA, Call::Changes, unavailable());
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    let lines: Vec<String> = system.mailbox(mailbox).await.unwrap().journal.into_iter().map(|line| line.what).collect();
    for expected in [
        "subscribed",
        "the server's notifications flow",
        "the server told of new mail, 1 unread",
        "sync failed: ErrorServerBusy",
        "sync found 1 new mail, 1 push",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is missing in {lines:#?}");
    }
    assert!(lines.iter().all(|line| !line.contains("mail 1") || line.starts_with("hint")) && lines.len() <= 24, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_that_a_sync_is_at_its_end_is_asked_ever_more_rarely_and_mail_is_announced() {
    let all = [Endless::StandsStill, Endless::SameChange, Endless::NewStates, Endless::NewStatesAndChange, Endless::FullPages];
    for how in all {
        for seeded in [true, false] {
            let world = World::new();
            world.mail.endless(ADA, (!seeded).then_some(how));
            let mailbox = world.register(ADA, "phone").await;
            let system = world.start().await;
            let phase = if seeded { Phase::Live } else { Phase::Seeding };
            world.until_phase(&system, mailbox, phase).await;
            world.mail.endless(ADA, Some(how));
            world.mail.hint(ADA, Hint::StreamOpened);
            // A backlog of pages that are full is read without a pause for 64 pages.
            world.pass(seconds(300)).await;
            let before = world.mail.count(ADA, Call::Changes);
            let most = if how == Endless::FullPages { 64 + 300 } else { 60 };
            assert!((2..=most).contains(&before), "{how:?}, seeded {seeded}: {before} in five minutes");
            let began = tokio::time::Instant::now();
            let item = world.mail.deliver(ADA);
            world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
            assert!(began.elapsed() < seconds(4), "{how:?}, seeded {seeded}: {:?}", began.elapsed());
            world.mail.endless(ADA, None);
            world.until_live(&system, mailbox).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_lead_to_nothing_do_not_have_the_server_asked_without_a_pause() {
    let world = World::new();
    let _system = world.one(ADA).await;
    let before = world.mail.count(ADA, Call::Changes);
    for _ in 0..6_000 {
        world.mail.touch(ADA, true);
        world.pass(millis(10)).await;
    }
    let asked = world.mail.count(ADA, Call::Changes) - before;
    assert!(asked <= 25, "{asked} syncs in a minute of events");
}

#[tokio::test(start_paused = true)]
async fn why_nothing_is_heard_is_told_with_its_code_once() {
    let world = World::new();
    let (system, mailbox) = world.one(ADA).await;
    world.mail.interrupt(ADA, "ErrorReadEventsFailed");
    world.mail.hint(ADA, Hint::StreamOpened);
    world.mail.hint(ADA, Hint::Gap);
    world.mail.hint(ADA, Hint::StreamOpened);
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    let lines: Vec<String> = system.mailbox(mailbox).await.unwrap().journal.into_iter().map(|line| line.what).collect();
    let told = |line: &str| lines.iter().filter(|known| *known == line).count();
    // Both gaps may have been folded into one message: the code stays either way.
    assert_eq!(told("the server's notifications are interrupted: ErrorReadEventsFailed"), 1, "{lines:#?}");
}
