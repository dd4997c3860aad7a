//! The shell of placement in the simulation: looks, takes leadership, commits plans and probes in the name of a node's placement machine.

use postrider_actors::ids::{NodeId, Session};
use postrider_actors::placement::leader::{Effect, Input, Leader};
use postrider_actors::ports::cluster_store::ClusterStore;
use postrider_actors::snapshot::NodeState;

use super::World;
use super::database::{PATIENCE, Way, at_once};
use super::faults::Hit;
use super::history::What;
use super::machine::{Alarm, Uid};
use super::scheduler::{MILLI, SECOND};
use super::steps::Step;

/// The actor of placement.
pub struct Placement {
    uid: Uid,
    machine: Leader,
    alarm: Alarm,
}

impl World {
    /// A process begins to observe.
    pub fn leader_begin(&mut self, node: usize) {
        let uid = self.uid();
        let Some(process) = self.process(node) else { return };
        process.placement = Some(Placement { uid, machine: Leader::new(process.session), alarm: Alarm::default() });
        self.placement_step(node, uid, Input::Alarm);
    }

    /// The node stands elsewhere.
    pub fn stands(&mut self, node: usize, state: NodeState) {
        let Some(uid) = self.process(node).and_then(|process| process.placement.as_ref().map(|placement| placement.uid)) else { return };
        self.cast(node, uid, move |world| world.placement_step(node, uid, Input::Stands(state)));
    }

    fn placement(&mut self, node: usize, uid: Uid) -> Option<&mut Placement> {
        self.process(node)?.placement.as_mut().filter(|placement| placement.uid == uid)
    }

    fn placement_step(&mut self, node: usize, uid: Uid, input: Input) {
        let (now, settings) = (self.mono(node), self.settings.clone());
        if self.trips() {
            return self.placement_fails(node, uid);
        }
        let Some(placement) = self.placement(node, uid) else { return };
        let effects = placement.machine.step(now, input, &settings);
        let alarm = placement.alarm.clone();
        effects.into_iter().for_each(|effect| self.placement_effect(node, uid, effect));
        if let Some(placement) = self.placement(node, uid) {
            let due = placement.machine.due();
            self.set_alarm(node, &alarm, due, move |world| world.placement_step(node, uid, Input::Alarm));
        }
    }

    fn placement_tell(&mut self, node: usize, uid: Uid, input: Input) {
        self.cast(node, uid, move |world| world.placement_step(node, uid, input));
    }

    fn placement_effect(&mut self, node: usize, uid: Uid, effect: Effect) {
        let (me, sent) = (self.session(node), self.mono(node));
        let deadline = self.settings.placement.look_deadline.as_micros() as i64;
        match effect {
            Effect::Look(depth) => {
                let run = move |world: &mut World| {
                    let mut view = at_once(world.db.store.view(depth))?;
                    // Another incarnation is reached over another connection.
                    view.link = u64::from(world.db.incarnation);
                    Ok(view)
                };
                self.ask(node, Way::Pool, deadline, run, move |world, answer| {
                    world.placement_tell(node, uid, Input::Seen(sent, answer));
                });
            }
            Effect::Lead(seen) => {
                self.step_begins(node, Step::Lead);
                let run = move |world: &mut World| at_once(world.db.store.lead(me, seen));
                self.ask(node, Way::Pool, deadline, run, move |world, answer| world.placement_tell(node, uid, Input::Led(answer)));
            }
            Effect::Commit(plan) => {
                self.step_begins(node, Step::Plan);
                let run = move |world: &mut World| at_once(world.db.store.plan_commit(&plan));
                self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| {
                    world.placement_tell(node, uid, Input::Committed(answer));
                });
            }
            Effect::Ask(asked) => self.probe(node, uid, asked),
            Effect::Tell(_) | Effect::Leads(_) => {}
        }
    }

    /// Asks nodes directly whether they can act; one that is stopped answers nothing until the deadline.
    fn probe(&mut self, node: usize, uid: Uid, asked: Vec<(Session, NodeId, String)>) {
        let to = self.whom(node);
        let after = self.dice.between(5 * MILLI, 2 * SECOND);
        self.enter(after, to, move |world| {
            let acts = |session: Session| {
                let machine = world
                    .machines
                    .iter()
                    .position(|machine| machine.process.as_ref().is_some_and(|process| process.session == session) && !machine.paused);
                machine.is_some_and(|machine| world.gate_open(machine))
            };
            let answers = asked.iter().map(|(session, _, _)| (*session, acts(*session))).collect();
            world.placement_tell(node, uid, Input::Asked(answers));
        });
    }

    /// Its actor fails; the next one learns everything anew.
    fn placement_fails(&mut self, node: usize, uid: Uid) {
        if self.placement(node, uid).is_none() {
            return;
        }
        self.hit(Hit::Panic);
        self.trouble("panic", Some(node), self.now, self.now);
        self.note(Some(node), What::Panicked("placement"));
        self.process(node).into_iter().for_each(|process| process.placement = None);
        self.after_on(node, SECOND / 10, move |world| {
            world.leader_begin(node);
            let standing = world.process(node).and_then(|process| process.node.as_ref().map(|actor| actor.machine.state()));
            standing.into_iter().for_each(|state| world.stands(node, state));
        });
    }

    /// The machine whose process leads by the tables.
    pub fn leading_machine(&self) -> Option<usize> {
        let leader = self.db.store.read(|model| model.leader)?;
        (0..self.machines.len()).find(|node| self.session(*node) == leader)
    }
}
