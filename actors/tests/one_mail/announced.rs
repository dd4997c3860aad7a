//! Which mail is announced, and with how much of its content.

use postrider_actors::ports::RegistryStore;
use postrider_actors::ports::mail_source::Hint;
use postrider_actors::ports::push_sender::Content;
use postrider_actors::testing::scripted::{Call, Mail};
use postrider_actors::testing::world::tenant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_mail_read_elsewhere_before_the_push_is_not_announced_and_the_badge_follows() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.latency(seconds(1));
    let item = world.mail.deliver(ADA);
    world.until("it is asked what the mail shows", || world.store.read(|model| model.deliveries.len()) == 1).await;
    world.mail.read(ADA, &item, true);
    let sent = world.push.until_accepted(1).await;
    assert!(sent[0].is_badge() && sent[0].push.badge == Some(0), "{sent:?}");
    let (_, _, _, superseded) = rows(&world);
    assert_eq!(superseded, 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_newest_is_gone_the_next_newest_is_shown() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    world.mail.latency(seconds(1));
    let second = world.mail.deliver(ADA);
    world.pass(millis(10)).await;
    let third = world.mail.deliver(ADA);
    world.until("both have rows", || world.store.read(|model| model.deliveries.len()) == 3).await;
    world.mail.delete(ADA, &third);
    let sent = world.push.until_accepted(2).await;
    assert_eq!((sent[1].subject(), sent[1].push.count), (Some("mail 2"), 1));
    assert_eq!(sent[1].push.hashes, hashes(&[&second]));
}

#[tokio::test(start_paused = true)]
async fn an_old_mail_dragged_into_the_inbox_only_moves_the_badge() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.move_in(ADA, Mail::at(world.now() - seconds(7_200)));
    let sent = world.push.until_accepted(1).await;
    assert!(sent[0].is_badge() && sent[0].push.badge == Some(1), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn drafts_read_mail_and_items_that_are_not_mail_are_not_announced() {
    let world = World::new();
    let _system = world.one(ADA).await;
    let now = world.now();
    world.mail.deliver_mail(ADA, Mail { draft: true, ..Mail::at(now) });
    world.mail.deliver_mail(ADA, Mail { read: true, ..Mail::at(now) });
    world.mail.deliver_mail(ADA, Mail { mail_class: false, ..Mail::at(now) });
    world.pass(seconds(120)).await;
    assert!(world.push.sent().iter().all(Sent::is_badge), "{:?}", world.push.sent());
}

#[tokio::test(start_paused = true)]
async fn every_device_is_told_by_its_own_cut_off_and_activity_restores_details() {
    let world = World::new();
    world.register_with(ADA, "never", "never", Duration::ZERO).await;
    world.register_with(ADA, "minute", "minute", seconds(60)).await;
    let (_system, _) = world.one(ADA).await;
    world.pass(seconds(61)).await;
    let details = |sent: &[Sent], token: &str| {
        let push = sent.iter().rev().find(|sent| &*sent.push.token.0 == token).map(|sent| sent.push.content.clone());
        matches!(push, Some(Content::Details { .. }))
    };
    world.mail.deliver(ADA);
    let sent = world.push.until_accepted(3).await;
    assert_eq!([details(&sent, "never"), details(&sent, "minute"), details(&sent, "ada@example.com/phone")], [false, false, true]);
    let ada = postrider_actors::ids::Smtp::new(ADA);
    assert!(world.store.device_activity(&tenant(), &ada, "minute", world.now()).await.unwrap());
    world.mail.deliver(ADA);
    let sent = world.push.until_accepted(6).await;
    assert!(details(&sent[3..], "minute"), "used just before");
    let push = sent[3..].iter().find(|sent| &*sent.push.token.0 == "minute").unwrap();
    assert!(push.push.expires_at <= push.now + seconds(60), "the provider forgets it at the cut-off");
    assert_eq!(world.mail.count(ADA, Call::Contents), 2, "read once a push, not once a device");
}

#[tokio::test(start_paused = true)]
async fn a_device_registered_anew_between_commit_and_send_gets_its_mail_under_the_new_token() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.latency(seconds(2));
    world.mail.deliver(ADA);
    world.until("the row is committed", || world.store.read(|model| model.deliveries.len()) == 1).await;
    world.register_with(ADA, "phone", "another token", seconds(60)).await;
    world.push.until_accepted(1).await;
    let tokens: Vec<String> = world.push.sent().iter().map(|sent| sent.push.token.0.to_string()).collect();
    assert_eq!(tokens, ["another token"]);
}

#[tokio::test(start_paused = true)]
async fn a_mail_arriving_late_by_half_an_hour_is_announced() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.pass(seconds(7_200)).await;
    world.mail.deliver(ADA);
    world.push.until_accepted(1).await;
    let late = world.mail.deliver_mail(ADA, Mail::at(world.now() - seconds(1_800)));
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&late))).await;
}

#[tokio::test(start_paused = true)]
async fn the_count_of_a_hint_is_told_without_asking_though_the_sync_says_nothing_of_it() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.mail.deliver(ADA);
    let first = world.push.until_accepted(1).await;
    assert_eq!(first[0].push.badge, Some(1));
    let asked = world.mail.count(ADA, Call::Unread);
    let read = |unread| Hint::Touched { mail: false, unread: Some(unread), at: postrider_actors::ports::Clock::monotonic(&*world.clock) };
    world.mail.hint(ADA, read(0));
    let second = world.push.until_accepted(2).await;
    assert_eq!((second[1].push.badge, world.mail.count(ADA, Call::Unread)), (Some(0), asked));
    // The same count again is no news.
    world.mail.hint(ADA, read(0));
    world.pass(seconds(120)).await;
    assert_eq!(world.push.sent().len(), 2);
}
