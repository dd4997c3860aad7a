//! A whole cluster in one thread and in virtual time: nodes made of the core's state machines, the store, a mail source, a push provider, people, and faults.

pub mod batches;
pub mod broken;
pub mod chores;
pub mod clocks;
pub mod commits;
pub mod database;
pub mod delivery;
pub mod dice;
pub mod draining;
pub mod faults;
pub mod history;
pub mod judges;
pub mod leader;
pub mod ledger;
pub mod machine;
pub mod mailbox;
pub mod moves;
pub mod node;
pub mod ownership;
pub mod people;
pub mod plan_of_faults;
pub mod promotions;
pub mod provider;
pub mod rooms;
pub mod run;
pub mod scheduler;
pub mod sending;
pub mod shard;
pub mod source;
pub mod steps;
pub mod strikes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_actors::ids::{NodeId, Session};
use postrider_actors::placement::tuning::Tuning;
use postrider_actors::settings::Settings;
use postrider_actors::testing::memory::MemoryStore;

use broken::Broken;
use clocks::{DatabaseClock, MachineClock, TrueTime};
use database::Database;
use dice::Dice;
use faults::{Hit, Rates};
use history::{Entry, History, What};
use ledger::Ledger;
use machine::{Machine, Uid};
use ownership::Ownership;
use people::People;
use plan_of_faults::Plan;
use provider::Provider;
use scheduler::{Micros, SECOND, Scheduler, To};
use source::Source;
use steps::{Step, Steps};

/// Shards of a simulated cluster.
const SHARDS: u16 = 8;

/// Everything.
pub struct World {
    /// True time.
    pub now: Micros,
    /// The same, for clocks.
    pub time: TrueTime,
    /// What happens next.
    pub queue: Scheduler,
    /// Chance.
    pub dice: Dice,
    /// The settings of all nodes.
    pub settings: Arc<Settings>,
    /// Chances of small faults at this moment.
    pub rates: Rates,
    /// The database.
    pub db: Database,
    /// The highest timeline so far.
    pub timeline: u32,
    /// Who owned what when that was looked at last.
    pub ownership: Ownership,
    /// The mail server.
    pub source: Source,
    /// The push provider.
    pub provider: Provider,
    /// Machines.
    pub machines: Vec<Machine>,
    /// People.
    pub people: People,
    /// What people did and may expect.
    pub ledger: Ledger,
    /// What happened.
    pub history: History,
    /// Faults that hit.
    pub hits: BTreeMap<Hit, u64>,
    /// Steps of the protocol that began lately, and faults that wait for one.
    pub steps: Steps,
    /// Which faults fell into which steps.
    pub pairs: BTreeSet<(Hit, Step)>,
    /// The rule that is broken on purpose.
    pub broken: Option<Broken>,
    /// No large fault begins after this.
    pub faults_end: Micros,
    /// No mail comes and nobody registers after this.
    pub workload_ends: Micros,
    /// When the last heartbeat of a session was written.
    pub beats: BTreeMap<Session, Micros>,
    /// When these tables answered nobody, because others answered in their place: no silence of anybody's.
    pub rests: Vec<(Micros, Micros)>,
    /// Statements in the last minute, in which nothing happened.
    pub statements_at_rest: u64,
    drift: bool,
    uids: Uid,
}

/// Settings of simulated nodes: as by default, with rests that are long against a run cut short.
fn settings() -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        reconcile: seconds(90),
        poll: seconds(20),
        retry_max: seconds(8),
        park: seconds(60),
        push_retry_max: seconds(8),
        hold_content: seconds(20),
        breaker_pause: seconds(10),
        collect_deadline: seconds(40),
        badge_delay: seconds(10),
        restart_max: seconds(8),
        placement: Tuning { quiet: seconds(10), cooldown: seconds(20), look: seconds(4), ..Tuning::default() },
        ..Settings::default()
    }
}

impl World {
    /// The world of a plan.
    pub fn new(dice: Dice, plan: &Plan, broken: Option<Broken>) -> Self {
        let time = TrueTime::default();
        let store = MemoryStore::cluster(Arc::new(DatabaseClock(time.clone())), SHARDS);
        let mut world = Self {
            now: 0,
            time,
            queue: Scheduler::default(),
            dice,
            settings: Arc::new(settings()),
            rates: Rates::default(),
            db: Database::new(store),
            timeline: 1,
            ownership: Ownership::default(),
            source: Source::default(),
            provider: Provider::default(),
            machines: Vec::new(),
            people: People::default(),
            ledger: Ledger::default(),
            history: History::default(),
            hits: BTreeMap::new(),
            steps: Steps::aiming(plan.aims.clone()),
            pairs: BTreeSet::new(),
            broken,
            faults_end: plan.faults_end,
            workload_ends: plan.faults_end + 60 * SECOND,
            beats: BTreeMap::new(),
            rests: Vec::new(),
            statements_at_rest: 0,
            drift: plan.drift,
            uids: 0,
        };
        world.people.mail_every = plan.mail_every;
        world.people.change_every = plan.change_every;
        for _ in 0..plan.nodes {
            world.add_machine();
        }
        world
    }

    /// One more machine, without a process.
    pub fn add_machine(&mut self) -> usize {
        let node = self.machines.len();
        let drift = if self.drift { self.dice.between(-50_000, 50_000) } else { 0 };
        let (offset, wall) = (self.dice.between(1, 1_000_000 * SECOND), if self.drift { self.dice.between(-SECOND, SECOND) } else { 0 });
        self.machines.push(Machine {
            name: NodeId(format!("node-{node}").into()),
            clock: MachineClock::new(self.time.clone(), offset, drift, wall),
            life: 0,
            process: None,
            paused: false,
            parked: Vec::new(),
            link: Default::default(),
        });
        node
    }

    /// Enters an event.
    pub fn enter(&mut self, after: Micros, to: To, run: impl FnOnce(&mut World) + 'static) {
        self.queue.enter(self.now + after.max(0), to, Box::new(run));
    }

    /// A number for an actor.
    pub fn uid(&mut self) -> Uid {
        self.uids += 1;
        self.uids
    }

    /// Notes what happened on a machine, or elsewhere.
    pub fn note(&mut self, node: Option<usize>, what: What) {
        let session = node.map_or(Session(0), |node| self.session(node));
        self.note_as(node, session, what);
    }

    /// Notes what happened in the name of a session.
    pub fn note_as(&mut self, node: Option<usize>, session: Session, what: What) {
        self.history.note(Entry { at: self.now, node, session, what });
    }

    /// Lets everything happen until then.
    pub fn run_until(&mut self, until: Micros) {
        while let Some((at, to, action)) = self.queue.next(until) {
            self.now = at;
            self.time.store(at, Ordering::Relaxed);
            match to {
                To::World => action(self),
                To::Process(node, life) => {
                    let machine = &mut self.machines[node];
                    if machine.life != life || machine.process.is_none() {
                        continue;
                    }
                    if machine.paused {
                        machine.parked.push(action);
                        continue;
                    }
                    action(self);
                    self.serve_rooms(node);
                }
            }
        }
        self.now = until;
        self.time.store(until, Ordering::Relaxed);
    }

    fn serve_rooms(&mut self, node: usize) {
        let Some(process) = self.machines[node].process.as_ref() else { return };
        let lives = |uid: Uid| process.mailboxes.contains_key(&uid);
        let mut served = process.seedings.serve(lives);
        served.extend(process.collections.serve(lives));
        for (actor, action) in served {
            self.cast(node, actor, action);
        }
    }
}
