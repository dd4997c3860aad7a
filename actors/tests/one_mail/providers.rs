//! Push providers that are slow, away, or refuse.

use postrider_actors::ports::push_sender::Verdict;
use postrider_actors::snapshot::Control;
use postrider_actors::testing::scripted::{Answer, Call};

use super::*;

#[tokio::test(start_paused = true)]
async fn an_outage_of_ten_minutes_ends_in_one_push_with_all_hashes() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.push.always(Some(Answer::later(None)));
    let mut items = Vec::new();
    for _ in 0..10 {
        items.push(world.mail.deliver(ADA));
        world.pass(seconds(60)).await;
    }
    let read = world.mail.count(ADA, Call::Contents);
    assert!(read <= 20, "one for each mail, and one a minute at most to find out whether the provider is back: {read}");
    world.push.always(None);
    let began = tokio::time::Instant::now();
    let sent = world.push.until("all are announced", |sent| announced(sent, &items)).await;
    let taken: Vec<&Sent> = sent.iter().filter(|sent| sent.accepted() && !sent.is_badge()).collect();
    assert!(taken.len() <= 2, "{} pushes", taken.len());
    assert_eq!(taken.iter().map(|sent| sent.push.count).sum::<u32>(), 10);
    assert!(taken.iter().any(|sent| sent.subject() == Some("mail 10")));
    assert!(began.elapsed() <= seconds(130), "{:?}", began.elapsed());
    world.until("nothing is left", || rows(&world).0 == 0).await;
    assert_eq!(rows(&world).1, 10);
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_of_ten_minutes_mails_that_wait_are_not_read_again_until_it_is_over() {
    let world = World::new();
    let people: Vec<String> = (0..20).map(|number| format!("user{number}@example.com")).collect();
    for smtp in &people {
        world.register(smtp, "phone").await;
    }
    let (system, _) = world.one(ADA).await;
    world.until("all are live", || live(&system) == 21).await;
    world.push.always(Some(Answer::later(None)));
    let items: Vec<ItemId> = people.iter().map(|smtp| world.mail.deliver(smtp)).collect();
    let read = || people.iter().map(|smtp| world.mail.count(smtp, Call::Contents)).sum::<usize>();
    world.pass(seconds(600)).await;
    assert!(read() <= 20 + 10, "one for each mail, and one a minute to find out whether the provider is back: {}", read());
    world.push.always(None);
    let began = tokio::time::Instant::now();
    world.push.until("all are announced", |sent| announced(sent, &items)).await;
    assert!(began.elapsed() <= seconds(180), "{:?}", began.elapsed());
    assert!(read() <= 50, "{}", read());
    world.until("nothing is left", || rows(&world) == (0, 20, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_provider_is_away_for_a_short_time_exchange_is_not_asked_again() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.push.always(Some(Answer::later(None)));
    world.mail.deliver(ADA);
    world.push.until("five tries", |sent| sent.len() >= 5).await;
    world.push.always(None);
    world.push.until_accepted(1).await;
    assert_eq!(world.mail.count(ADA, Call::Contents), 1);
    let sent = world.push.sent();
    assert!(sent.iter().all(|sent| sent.push.id == sent.push.id && sent.push.event == sent.push.event));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_does_not_keep_mail_from_the_devices_of_another() {
    let world = World::new();
    world.register_with(ADA, "tablet", "tablet", seconds(43_200)).await;
    let _system = world.one(ADA).await;
    world.push.always_to("tablet", Some(Answer::later(None)));
    for count in 0..20 {
        let began = tokio::time::Instant::now();
        let item = world.mail.deliver(ADA);
        world.push.until("the phone is told", |sent| announced(sent, std::slice::from_ref(&item))).await;
        assert!(began.elapsed() < seconds(4), "mail {count} after {:?}", began.elapsed());
        world.pass(seconds(10)).await;
    }
    world.push.always_to("tablet", None);
    world.until("the tablet is told of all", || rows(&world) == (0, 40, 0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_asked_for_with_the_same_ids() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.push.next(Answer::unknown());
    world.mail.deliver(ADA);
    let sent = world.push.until("a second try", |sent| sent.len() == 2).await;
    assert_eq!((sent[0].push.id, sent[0].push.event), (sent[1].push.id, sent[1].push.event));
}

#[tokio::test(start_paused = true)]
async fn a_push_refused_for_good_is_a_dead_letter_and_the_device_stays() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.push.next(Answer::refused());
    world.mail.deliver(ADA);
    world.until("it is dead", || rows(&world) == (0, 0, 1, 0)).await;
    assert_eq!(world.store.read(|model| model.devices.len()), 1);
    let item = world.mail.deliver(ADA);
    world.push.until("the next is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
}

#[tokio::test(start_paused = true)]
async fn one_device_that_is_gone_is_forgotten_and_the_watch_ends_with_the_last() {
    let world = World::new();
    let (system, ada) = world.one(ADA).await;
    for name in 0..6 {
        world.register(BOB, &format!("phone{name}")).await;
    }
    world.until("he is watched", || world.mail.watchers(BOB) == 1).await;
    world.pass(seconds(5)).await;
    world.mail.deliver(BOB);
    world.push.until_accepted(6).await;
    world.push.always_to("ada@example.com/phone", Some(Answer::gone(None)));
    world.mail.deliver(ADA);
    world.until("it is forgotten", || world.store.read(|model| model.devices.len()) == 6).await;
    world.until("she is not watched any more", || world.mail.watchers(ADA) == 0).await;
    assert!(system.mailbox(ada).await.is_none());
    world.until("nothing is left", || rows(&world).0 == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_topic_for_everybody_forgets_nobody_and_nothing_is_lost() {
    let world = World::new();
    let mut people = Vec::new();
    for number in 0..30 {
        let smtp = format!("user{number}@example.com");
        world.register(&smtp, "phone").await;
        people.push(smtp);
    }
    let _system = world.one(ADA).await;
    world.until("all are watched", || people.iter().all(|smtp| world.mail.watchers(smtp) == 1)).await;
    world.pass(seconds(5)).await;
    world.push.always(Some(Answer::gone(None)));
    let items: Vec<ItemId> = people.iter().map(|smtp| world.mail.deliver(smtp)).collect();
    world.pass(seconds(600)).await;
    assert_eq!(world.store.read(|model| model.devices.len()), 31);
    world.push.always(None);
    world.push.until("all are announced", |sent| announced(sent, &items)).await;
    assert_eq!(world.store.read(|model| model.devices.len()), 31);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_pause_the_channel_and_forget_nobody() {
    let world = World::new();
    let _system = world.one(ADA).await;
    world.push.always(Some(Answer::credentials()));
    let item = world.mail.deliver(ADA);
    world.pass(seconds(300)).await;
    assert!(world.push.sent().len() <= 12, "{} tries in 300 s", world.push.sent().len());
    world.push.always(None);
    world.push.until("it is announced", |sent| announced(sent, std::slice::from_ref(&item))).await;
    assert_eq!(world.store.read(|model| model.devices.len()), 1);
}

/// Twenty people with a phone each, who all had mail.
async fn company(world: &World) -> Vec<String> {
    let people: Vec<String> = (0..20).map(|number| format!("user{number}@example.com")).collect();
    for smtp in &people {
        world.register(smtp, "phone").await;
    }
    people
}

fn saying(verdict: Verdict) -> Option<Answer> {
    Some(Answer::saying(verdict))
}

#[tokio::test(start_paused = true)]
async fn one_device_that_always_gets_the_worst_answer_delays_nobody_and_is_asked_seldom() {
    let reason = || std::sync::Arc::<str>::from("x");
    let table = [
        ("later", saying(Verdict::Later { after: None, reason: reason() }), 100),
        ("later, in 30 s", saying(Verdict::Later { after: Some(seconds(30)), reason: reason() }), 25),
        ("no answer", saying(Verdict::Unknown { reason: reason() }), 100),
        ("no answer for 15 s", Some(Answer::unknown().slow(seconds(15))), 25),
        ("credentials", saying(Verdict::Credentials { reason: reason() }), 15),
        ("gone", Some(Answer::gone(None)), 15),
        ("undeliverable", saying(Verdict::Undeliverable { reason: reason() }), 70),
        ("refused", Some(Answer::refused()), 130),
    ];
    for (what, answer, most) in table {
        let world = World::new();
        world.register_with(ADA, "tablet", "tablet", seconds(43_200)).await;
        let (system, _) = world.one(ADA).await;
        let people = company(&world).await;
        world.until("all are live", || live(&system) == 21).await;
        world.push.always_to("tablet", answer);
        let mut worst = seconds(0);
        for number in 0..60_usize {
            let began = tokio::time::Instant::now();
            let items = [world.mail.deliver(ADA), world.mail.deliver(&people[number % 20])];
            world.push.until("both phones are told", |sent| announced(sent, &items)).await;
            worst = worst.max(began.elapsed());
            world.pass(seconds(5)).await;
        }
        let asked = world.push.sent().iter().filter(|sent| &*sent.push.token.0 == "tablet").count();

        assert!(worst < seconds(1), "{what}: a phone waited {worst:?}");
        assert!(asked <= most, "{what}: asked {asked} times in five minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_refuses_everything_from_one_moment_on_gives_up_no_row() {
    let world = World::new();
    let (system, _) = world.one(ADA).await;
    let people = company(&world).await;
    world.until("all are live", || live(&system) == 21).await;
    let first: Vec<ItemId> = people.iter().map(|smtp| world.mail.deliver(smtp)).collect();
    world.push.until("all are announced", |sent| announced(sent, &first)).await;
    world.push.always(Some(Answer::refused()));
    let items: Vec<ItemId> = people.iter().map(|smtp| world.mail.deliver(smtp)).collect();
    world.pass(seconds(600)).await;
    let (_, _, dead, _) = rows(&world);
    assert_eq!(dead, 0);
    let asked = world.push.sent().len();
    assert!(asked <= 20 + 60, "{asked} pushes in ten minutes");
    world.push.always(None);
    world.push.until("all are announced", |sent| announced(sent, &items)).await;
    world.until("nothing is left", || rows(&world).0 == 0).await;
    assert_eq!(rows(&world).2, 0);
}
