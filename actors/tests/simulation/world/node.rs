//! The shell of a node in the simulation: carries out what the node's state machine wants, and supervises its shards.

use std::collections::BTreeMap;

use postrider_actors::ids::{Session, ShardId};
use postrider_actors::mailbox::state::Input as MailboxInput;
use postrider_actors::node::state::{Effect, Ended, Input, Node};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{ClusterStore, Features, Incoming, Join, Joined, ShardSeen};
use postrider_actors::shard::state::Input as ShardInput;
use postrider_actors::supervision::restart::Restarts;

use super::World;
use super::broken::Broken;
use super::database::{PATIENCE, Way, at_once};
use super::faults::Hit;
use super::history::What;
use super::machine::{Alarm, Uid};
use super::scheduler::{Micros, SECOND};
use super::steps::Step;

/// The node's actor.
pub struct NodeActor {
    /// Which actor.
    pub uid: Uid,
    /// What decides.
    pub machine: Node,
    /// Its shards.
    pub shards: BTreeMap<ShardId, Child>,
    restarts: BTreeMap<ShardId, Restarts>,
    alarm: Alarm,
}

/// A shard of the node.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// What its actor was told last.
    seen: Seen,
    /// It was told to end.
    leaving: bool,
    /// None while it waits to be restarted.
    pub actor: Option<Uid>,
}

/// What the heartbeat says about a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Ours(ShardSeen),
    Incoming(Incoming),
}

impl Seen {
    fn input(self) -> ShardInput {
        match self {
            Self::Ours(seen) => ShardInput::Owned(seen),
            Self::Incoming(incoming) => ShardInput::Incoming { ready: incoming.ready },
        }
    }

    /// Whether it is told with every heartbeat: what was said to the store may have been lost.
    fn waits(self) -> bool {
        matches!(self, Self::Incoming(Incoming { ready: false, .. }))
    }
}

impl World {
    /// The root starts the node's actor.
    pub fn node_begin(&mut self, node: usize) {
        let uid = self.uid();
        let Some(process) = self.process(node) else { return };
        let machine = Node::new(process.session.0.unsigned_abs(), process.membership.clone());
        process.node = Some(NodeActor { uid, machine, shards: BTreeMap::new(), restarts: BTreeMap::new(), alarm: Alarm::default() });
        self.node_step(node, uid, Input::Alarm);
    }

    /// The node's actor, if it is still that one.
    pub fn node_actor(&mut self, node: usize, uid: Uid) -> Option<&mut NodeActor> {
        self.process(node)?.node.as_mut().filter(|actor| actor.uid == uid)
    }

    /// A message to the node's actor.
    pub fn node_tell(&mut self, node: usize, uid: Uid, input: Input) {
        self.cast(node, uid, move |world| world.node_step(node, uid, input));
    }

    /// One step of the node's state machine.
    pub fn node_step(&mut self, node: usize, uid: Uid, input: Input) {
        let now = self.mono(node);
        let settings = self.settings.clone();
        let Some(actor) = self.node_actor(node, uid) else { return };
        let before = actor.machine.state();
        let effects = actor.machine.step(now, input, &settings);
        let (alarm, membership, state) = (actor.alarm.clone(), actor.machine.membership().cloned(), actor.machine.state());
        if let Some(process) = self.process(node) {
            process.membership = membership;
        }
        if before != state {
            self.stands(node, state);
        }
        let trip = self.trips().then(|| self.dice.index(effects.len() + 1));
        for (place, effect) in effects.into_iter().enumerate() {
            if trip == Some(place) {
                return self.node_failed(node, uid);
            }
            self.node_effect(node, uid, effect);
        }
        if trip.is_some() {
            return self.node_failed(node, uid);
        }
        if let Some(actor) = self.node_actor(node, uid) {
            let due = actor.machine.due();
            self.set_alarm(node, &alarm, due, move |world| world.node_step(node, uid, Input::Alarm));
        }
    }

    fn node_effect(&mut self, node: usize, uid: Uid, effect: Effect) {
        match effect {
            Effect::Join(replaces) => self.join(node, uid, replaces),
            Effect::Enter => self.enter_cluster(node, uid),
            Effect::Beat => self.beat(node, uid),
            Effect::Open(until, sending) => {
                let Some(process) = self.process(node) else { return };
                let closed = !process.gate.lets_pushes_out();
                process.gate.open_until(until, sending);
                let lets = process.gate.lets_pushes_out();
                self.note(Some(node), What::GateOpened(until.0));
                if closed && lets {
                    self.tell_all(node, &MailboxInput::Reopened);
                }
            }
            Effect::Suspend => {
                self.note(Some(node), What::Suspended);
                self.process(node).into_iter().for_each(|process| process.gate.suspend());
            }
            Effect::Shards(ours, incoming) => self.own(node, uid, ours, incoming),
            Effect::Reclaim => self.reclaim(node, uid),
            Effect::SayReady(shards) => self.say_ready(node, uid, shards),
            Effect::HandOver(offered) => self.hand_over(node, uid, offered),
            Effect::Retake(shards) => self.retake(node, uid, shards),
            Effect::Given(shards) => shards.into_iter().for_each(|shard| self.shard_tell(node, shard, ShardInput::Given)),
            Effect::Kept(shards) => shards.into_iter().for_each(|shard| self.shard_tell(node, shard, ShardInput::Kept)),
            Effect::End(why) => self.node_ended(node, uid, &why),
        }
    }

    /// How this machine joins.
    fn join_as(&self, node: usize, replaces: Option<(Session, i64)>) -> Join {
        Join {
            node: self.machines[node].name.clone(),
            session: self.session(node),
            weight: 1,
            max_users: self.settings.max_users,
            features: Features::default(),
            version: "simulated".into(),
            addr: String::new(),
            patience: self.settings.observe_dead,
            replaces,
        }
    }

    fn join(&mut self, node: usize, uid: Uid, replaces: Option<(Session, i64)>) {
        let join = self.join_as(node, replaces);
        let run = move |world: &mut World| {
            world.beats.entry(join.session).or_insert(world.now);
            at_once(world.db.store.join(&join))
        };
        self.step_begins(node, Step::Join);
        self.ask(node, Way::Heartbeat, PATIENCE, run, move |world, answer| {
            let wall = world.machines[node].clock.machine_now();
            if let Ok(Joined::Done { now, .. }) = &answer {
                world.machines[node].clock.correct(*now);
            }
            world.node_tell(node, uid, Input::Joined(wall, answer));
        });
    }

    fn enter_cluster(&mut self, node: usize, uid: Uid) {
        let (name, session) = (self.machines[node].name.clone(), self.session(node));
        let run = move |world: &mut World| at_once(world.db.store.enter(&name, session));
        self.step_begins(node, Step::Enter);
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.node_tell(node, uid, Input::Entered(answer)));
    }

    fn beat(&mut self, node: usize, uid: Uid) {
        let (name, session) = (self.machines[node].name.clone(), self.session(node));
        let sent = self.mono(node);
        let users = self.process(node).map_or(0, |process| process.directory.len());
        let patience = Micros::try_from(self.settings.heartbeat_deadline.as_micros()).unwrap_or(SECOND);
        let run = move |world: &mut World| {
            let answer = at_once(world.db.store.beat(&name, session, u32::try_from(users).unwrap_or(0)));
            if let Ok(Some(beat)) = &answer {
                world.note_as(Some(node), session, What::Beat(beat.hb_seq));
                world.beaten(session);
            }
            answer
        };
        self.step_begins(node, Step::Beat);
        self.ask(node, Way::Heartbeat, patience, run, move |world, answer| {
            if let Ok(Some(beat)) = &answer {
                world.machines[node].clock.correct(beat.now);
            }
            let late = || StoreError::Unavailable("the heartbeat was not answered in time".into());
            let answer = answer.map_err(|error| if matches!(error, StoreError::Unusable(_)) { error } else { late() });
            world.node_tell(node, uid, Input::Beaten(sent, answer));
        });
    }

    /// Starts the shards that are ours or are to become ours, ends the others, and passes on what changed about them.
    fn own(&mut self, node: usize, uid: Uid, ours: Vec<ShardSeen>, incoming: Vec<Incoming>) {
        let incoming = incoming.into_iter().map(|incoming| (incoming.shard, Seen::Incoming(incoming)));
        let wanted: BTreeMap<ShardId, Seen> = incoming.chain(ours.into_iter().map(|seen| (seen.shard, Seen::Ours(seen)))).collect();
        let Some(actor) = self.node_actor(node, uid) else { return };
        let gone: Vec<ShardId> = actor.shards.keys().filter(|shard| !wanted.contains_key(shard)).copied().collect();
        gone.into_iter().for_each(|shard| self.let_go(node, uid, shard));
        for (shard, seen) in wanted {
            let Some(actor) = self.node_actor(node, uid) else { return };
            match actor.shards.get_mut(&shard) {
                None => self.shard_start(node, uid, shard, seen),
                // It ends; if it is still wanted then, it begins anew.
                Some(child) if child.leaving => {}
                Some(child) => {
                    let told = child.seen == seen && !seen.waits();
                    child.seen = seen;
                    if !told {
                        self.shard_tell(node, shard, seen.input());
                    }
                }
            }
        }
    }

    fn shard_start(&mut self, node: usize, uid: Uid, shard: ShardId, seen: Seen) {
        let session = self.session(node);
        let child = self.shard_begin(node, uid, shard, session);
        if let Some(actor) = self.node_actor(node, uid) {
            actor.shards.insert(shard, Child { seen, leaving: false, actor: Some(child) });
        }
        self.shard_tell(node, shard, seen.input());
    }

    /// A word to the actor of a shard of that node, if there is one.
    pub fn shard_tell(&mut self, node: usize, shard: ShardId, input: ShardInput) {
        let child = self.process(node).and_then(|process| process.node.as_ref()?.shards.get(&shard)?.actor);
        if let Some(child) = child {
            self.cast(node, child, move |world| world.shard_step(node, child, input));
        }
    }

    /// The shard neither is nor is to become ours. Its actor stays in the book until it ended.
    fn let_go(&mut self, node: usize, uid: Uid, shard: ShardId) {
        self.shard_tell(node, shard, ShardInput::Gone);
        let Some(actor) = self.node_actor(node, uid) else { return };
        match actor.shards.get_mut(&shard) {
            Some(child) if child.actor.is_some() => child.leaving = true,
            _ => drop(actor.shards.remove(&shard)),
        }
    }

    /// The actor of a shard ended by itself.
    pub fn shard_ended(&mut self, node: usize, child: Uid) {
        if let Some(actor) = self.process(node).and_then(|process| process.node.as_mut()) {
            actor.shards.retain(|_, entry| entry.actor != Some(child));
        }
    }

    /// The actor of a shard failed: it is started again after a while.
    pub fn shard_failed(&mut self, node: usize, child: Uid) {
        let (now, settings) = (self.mono(node), self.settings.clone());
        let Some(actor) = self.process(node).and_then(|process| process.node.as_mut()) else { return };
        let Some((&shard, entry)) = actor.shards.iter_mut().find(|(_, entry)| entry.actor == Some(child)) else { return };
        if entry.leaving {
            actor.shards.remove(&shard);
            return;
        }
        entry.actor = None;
        let (uid, delay) = (actor.uid, actor.restarts.entry(shard).or_default().failed(now, &settings));
        self.after_on(node, delay.as_micros() as i64, move |world| {
            let waits = world.node_actor(node, uid).and_then(|actor| actor.shards.get(&shard).copied());
            if let Some(Child { seen, actor: None, .. }) = waits {
                world.shard_start(node, uid, shard, seen);
            }
        });
    }

    fn node_ended(&mut self, node: usize, uid: Uid, why: &Ended) {
        self.note(Some(node), What::Ended(format!("{why:?}")));
        self.note(Some(node), What::GateClosed);
        let Some(process) = self.process(node) else { return };
        process.gate.close();
        process.over = true;
        process.drained = *why == Ended::Drained;
        let shards: Vec<ShardId> = process.node.as_ref().map(|actor| actor.shards.keys().copied().collect()).unwrap_or_default();
        shards.into_iter().for_each(|shard| self.let_go(node, uid, shard));
        // The process ends, and the machine starts another one.
        let rest = self.dice.between(SECOND / 2, 5 * SECOND);
        self.after_on(node, rest, move |world| {
            world.kill(node);
            world.start(node);
        });
    }

    /// The node's actor fails; the root starts it again. Its shards end with it.
    fn node_failed(&mut self, node: usize, uid: Uid) {
        self.hit(Hit::Panic);
        self.trouble("panic", Some(node), self.now, self.now);
        self.note(Some(node), What::Panicked("node"));
        let (now, settings) = (self.mono(node), self.settings.clone());
        let Some(process) = self.process(node) else { return };
        if process.node.as_ref().is_none_or(|actor| actor.uid != uid) {
            return;
        }
        process.node = None;
        let shards: Vec<Uid> = process.shards.keys().copied().collect();
        let delay = process.restarts[0].failed(now, &settings);
        shards.into_iter().for_each(|shard| self.shard_drop(node, shard));
        self.after_on(node, delay.as_micros() as i64, move |world| world.node_begin(node));
    }

    /// Whether an effect may begin, as far as the gate says.
    pub fn gate_open(&self, node: usize) -> bool {
        self.broken == Some(Broken::NoGate) || self.machines[node].process.as_ref().is_some_and(|process| process.gate.is_open())
    }

    /// Whether a push may begin, as far as the gate says.
    pub fn lets_pushes_out(&self, node: usize) -> bool {
        self.broken == Some(Broken::NoGate) || self.machines[node].process.as_ref().is_some_and(|process| process.gate.lets_pushes_out())
    }
}
