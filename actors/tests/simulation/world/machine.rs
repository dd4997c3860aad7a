//! Machines and the processes that live on them: started, killed, stopped and continued.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use postrider_actors::delivery::batch::HoldBudget;
use postrider_actors::delivery::channels::Channels;
use postrider_actors::gate::Gate;
use postrider_actors::ids::{Fence, MailboxId, NodeId, Session, ShardId};
use postrider_actors::node::state::Membership;
use postrider_actors::ports::Clock;
use postrider_actors::time::Monotonic;

use super::World;
use super::batches::Batches;
use super::chores::Chores;
use super::clocks::MachineClock;
use super::database::Link;
use super::delivery::DeliveryActor;
use super::faults::Hit;
use super::history::What;
use super::leader::Placement;
use super::mailbox::MailboxActor;
use super::node::NodeActor;
use super::rooms::Rooms;
use super::scheduler::{Action, MILLI, Micros, To};
use super::shard::ShardActor;

/// The number of an actor, unique in a run.
pub type Uid = u64;

/// A machine.
pub struct Machine {
    /// The node's name.
    pub name: NodeId,
    /// Its clocks.
    pub clock: Arc<MachineClock>,
    /// How many processes ran on it so far.
    pub life: u32,
    /// The process that runs on it.
    pub process: Option<Process>,
    /// Whether it is stopped.
    pub paused: bool,
    /// What happened to it meanwhile.
    pub parked: Vec<Action>,
    /// Its way to the database.
    pub link: Link,
}

/// A process.
pub struct Process {
    /// Its session.
    pub session: Session,
    /// Its gate.
    pub gate: Arc<Gate>,
    /// The highest timeline that it met.
    pub furthest: u32,
    /// What its session joined; outlives a restart of the node's actor.
    pub membership: Option<Membership>,
    /// The node's actor; none while it waits to be restarted.
    pub node: Option<NodeActor>,
    /// Shard actors.
    pub shards: BTreeMap<Uid, ShardActor>,
    /// Mailbox actors.
    pub mailboxes: BTreeMap<Uid, MailboxActor>,
    /// Deliveries.
    pub deliveries: BTreeMap<Uid, DeliveryActor>,
    /// Which actor hears the hints of a mailbox.
    pub directory: BTreeMap<MailboxId, Uid>,
    /// The epoch under which mailboxes of a shard acted last.
    pub epochs: BTreeMap<ShardId, Fence>,
    /// Commits, marks, device reads.
    pub batches: Batches,
    /// Chores.
    pub chores: Chores,
    /// What it observes of the others.
    pub placement: Option<Placement>,
    /// Breakers by channel.
    pub channels: Channels,
    /// Content that may be held.
    pub budget: Arc<HoldBudget>,
    /// Room among the mailboxes that are seeded.
    pub seedings: Rooms,
    /// Room among collections.
    pub collections: Rooms,
    /// When the next mailbox may begin to be watched.
    pub pace: Monotonic,
    /// When the root restarts the node and the chores again.
    pub restarts: [postrider_actors::supervision::restart::Restarts; 2],
    /// The moment of the last message to an actor, by actor: messages keep their order.
    pub inboxes: BTreeMap<Uid, Micros>,
    /// Leaves as soon as nothing is under way.
    pub leaving: bool,
    /// Over because it was told to drain and owned nothing any more.
    pub drained: bool,
    /// Over; the machine starts another process.
    pub over: bool,
}

impl World {
    /// To the process that lives on the machine at this moment.
    pub fn whom(&self, node: usize) -> To {
        To::Process(node, self.machines[node].life)
    }

    /// What the machine's monotonic clock shows.
    pub fn mono(&self, node: usize) -> Monotonic {
        self.machines[node].clock.monotonic()
    }

    /// The process on a machine.
    pub fn process(&mut self, node: usize) -> Option<&mut Process> {
        self.machines[node].process.as_mut()
    }

    /// The session of a machine's process; none: zero.
    pub fn session(&self, node: usize) -> Session {
        self.machines[node].process.as_ref().map_or(Session(0), |process| process.session)
    }

    /// A process starts on the machine, unless one runs.
    pub fn start(&mut self, node: usize) {
        if self.machines[node].process.is_some() {
            return;
        }
        let session = Session(self.dice.below(i64::MAX));
        let settings = &self.settings;
        let machine = &mut self.machines[node];
        machine.life += 1;
        machine.clock.forget_correction();
        let clock: Arc<dyn Clock> = machine.clock.clone();
        machine.process = Some(Process {
            session,
            gate: Gate::new(clock),
            furthest: 0,
            membership: None,
            node: None,
            shards: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            directory: BTreeMap::new(),
            epochs: BTreeMap::new(),
            batches: Batches::default(),
            chores: Chores::default(),
            placement: None,
            channels: Channels::default(),
            budget: HoldBudget::new(settings.hold_bytes),
            seedings: Rooms::new(settings.seedings),
            collections: Rooms::new(settings.collections),
            pace: Monotonic(0),
            restarts: Default::default(),
            inboxes: BTreeMap::new(),
            leaving: false,
            drained: false,
            over: false,
        });
        self.note(Some(node), What::Started);
        self.node_begin(node);
        self.chores_begin(node);
        self.leader_begin(node);
    }

    /// The process dies at once; what it sent is on its way.
    pub fn kill(&mut self, node: usize) {
        if self.machines[node].process.is_none() {
            return;
        }
        self.note(Some(node), What::Killed);
        self.end_process(node);
    }

    /// Nothing of the process is left.
    pub fn end_process(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.process = None;
        machine.life += 1;
        machine.paused = false;
        machine.parked.clear();
        self.source.forget(node);
    }

    /// The process is stopped and goes on after that time.
    pub fn pause(&mut self, node: usize, time: Micros) {
        if self.machines[node].process.is_none() || self.machines[node].paused {
            return;
        }
        self.machines[node].paused = true;
        self.note(Some(node), What::Paused);
        self.fault_from_to("pause", self.now, self.now + time);
        let life = self.machines[node].life;
        self.enter(time, To::World, move |world| world.resume(node, life));
    }

    fn resume(&mut self, node: usize, life: u32) {
        let machine = &mut self.machines[node];
        if machine.life != life || !machine.paused {
            return;
        }
        machine.paused = false;
        let parked = std::mem::take(&mut machine.parked);
        if !parked.is_empty() {
            self.hit(Hit::Pause);
        }
        self.note(Some(node), What::Resumed);
        for action in parked {
            self.queue.enter(self.now, To::Process(node, life), action);
        }
    }

    /// A message to an actor: comes a little later, in the order in which messages to it were sent.
    pub fn cast(&mut self, node: usize, actor: Uid, run: impl FnOnce(&mut World) + 'static) {
        let delay = if self.dice.hits(self.rates.busy) { self.dice.between(0, 40 * MILLI) } else { self.dice.between(0, 200) };
        let now = self.now;
        let to = self.whom(node);
        let Some(process) = self.process(node) else { return };
        let last = process.inboxes.entry(actor).or_insert(now);
        *last = (now + delay).max(*last);
        let at = *last;
        self.queue.enter(at, to, Box::new(run));
    }

    /// Something that happens in the process after a span of its own clock.
    pub fn after_on(&mut self, node: usize, span: i64, run: impl FnOnce(&mut World) + 'static) {
        // Timers of the runtime are whole milliseconds, rounded up.
        let span = self.machines[node].clock.true_span(span.max(0)).div_euclid(MILLI) * MILLI + MILLI;
        let to = self.whom(node);
        self.enter(span, to, run);
    }

    /// Whether an actor fails at this step (a bug, a panic).
    pub fn trips(&mut self) -> bool {
        self.dice.hits(self.rates.panic)
    }

    /// Rings an actor's one timer at `due`, unless it is moved before.
    pub fn set_alarm(&mut self, node: usize, alarm: &Alarm, due: Monotonic, ring: impl FnOnce(&mut World) + 'static) {
        if alarm.0.get().0 == due && alarm.0.get().2 {
            return;
        }
        let number = alarm.0.get().1 + 1;
        alarm.0.set((due, number, due != Monotonic::NEVER));
        if due == Monotonic::NEVER {
            return;
        }
        let rest = due.0.saturating_sub(self.mono(node).0);
        let set = alarm.clone();
        self.after_on(node, rest, move |world| {
            let (due, current, _) = set.0.get();
            if current == number {
                set.0.set((due, current, false));
                ring(world);
            }
        });
    }
}

/// The one timer of an actor: when it rings, which setting of it that is, and whether it is still to ring.
#[derive(Debug, Clone)]
pub struct Alarm(Rc<std::cell::Cell<(Monotonic, u64, bool)>>);

impl Default for Alarm {
    fn default() -> Self {
        Self(Rc::new(std::cell::Cell::new((Monotonic::NEVER, 0, false))))
    }
}
