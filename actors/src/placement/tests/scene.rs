//! A scene for scripts about leaders: nodes that beat and hand over as told, a store that many share, all on one clock that a script moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::ids::{Fence, NodeId, Session, ShardId, Smtp, TenantId};
use crate::placement::leader::{Effect, Input, Leader};
use crate::placement::report::Told;
use crate::ports::cluster_store::{Features, Join};
use crate::ports::push_sender::{Provider, PushToken};
use crate::ports::registry_store::{Registered, Registration};
use crate::ports::{Clock, ClusterStore as _, RegistryStore as _, StoreError};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::testing::memory::MemoryStore;
use crate::time::{Monotonic, Timestamp};

/// How far the clock moves at a time.
const TICK: Duration = Duration::from_millis(50);

struct ScriptedClock(AtomicI64);

impl Clock for ScriptedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.load(Ordering::Relaxed))
    }
}

/// One process.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) session: Session,
    pub(super) machine: Leader,
    pub(super) state: NodeState,
    next_beat: Monotonic,
    /// Its process does not run.
    pub(super) stopped: bool,
    /// It cannot reach the database; calls of its placement fail too.
    pub(super) cut: bool,
    /// It receives no hand-over.
    pub(super) lame: bool,
    /// Dies when it is about to commit a plan.
    pub(super) dies_at_commit: bool,
}

/// All of it.
pub(super) struct Scene {
    pub(super) store: MemoryStore,
    clock: Arc<ScriptedClock>,
    pub(super) settings: Settings,
    pub(super) processes: Vec<Process>,
    /// Nodes that answer a direct probe.
    pub(super) answering: BTreeSet<Session>,
    /// Who was asked, and when.
    pub(super) asked: Vec<(Monotonic, Session)>,
    /// Planning rounds, as told.
    pub(super) told: Vec<(Session, Told)>,
    next_session: i64,
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the in-memory store never waits")
}

impl Scene {
    /// So many nodes of 1,000 users each, and users on 32 shards.
    pub(super) fn new(nodes: usize, users: usize) -> Self {
        let clock = Arc::new(ScriptedClock(AtomicI64::new(1_000_000_000)));
        let store = MemoryStore::cluster(clock.clone(), 32);
        let mut scene = Self {
            store,
            clock,
            settings: Settings::default(),
            processes: Vec::new(),
            answering: BTreeSet::new(),
            asked: Vec::new(),
            told: Vec::new(),
            next_session: 1,
        };
        (0..users).for_each(|user| scene.register(user));
        (1..=nodes).for_each(|node| scene.join(&format!("n{node}")));
        scene
    }

    /// Started and settled: everybody owns his share.
    pub(super) fn settled(nodes: usize, users: usize) -> Self {
        let mut scene = Self::new(nodes, users);
        scene.run(Duration::from_secs(120));
        let loads: Vec<usize> = scene.names().iter().map(|name| scene.users(name)).collect();
        assert!(loads.iter().all(|load| load * nodes * 10 >= users * 8), "{loads:?}");
        scene
    }

    fn register(&self, user: usize) {
        let registration = Registration {
            tenant: TenantId("t".into()),
            smtp: Smtp::new(&format!("user{user}@example.com")),
            name: "phone".into(),
            provider: Provider::Apns,
            app: "app".into(),
            token: PushToken(format!("token{user}").into()),
            cutoff: Duration::from_secs(60),
            create_mailbox: true,
        };
        let registered = at_once(self.store.device_register(&registration, self.clock.now()));
        assert!(matches!(registered, Ok(Registered::Done { .. })), "{registered:?}");
    }

    /// A process of that name starts.
    pub(super) fn join(&mut self, name: &str) {
        let session = Session(self.next_session);
        self.next_session += 1;
        let node = NodeId(name.into());
        let replaces = self.store.read(|model| model.nodes.get(&node).map(|row| (row.session, row.hb_seq)));
        let join = Join {
            node: node.clone(),
            session,
            weight: 1,
            max_users: 1_000,
            features: Features::default(),
            version: "1".into(),
            addr: format!("http://{name}"),
            patience: Duration::ZERO,
            replaces,
        };
        at_once(self.store.join(&join)).expect("it joins");
        assert_eq!(at_once(self.store.enter(&node, session)), Ok(true));
        let mut machine = Leader::new(session);
        assert_eq!(machine.step(self.now(), Input::Stands(NodeState::Good), &self.settings), [Effect::Look(Depth::Nodes)]);
        let mut process = Process {
            name: name.into(),
            session,
            machine,
            state: NodeState::Good,
            next_beat: self.now(),
            stopped: false,
            cut: false,
            lame: false,
            dies_at_commit: false,
        };
        self.perform(&mut process, vec![Effect::Look(Depth::Nodes)]);
        self.processes.push(process);
    }

    pub(super) fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.processes.iter().map(|process| process.name.clone()).collect()
    }

    /// The process of that name that was started last.
    pub(super) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().rev().find(|process| process.name == name).expect("there is such a node")
    }

    pub(super) fn session(&mut self, name: &str) -> Session {
        self.process(name).session
    }

    /// Who leads, by the table.
    pub(super) fn leader(&self) -> String {
        let leader = self.store.read(|model| model.leader);
        self.processes.iter().find(|process| Some(process.session) == leader).map(|process| process.name.clone()).unwrap_or_default()
    }

    /// A node that does not lead.
    pub(super) fn follower(&self) -> String {
        let leader = self.leader();
        self.names().into_iter().find(|name| *name != leader).expect("there are at least two")
    }

    pub(super) fn state(&self, name: &str) -> NodeState {
        self.store.read(|model| model.nodes[&NodeId(name.into())].state)
    }

    /// Users of the shards that the node owns.
    pub(super) fn users(&self, name: &str) -> usize {
        let session = self.processes.iter().rev().find(|process| process.name == name).map(|process| process.session);
        self.store.read(|model| {
            let owned = |shard: ShardId| model.shards[&shard].owner == session;
            model.mailboxes.values().filter(|row| owned(row.shard)).count()
        })
    }

    pub(super) fn owners(&self) -> BTreeMap<ShardId, (Option<Session>, Fence)> {
        self.store.read(|model| model.shards.iter().map(|(shard, row)| (*shard, (row.owner, row.epoch))).collect())
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            self.clock.0.fetch_add(TICK.as_micros() as i64, Ordering::Relaxed);
            self.tick();
        }
    }

    /// Lets time pass until the condition holds; says how long it took.
    pub(super) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let began = self.now();
        while !holds(self) {
            assert!(self.now().since(began) < Duration::from_secs(900), "never: {what}");
            self.run(TICK);
        }
        self.now().since(began)
    }

    fn tick(&mut self) {
        let mut processes = std::mem::take(&mut self.processes);
        for process in processes.iter_mut().filter(|process| !process.stopped) {
            self.beat(process);
            if self.now() >= process.machine.due() {
                let effects = process.machine.step(self.now(), Input::Alarm, &self.settings);
                self.perform(process, effects);
            }
        }
        processes.append(&mut self.processes);
        self.processes = processes;
    }

    fn beat(&mut self, process: &mut Process) {
        if self.now() < process.next_beat || process.state == NodeState::Bad || process.cut {
            return;
        }
        process.next_beat = self.now() + self.settings.heartbeat;
        let node = NodeId(process.name.as_str().into());
        match at_once(self.store.beat(&node, process.session, 0)) {
            Ok(Some(beat)) => {
                let ready: Vec<ShardId> = beat.incoming.iter().map(|incoming| incoming.shard).collect();
                if !process.lame {
                    at_once(self.store.shards_ready(process.session, &ready)).expect("it is told");
                }
                let goes = beat.shards.iter().filter(|seen| seen.target.is_some_and(|target| target.ready));
                let goes: Vec<(ShardId, Fence)> = goes.map(|seen| (seen.shard, seen.epoch)).collect();
                at_once(self.store.hand_over(process.session, &goes)).expect("it is handed over");
                if beat.state != process.state {
                    process.state = beat.state;
                    let effects = process.machine.step(self.now(), Input::Stands(beat.state), &self.settings);
                    self.perform(process, effects);
                }
            }
            Ok(None) => {
                process.state = NodeState::Bad;
                let effects = process.machine.step(self.now(), Input::Stands(NodeState::Bad), &self.settings);
                self.perform(process, effects);
            }
            Err(_) => {}
        }
    }

    fn perform(&mut self, process: &mut Process, effects: Vec<Effect>) {
        let mut queue = std::collections::VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            let cut: Option<StoreError> = process.cut.then(|| StoreError::Unavailable("cut".into()));
            let failed = |cut: Option<StoreError>| cut.map_or(Ok(()), Err);
            let input = match effect {
                Effect::Look(depth) => Input::Seen(self.now(), failed(cut).and_then(|()| at_once(self.store.view(depth)))),
                Effect::Lead(seen) => Input::Led(failed(cut).and_then(|()| at_once(self.store.lead(process.session, seen)))),
                Effect::Commit(_) if process.dies_at_commit => {
                    process.stopped = true;
                    return;
                }
                Effect::Commit(plan) => Input::Committed(failed(cut).and_then(|()| at_once(self.store.plan_commit(&plan)))),
                Effect::Ask(whom) => {
                    let now = self.now();
                    self.asked.extend(whom.iter().map(|(session, ..)| (now, *session)));
                    Input::Asked(whom.into_iter().map(|(session, ..)| (session, self.answering.contains(&session))).collect())
                }
                Effect::Tell(told) => {
                    self.told.push((process.session, told));
                    continue;
                }
                Effect::Leads(_) => continue,
            };
            queue.extend(process.machine.step(self.now(), input, &self.settings));
        }
    }
}

use crate::ports::cluster_store::Depth;
