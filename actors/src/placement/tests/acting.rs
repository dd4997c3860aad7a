//! The shell of placement: with a node that is GOOD it looks, leads, commits and tells; with one that is not it rests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::sync::watch;

use crate::context::Context;
use crate::ids::{NodeId, Session};
use crate::node::actor::Standing;
use crate::placement::actor::{Begin, Placement};
use crate::placement::message::Message;
use crate::ports::cluster_store::{ClusterStore as _, Features, Join};
use crate::ports::{Clock as _, Ports, StoreError};
use crate::settings::Settings;
use crate::shard::directory::Directory;
use crate::snapshot::NodeState;
use crate::testing::memory::{Call, Fault, MemoryStore};
use crate::testing::world::World;

struct Stage {
    world: World,
    store: MemoryStore,
    standing: Arc<watch::Sender<Standing>>,
    actor: ActorRef<Message>,
}

/// One node named `one` with the session 1, GOOD in the table, and its placement, which was told nothing yet.
async fn stage() -> Stage {
    let world = World::new();
    let store = MemoryStore::cluster(world.clock.clone(), 16);
    join(&store, "one", 1).await;
    let shared = Arc::new(store.clone());
    let ports = Ports {
        clock: world.clock.clone(),
        mail: world.mail.source(Arc::new(Directory::default())),
        push: Arc::new(world.push.clone()),
        cluster: shared.clone(),
        peers: Arc::new(world.peers.clone()),
        mailboxes: shared.clone(),
        devices: shared.clone(),
        deliveries: shared.clone(),
        registry: shared,
    };
    let standing = Arc::new(watch::Sender::new(Standing { state: NodeState::Joining, shards: 0, ended: None }));
    let begin = Begin {
        context: Context::new(ports, Settings::default()),
        node: NodeId("one".into()),
        session: Session(1),
        version: "0.1.0".into(),
        standing: standing.clone(),
    };
    let (actor, _) = Actor::spawn(None, Placement, begin).await.expect("it starts");
    Stage { world, store, standing, actor }
}

async fn join(store: &MemoryStore, name: &str, session: i64) {
    let node = NodeId(name.into());
    let join = Join {
        node: node.clone(),
        session: Session(session),
        weight: 1,
        max_users: 100,
        features: Features::parse("ews"),
        version: "0.1.0".into(),
        addr: String::new(),
        patience: Duration::ZERO,
        replaces: None,
    };
    store.join(&join).await.expect("it joins");
    assert_eq!(store.enter(&node, Session(session)).await, Ok(true));
}

impl Stage {
    fn stands(&self, state: NodeState) {
        self.standing.send_modify(|standing| standing.state = state);
    }

    fn owned(&self, session: i64) -> usize {
        self.store.read(|model| model.shards.values().filter(|row| row.owner == Some(Session(session))).count())
    }

    /// The node beats by itself, as its own actor would.
    fn beats(&self, name: &'static str, session: i64) -> tokio::task::JoinHandle<()> {
        let (world, store) = (self.world.clone(), self.store.clone());
        tokio::spawn(async move {
            loop {
                let _ = store.beat(&NodeId(name.into()), Session(session), 0).await;
                world.pass(Duration::from_secs(1)).await;
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_its_node_then_leads_places_and_stops_when_the_session_is_over() {
    let stage = stage().await;
    stage.world.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.store.calls(Call::View), 0, "a node that did not join looks at nothing");
    stage.stands(NodeState::Good);
    stage.world.until("all shards are placed", || stage.owned(1) == 16).await;
    assert_eq!(stage.store.read(|model| model.leader), Some(Session(1)));
    stage.stands(NodeState::Bad);
    stage.world.pass(Duration::from_secs(5)).await;
    let calls = stage.store.calls(Call::View);
    stage.world.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.store.calls(Call::View), calls);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_heartbeat_stands_still_is_judged_and_its_shards_move() {
    let stage = stage().await;
    join(&stage.store, "two", 2).await;
    let _beats = stage.beats("one", 1);
    let two = stage.beats("two", 2);
    stage.stands(NodeState::Good);
    stage.world.until("both own half", || stage.owned(1) == 8 && stage.owned(2) == 8).await;
    two.abort();
    let since = stage.world.clock.monotonic();
    stage.world.until("its shards moved", || stage.owned(1) == 16).await;
    let took = stage.world.clock.monotonic().since(since);
    assert!(took <= Duration::from_secs(9), "{took:?}");
    assert_eq!(stage.store.read(|model| model.nodes[&NodeId("two".into())].state), NodeState::Bad);
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_are_made_again_and_a_lost_answer_does_no_harm() {
    let stage = stage().await;
    let _beats = stage.beats("one", 1);
    for call in [Call::View, Call::Lead, Call::Plan] {
        stage.store.fail_next(call, Fault::unavailable());
        stage.store.fail_next(call, Fault::carried_out());
    }
    stage.stands(NodeState::Good);
    stage.world.until("all shards are placed", || stage.owned(1) == 16).await;
    stage.store.outage(Some(StoreError::Unavailable("stopped".into())));
    stage.world.pass(Duration::from_secs(60)).await;
    stage.store.outage(None);
    let calls = stage.store.calls(Call::View);
    stage.world.until("it looks again", || stage.store.calls(Call::View) > calls).await;
    assert_eq!(stage.owned(1), 16);
    assert_eq!(stage.actor.get_status(), ractor::ActorStatus::Running);
}

#[test]
fn a_round_is_told_in_cef_and_what_lasts_is_told_once() {
    use super::scene::Scene;
    use crate::placement::tell::Teller;

    let mut scene = Scene::settled(2, 30);
    let full = scene.leader();
    let dead = scene.follower();
    scene.store.tamper(|model| model.nodes.get_mut(&NodeId(full.as_str().into())).expect("it is there").max_users = 20);
    scene.process(&dead).stopped = true;
    scene.run(Duration::from_secs(120));
    let told: Vec<_> =
        scene.told.iter().filter(|(session, _)| *session == scene.processes[0].session).map(|(_, told)| told.clone()).collect();
    let lines = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Lines(lines.clone()), || {
        let mut teller = Teller::new("0.1.0".into(), NodeId(full.as_str().into()));
        told.iter().for_each(|told| teller.tell(told, &scene.settings));
    });
    let lines = lines.lock().unwrap();
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(with("|placement.unplaced|"), 1, "{lines:#?}");
    assert!(with("cs1=BAD cn1Label=users cn1=0") > 0 || with("cs1=BAD") > 0, "{lines:#?}");
    assert!(with("deviceCustomDate2Label=cutOff") > 0);
    assert!(with("|placement.worker|") >= 2 * 3, "each node, each decided round and each minute");
    assert!(lines.iter().all(|line| line.starts_with("CEF:0|Postrider|postrider|0.1.0|placement.")), "{lines:#?}");
}

/// Collects lines of the target `cef`.
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "cef"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
