//! Actors that fail: they are started again with growing delay, nothing is lost, and one user's failure touches nobody else.

use std::time::Duration;

use postrider_actors::ids::{EventKey, ItemId, MailboxId};
use postrider_actors::ports::mailbox_store::{Commit, DeliveryKind, MailboxStore, NewDelivery};
use postrider_actors::snapshot::Control;
use postrider_actors::testing::clock::NervousClock;
use postrider_actors::testing::memory::{Call, Fault};
use postrider_actors::testing::scripted::Sent;
use postrider_actors::testing::world::World;

fn told(sent: &[Sent]) -> Vec<EventKey> {
    sent.iter().filter(|sent| sent.accepted()).flat_map(|sent| sent.push.hashes.clone()).collect()
}

fn missing(world: &World, items: &[ItemId]) -> usize {
    let told = told(&world.push.sent());
    items.iter().filter(|item| !told.contains(&EventKey::of_item(item))).count()
}

async fn people(world: &World, count: usize) -> Vec<String> {
    let people: Vec<String> = (0..count).map(|number| format!("user{number}@example.com")).collect();
    for smtp in &people {
        world.register(smtp, "phone").await;
    }
    people
}

async fn mail_flows_while_actors_panic(seed: u64) {
    let mut world = World::new();
    let clock = NervousClock::new(world.clock.clone(), seed);
    world.core_clock = clock.clone();
    let people = people(&world, 50).await;
    let system = world.start().await;
    world.until("all are watched", || people.iter().all(|smtp| world.mail.watchers(smtp) == 1)).await;
    clock.scare(100);
    let mut items = Vec::new();
    for round in 0..60 {
        for smtp in people.iter().skip(round % 2).step_by(2) {
            items.push(world.mail.deliver(smtp));
        }
        world.pass(Duration::from_secs(1)).await;
    }
    clock.calm();
    assert!(clock.panics() > 100, "seed {seed}: {} panics", clock.panics());
    world.until(&format!("seed {seed}: all is announced"), || missing(&world, &items) == 0).await;
    let open = || world.store.read(|model| model.deliveries.values().filter(|row| row.settled.is_none()).count());
    world.until(&format!("seed {seed}: every row reaches a verdict"), || open() == 0).await;
    assert!(system.context().gate.is_open(), "seed {seed}: the node lives");
    // A repeat carries the ids of what it repeats.
    let sent = world.push.sent();
    for push in &sent {
        let same = sent.iter().filter(|other| other.push.id == push.push.id);
        assert!(same.clone().all(|other| other.push.event == push.push.event), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn actors_panic_at_random_while_mail_flows_and_nothing_is_lost() {
    for seed in 1..=5 {
        mail_flows_while_actors_panic(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_whose_source_always_panics_delays_nobody_else() {
    let world = World::new();
    let people = people(&world, 50).await;
    world.mail.curse(&people[0], true);
    let system = world.start().await;
    world.until("all others are watched", || people[1..].iter().all(|smtp| world.mail.watchers(smtp) == 1)).await;
    world.pass(Duration::from_secs(10)).await;
    for _ in 0..30 {
        let began = tokio::time::Instant::now();
        let items: Vec<ItemId> = people[1..].iter().map(|smtp| world.mail.deliver(smtp)).collect();
        world.until("all are announced", || missing(&world, &items) == 0).await;
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        world.pass(Duration::from_secs(10)).await;
    }
    let asked = world.mail.asked(&people[0]).len();
    assert!((5..60).contains(&asked), "it is started again, ever more seldom: {asked} calls in five minutes");
    // Mended, it comes back by itself.
    world.mail.curse(&people[0], false);
    let item = world.mail.deliver(&people[0]);
    world.until("it is announced", || missing(&world, std::slice::from_ref(&item)) == 0).await;
    let mailbox = world.store.read(|model| model.addresses.iter().find(|((_, smtp), _)| smtp.as_str() == people[0]).map(|(_, id)| *id));
    let snapshot = system.mailbox(mailbox.expect("it is there")).await.expect("it answers");
    assert!(snapshot.restarts > 0 && snapshot.journal.iter().any(|line| line.what.starts_with("restarted")), "{snapshot:?}");
}

#[tokio::test(start_paused = true)]
async fn mailboxes_of_a_shard_that_failed_are_not_watched_until_it_is_started_again_and_then_those_that_are_still_ours_are() {
    let mut world = World::new();
    world.settings.restart_base = Duration::from_secs(30);
    let people = people(&world, 20).await;
    let system = world.start().await;
    let watched = |world: &World| people.iter().filter(|smtp| world.mail.watchers(smtp) == 1).count();
    world.until("all are watched", || watched(&world) == 20).await;
    let shard = world.store.read(|model| model.mailboxes.values().next().map(|row| row.shard)).expect("there are some");
    let of_shard = world.store.read(|model| model.mailboxes.values().filter(|row| row.shard == shard).count());
    world.store.fail_next(Call::ShardReload, Fault::Panic);
    system.shard_changed(shard);
    world.until("nobody of the shard is watched", || watched(&world) == 20 - of_shard).await;
    world.until("all are watched again", || watched(&world) == 20).await;
}

/// What a collection of the mailbox commits that read its row as it is now and found that mail.
fn commit_of(world: &World, mailbox: MailboxId, item: &ItemId) -> Commit {
    let (row, device, generation) = world.store.read(|model| {
        let (device, of) = model.devices.iter().find(|(_, row)| row.mailbox == mailbox).expect("it has one");
        (model.mailboxes[&mailbox].clone(), *device, of.generation)
    });
    let (event, now) = (EventKey::of_item(item), world.now());
    let in_hands = world.settings.collect_deadline + Duration::from_secs(180);
    let delivery = NewDelivery {
        device,
        generation,
        event,
        group: event,
        kind: DeliveryKind::Mail,
        item: Some(item.clone()),
        received_at: now,
        count: 1,
        next_at: now + in_hands,
        expires_at: now + Duration::from_secs(3_600),
    };
    Commit {
        mailbox,
        authority: row.authority.expect("it was adopted"),
        sync_seq: row.sync_seq,
        sync_state: row.sync_state,
        seeded: row.seeded,
        badge_dirty: row.badge_dirty,
        announced_until: now,
        rows: vec![delivery],
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_former_actor_committed_after_its_shard_was_adopted_again_is_sent_at_once() {
    let smtp = "user0@example.com";
    let world = World::new();
    let (system, mailbox) = world.one(smtp).await;
    world.mail.latency(Duration::from_secs(1));
    let shard = world.store.read(|model| model.mailboxes[&mailbox].shard);
    let loads = world.store.calls(Call::MailboxLoad);
    world.store.fail_next(Call::ShardReload, Fault::Panic);
    system.shard_changed(shard);
    world.until("its shard failed", || world.mail.watchers(smtp) == 0).await;
    let item = world.mail.deliver(smtp);
    world.until("its successor read the row", || world.store.calls(Call::MailboxLoad) > loads).await;
    // What the former actor began is carried out now, under an authority that is the successor's as well.
    let committed = world.store.sync_state_commit(&[commit_of(&world, mailbox, &item)]).await.expect("it is there");
    assert_eq!(committed.inserted.len(), 1);
    let began = tokio::time::Instant::now();
    world.until("it is announced", || missing(&world, std::slice::from_ref(&item)) == 0).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.push.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_core_whose_root_ended_says_so_and_its_gate_is_closed() {
    let world = World::new();
    let system = world.start().await;
    world.until("it is good", || system.context().gate.is_open()).await;
    system.kill().await;
    assert_eq!(system.ended().await, postrider_actors::node::state::Ended::Stopped);
    assert!(!system.context().gate.is_open());
}
