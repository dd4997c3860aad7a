//! The way from a node to the database: latency, loss of the request or of the answer, stalls, exhausted pools, partitions.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::FutureExt;
use postrider_actors::ids::Session;
use postrider_actors::ports::StoreError;
use postrider_actors::testing::memory::{MemoryStore, Model};

use super::World;
use super::faults::Hit;
use super::ledger::Devices;
use super::scheduler::{MILLI, Micros, SECOND, To};

/// How long a node waits for an answer, unless it has its own deadline.
pub const PATIENCE: Micros = 6 * SECOND;

/// The database itself.
pub struct Database {
    /// Its tables.
    pub store: MemoryStore,
    /// Grows with each restart and promotion: who asked before gets no answer.
    pub incarnation: u32,
    /// Whether it takes connections.
    pub up: bool,
    /// Until then it answers nothing.
    pub stalled_until: Micros,
    /// The way of everybody to it.
    pub link: Link,
    /// Latency of a request and of an answer, each at most.
    pub latency: Micros,
    /// Statements so far.
    pub statements: u64,
    /// The former primary.
    pub former: Option<Former>,
    /// It answers in the place of the one that was promoted.
    pub past: bool,
    /// Earlier tables, newest last, with what people registered by then.
    pub snapshots: Vec<(Micros, Model, Devices)>,
}

/// The former primary as it was when it answered last.
#[derive(Clone)]
pub struct Former {
    /// When that was.
    pub at: Micros,
    /// Its tables.
    pub tables: Model,
    /// What people had registered by then.
    pub devices: Devices,
    /// The last heartbeat of each session in its tables: one written here is none in the tables of the promoted one.
    pub beats: BTreeMap<Session, Micros>,
    /// When its tables answered nobody, because others answered in their place.
    pub rests: Vec<(Micros, Micros)>,
}

impl Database {
    /// A database that is well.
    pub fn new(store: MemoryStore) -> Self {
        Self {
            store,
            incarnation: 0,
            up: true,
            stalled_until: 0,
            link: Link::default(),
            latency: 2 * MILLI,
            statements: 0,
            former: None,
            past: false,
            snapshots: Vec::new(),
        }
    }
}

/// A machine's way to the database.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// Until then requests do not get there.
    pub out_until: Micros,
    /// Until then answers do not come back.
    pub back_until: Micros,
    /// Until then no connection of the pool is free.
    pub pool_until: Micros,
}

/// Over which connection a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The heartbeat's own.
    Heartbeat,
    /// One of the pool.
    Pool,
}

/// The answer of the shared store, which never waits.
pub fn at_once<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("the shared store in memory answers at once")
}

/// The answer is not known.
fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("no answer".into())
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("not reached".into())
}

impl World {
    /// A process asks the database. `run` happens at the database, once or never, maybe long after; `reply` happens in the process, once, if it lives.
    pub fn ask<R: 'static>(
        &mut self,
        node: usize,
        way: Way,
        patience: Micros,
        run: impl FnOnce(&mut World) -> Result<R, StoreError> + 'static,
        reply: impl FnOnce(&mut World, Result<R, StoreError>) + 'static,
    ) {
        let to = self.whom(node);
        let link = self.machines[node].link;
        let answered = Answer::new(to, reply);
        if way == Way::Pool && self.now < link.pool_until {
            self.hit(Hit::PoolExhausted);
            return answered.give(self, patience, Err(unavailable()));
        }
        if !self.db.up {
            self.hit(Hit::DatabaseAway);
            let after = self.dice.between(MILLI, 50 * MILLI);
            return answered.give(self, after, Err(unavailable()));
        }
        if self.dice.hits(self.rates.refused) {
            self.hit(Hit::CallRefused);
            return answered.give(self, 2 * MILLI, Err(unavailable()));
        }
        answered.clone().give(self, patience, Err(unknown()));
        let mut travel = self.latency();
        let heals = link.out_until.max(self.db.link.out_until);
        if self.now < heals {
            self.hit(Hit::LinkCut);
            // Lost, or held back by the network until it heals, whatever the asker thinks by then.
            if self.dice.percent(50) {
                return;
            }
            travel += heals - self.now + self.dice.between(0, 3 * SECOND);
        }
        if self.dice.hits(self.rates.request_lost) {
            self.hit(Hit::RequestLost);
            return;
        }
        if self.dice.hits(self.rates.request_held) {
            self.hit(Hit::RequestHeld);
            travel += self.dice.between(SECOND, 30 * SECOND);
        }
        let incarnation = self.db.incarnation;
        self.enter(travel, To::World, move |world| world.arrived(node, incarnation, run, answered));
    }

    /// A request reaches the database.
    fn arrived<R: 'static>(
        &mut self,
        node: usize,
        incarnation: u32,
        run: impl FnOnce(&mut World) -> Result<R, StoreError> + 'static,
        answered: Answer<R>,
    ) {
        if incarnation != self.db.incarnation || !self.db.up {
            self.hit(Hit::ConnectionBroken);
            return answered.give(self, MILLI, Err(unknown()));
        }
        if self.now < self.db.stalled_until {
            self.hit(Hit::DatabaseStalled);
            let wait = self.db.stalled_until - self.now + self.dice.between(0, 20 * MILLI);
            return self.enter(wait, To::World, move |world| world.arrived(node, incarnation, run, answered));
        }
        if self.goes_back(answered.to) {
            self.hit(Hit::OldPrimary);
            return answered.give(self, MILLI, Err(unavailable()));
        }
        self.db.statements += 1;
        let answer = run(self);
        self.ownership_seen();
        if self.now < self.machines[node].link.back_until.max(self.db.link.back_until) {
            self.hit(Hit::LinkCut);
            return;
        }
        if self.dice.hits(self.rates.answer_lost) {
            self.hit(Hit::AnswerLost);
            return;
        }
        let after = self.latency();
        answered.give(self, after, answer);
    }

    /// Whether the process that asks used a later history before: it does not go back behind it.
    fn goes_back(&mut self, to: To) -> bool {
        let timeline = self.db.store.read(|model| model.database.timeline);
        let To::Process(node, life) = to else { return false };
        let machine = &mut self.machines[node];
        let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) else { return false };
        process.furthest = process.furthest.max(timeline);
        process.furthest > timeline
    }

    fn latency(&mut self) -> Micros {
        self.dice.between(100, self.db.latency)
    }

    /// Remembers the tables as they are, for a promotion that loses what comes after.
    pub fn remember_tables(&mut self) {
        self.db.store.tamper(|model| model.history.clear());
        let model = self.db.store.read(Clone::clone);
        self.db.snapshots.push((self.now, model, self.ledger.devices.clone()));
        if self.db.snapshots.len() > 6 {
            self.db.snapshots.remove(0);
        }
    }
}

type Reply<R> = Rc<Cell<Option<Box<dyn FnOnce(&mut World, Result<R, StoreError>)>>>>;

/// An answer that is given once: the first one counts.
struct Answer<R> {
    to: To,
    reply: Reply<R>,
}

impl<R> Clone for Answer<R> {
    fn clone(&self) -> Self {
        Self { to: self.to, reply: self.reply.clone() }
    }
}

impl<R: 'static> Answer<R> {
    fn new(to: To, reply: impl FnOnce(&mut World, Result<R, StoreError>) + 'static) -> Self {
        Self { to, reply: Rc::new(Cell::new(Some(Box::new(reply)))) }
    }

    /// The answer comes after that time.
    fn give(self, world: &mut World, after: Micros, answer: Result<R, StoreError>) {
        let reply = self.reply;
        world.enter(after, self.to, move |world| {
            if let Some(reply) = reply.take() {
                reply(world, answer);
            }
        });
    }
}
