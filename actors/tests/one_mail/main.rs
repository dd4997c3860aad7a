//! One mail, end to end: from the server's hint to the accepted push, through the real actors, in stopped time.

mod announced;
mod coalescing;
mod loops;
mod ownership;
mod providers;
mod seeding;
mod stores;
mod trouble;

use std::time::Duration;

use postrider_actors::ids::EventKey;
use postrider_actors::ids::ItemId;
use postrider_actors::ports::delivery_store::Settled;
use postrider_actors::snapshot::{Control, Phase};
use postrider_actors::system::System;
use postrider_actors::testing::scripted::Sent;
use postrider_actors::testing::world::World;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn hashes(items: &[&ItemId]) -> Vec<EventKey> {
    items.iter().map(|item| EventKey::of_item(item)).collect()
}

/// Whether each of the mails was announced in an accepted push.
fn announced(sent: &[Sent], items: &[ItemId]) -> bool {
    let told: Vec<EventKey> = sent.iter().filter(|sent| sent.accepted()).flat_map(|sent| sent.push.hashes.clone()).collect();
    items.iter().all(|item| told.contains(&EventKey::of_item(item)))
}

/// How many mailboxes of a node are live.
fn live(system: &System) -> u32 {
    let counted = Phase::ALL.into_iter().zip(system.node().mailboxes);
    counted.filter(|(phase, _)| *phase == Phase::Live).map(|(_, count)| count).sum()
}

/// Rows of the store: pending, and settled in each way.
fn rows(world: &World) -> (usize, usize, usize, usize) {
    world.store.read(|model| {
        let count = |settled| model.deliveries.values().filter(|row| row.settled == settled).count();
        (count(None), count(Some(Settled::Sent)), count(Some(Settled::Dead)), count(Some(Settled::Superseded)))
    })
}
