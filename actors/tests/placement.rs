//! Several nodes on one database, with nobody's hand in it: they share the users, take over from the dead, and empty those that drain.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_actors::ids::{EventKey, NodeId, Session};
use postrider_actors::ports::{ClusterStore, StoreError};
use postrider_actors::snapshot::{Control, NodeState};
use postrider_actors::system::System;
use postrider_actors::testing::memory::Call;
use postrider_actors::testing::scripted::Sent;
use postrider_actors::testing::world::World;

const USERS: u32 = 60;
const SHARDS: u16 = 32;

struct Nodes {
    world: World,
    systems: Vec<(&'static str, System)>,
}

fn address(user: u32) -> String {
    format!("user{user}@example.com")
}

impl Nodes {
    /// Three nodes that share the users.
    async fn settled() -> Self {
        let mut world = World::cluster(SHARDS);
        world.settings.placement.quiet = Duration::from_secs(3);
        for user in 0..USERS {
            world.register(&address(user), "phone").await;
        }
        let mut systems = Vec::new();
        for (name, session) in [("a", 1), ("b", 2), ("c", 3)] {
            systems.push((name, world.named(name, &world.store.process(), session).await));
        }
        let nodes = Self { world, systems };
        nodes
            .world
            .until("all are watched, by all", || {
                nodes.counts().iter().sum::<u32>() == USERS && nodes.counts().iter().all(|count| *count >= 15)
            })
            .await;
        nodes
            .world
            .until("nothing is under way", || nodes.world.store.read(|model| model.shards.values().all(|row| row.target.is_none())))
            .await;
        nodes
    }

    /// Mailboxes that each node watches.
    fn counts(&self) -> Vec<u32> {
        self.systems.iter().map(|(_, system)| system.node().mailboxes.iter().sum()).collect()
    }

    fn leader(&self) -> usize {
        let leader = self.world.store.read(|model| model.leader).expect("somebody leads");
        usize::try_from(leader.0 - 1).expect("sessions count from 1")
    }

    fn owned(&self, session: i64) -> BTreeSet<u16> {
        let owned = |owner: Option<Session>| owner == Some(Session(session));
        self.world.store.read(|model| model.shards.iter().filter(|(_, row)| owned(row.owner)).map(|(shard, _)| shard.0).collect())
    }

    /// One mail to each user reaches his phone; says how long the last one took.
    async fn mail_reaches_all(&self) -> Duration {
        let began = tokio::time::Instant::now();
        let mails: Vec<EventKey> = (0..USERS).map(|user| EventKey::of_item(&self.world.mail.deliver(&address(user)))).collect();
        let told = |mail: &EventKey, sent: &[Sent]| sent.iter().any(|sent| sent.accepted() && sent.push.hashes.contains(mail));
        self.world.push.until("everybody is pushed", |sent| mails.iter().all(|mail| told(mail, sent))).await;
        began.elapsed()
    }

    async fn node_dies(&self, place: usize) {
        let (name, system) = &self.systems[place];
        let sessions: Vec<i64> = (1..=3).filter(|session| *session != place as i64 + 1).collect();
        let kept: Vec<BTreeSet<u16>> = sessions.iter().map(|session| self.owned(*session)).collect();
        system.kill().await;
        let took = self.mail_reaches_all().await;
        assert!(took <= Duration::from_secs(20), "{took:?}");
        assert_eq!(self.world.store.read(|model| model.nodes[&NodeId((*name).into())].state), NodeState::Bad);
        assert_eq!(self.owned(place as i64 + 1), BTreeSet::new());
        for (session, kept) in sessions.iter().zip(kept) {
            assert!(self.owned(*session).is_superset(&kept), "only orphans move");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_users_of_a_node_that_dies_are_pushed_again_within_20_s_and_nobody_else_moves() {
    let nodes = Nodes::settled().await;
    let follower = (nodes.leader() + 1) % 3;
    nodes.node_dies(follower).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_holds_when_it_was_the_leader() {
    let nodes = Nodes::settled().await;
    let leader = nodes.leader();
    nodes.node_dies(leader).await;
    assert_ne!(nodes.leader(), leader);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_is_empty_within_a_minute_and_every_mail_is_pushed_meanwhile() {
    let nodes = Nodes::settled().await;
    let name = nodes.systems[nodes.leader()].0;
    assert_eq!(nodes.world.store.drain(&NodeId(name.into())).await, Ok(true));
    let (session, began) = (nodes.leader() as i64 + 1, tokio::time::Instant::now());
    let late = nodes.mail_reaches_all().await;
    assert!(late <= Duration::from_secs(5), "{late:?}");
    nodes.world.until("it is empty", || nodes.owned(session).is_empty()).await;
    assert!(began.elapsed() <= Duration::from_secs(60), "{:?}", began.elapsed());
    nodes.mail_reaches_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_for_half_a_minute_ends_nobody_and_moves_nothing() {
    let nodes = Nodes::settled().await;
    let before: Vec<BTreeSet<u16>> = (1..=3).map(|session| nodes.owned(session)).collect();
    nodes.world.store.outage(Some(StoreError::Unavailable("stopped".into())));
    nodes.world.pass(Duration::from_secs(30)).await;
    nodes.world.store.outage(None);
    let took = nodes.mail_reaches_all().await;
    assert!(took <= Duration::from_secs(10), "{took:?}");
    let looks = nodes.world.store.calls(Call::View);
    nodes.world.until("they looked a while longer", || nodes.world.store.calls(Call::View) > looks + 60).await;
    let after: Vec<BTreeSet<u16>> = (1..=3).map(|session| nodes.owned(session)).collect();
    assert_eq!(before, after);
    assert!(nodes.systems.iter().all(|(_, system)| system.node().state == NodeState::Good));
}
