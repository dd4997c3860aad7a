//! Many nodes on one database, in stopped time: who owns what, what moves, and that no mail is lost meanwhile.

mod hand;
mod joining;
mod moves;
mod trouble;

use std::time::Duration;

use postrider_actors::ids::{EventKey, ItemId, MailboxId, Session, ShardId};
use postrider_actors::snapshot::{Control, NodeState};
use postrider_actors::system::System;
use postrider_actors::testing::memory::MemoryStore;
use postrider_actors::testing::world::World;

const SHARDS: u16 = 16;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A node of the story: its core and its process's handle on the database.
struct Member {
    system: System,
    store: MemoryStore,
    session: Session,
}

impl Member {
    async fn start(world: &World, name: &str, session: i64) -> Self {
        let store = world.store.process();
        let system = world.named(name, &store, session).await;
        Self { system, store, session: Session(session) }
    }

    /// Starts a node and waits until it is GOOD.
    async fn good(world: &World, name: &str, session: i64) -> Self {
        let member = Self::start(world, name, session).await;
        world.until("it is GOOD", || member.system.node().state == NodeState::Good).await;
        member
    }

    /// The process dies.
    async fn kill(&self) {
        self.system.kill().await;
        self.store.kill();
    }

    /// The shards that the table says are its own.
    fn shards(&self, world: &World) -> Vec<ShardId> {
        world.store.read(|model| model.shards.iter().filter(|(_, row)| row.owner == Some(self.session)).map(|(id, _)| *id).collect())
    }

    /// How many mailboxes it runs.
    fn mailboxes(&self) -> u32 {
        self.system.node().mailboxes.iter().sum()
    }
}

fn address(number: usize) -> String {
    format!("user{number}@example.com")
}

/// Registers so many users with a phone each.
async fn users(world: &World, count: usize) -> Vec<MailboxId> {
    let mut mailboxes = Vec::new();
    for number in 0..count {
        mailboxes.push(world.register(&address(number), "phone").await);
    }
    mailboxes
}

/// A mail to each of so many users.
fn mails(world: &World, count: usize) -> Vec<ItemId> {
    (0..count).map(|number| world.mail.deliver(&address(number))).collect()
}

/// Waits until each mail was announced.
async fn until_announced(world: &World, items: &[ItemId]) {
    let told = |item: &ItemId, sent: &[postrider_actors::testing::scripted::Sent]| {
        sent.iter().any(|sent| sent.accepted() && sent.push.hashes.contains(&EventKey::of_item(item)))
    };
    world.push.until("all are announced", |sent| items.iter().all(|item| told(item, sent))).await;
}

/// How often mails were pushed beyond once.
fn doubled(world: &World) -> usize {
    let mut told: Vec<_> = world.push.accepted().into_iter().flat_map(|sent| sent.push.hashes).collect();
    let all = told.len();
    told.sort();
    told.dedup();
    all - told.len()
}

/// Waits until these nodes watch all of so many users, each one once.
async fn until_watched(world: &World, members: &[&Member], count: usize) {
    world
        .until("all are watched", || {
            let live: u32 = members.iter().map(|member| member.mailboxes()).sum();
            live as usize == count && (0..count).all(|number| world.mail.watchers(&address(number)) == 1)
        })
        .await;
}

/// No mailbox was ever committed under two authorities at a time: fences never decrease, and each belongs to one session.
fn assert_single_authority(world: &World) {
    let mut last = std::collections::BTreeMap::new();
    for commit in world.store.history() {
        let before = last.insert(commit.mailbox, commit.authority).unwrap_or(commit.authority);
        assert!(commit.authority.fence >= before.fence, "{:?} after {before:?}", commit.authority);
        assert!(commit.authority.fence > before.fence || commit.authority.session == before.session);
    }
}
