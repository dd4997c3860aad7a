//! A drain with a deadline in the simulation, with the steps of `System::drain` (`system/farewell.rs`); then the process ends and the next one starts.

use std::cell::Cell;
use std::rc::Rc;

use postrider_actors::mailbox::state::Input as MailboxInput;
use postrider_actors::node::state::Input;
use postrider_actors::ports::ClusterStore;
use postrider_actors::ports::cluster_store::{ClusterView, Depth};
use postrider_actors::snapshot::NodeState;

use super::World;
use super::database::{Way, at_once};
use super::history::What;
use super::scheduler::{MILLI, Micros, SECOND};
use super::steps::Step;

/// How long a drain may take.
pub const DEADLINE: Micros = 15 * SECOND;
/// What of it is kept for the steps after the hand-over, and the patience of each step after it.
const FAREWELL: Micros = 5 * SECOND;

impl World {
    /// The others take over what they can, what is under way is finished, what waits is written; then it leaves, ends, and starts again.
    pub fn drain(&mut self, node: usize) {
        let Some(process) = self.process(node).filter(|process| !process.leaving) else { return };
        process.leaving = true;
        let until = self.now + DEADLINE;
        let (name, me) = (self.machines[node].name.clone(), self.session(node));
        let run = |world: &mut World| at_once(world.db.store.view(Depth::Nodes));
        self.ask(node, Way::Pool, DEADLINE - FAREWELL, run, move |world, view| {
            let others = |view: ClusterView| view.nodes.iter().any(|other| other.session != me && other.state == NodeState::Good);
            if !view.is_ok_and(others) {
                return world.settle_all(node, until);
            }
            world.step_begins(node, Step::Drain);
            let run = move |world: &mut World| at_once(world.db.store.drain(&name));
            world.ask(node, Way::Pool, until - FAREWELL - world.now, run, move |world, _| world.handing_over(node, until));
        });
    }

    /// Until nothing is owned any more, or little of the time is left.
    fn handing_over(&mut self, node: usize, until: Micros) {
        if self.over(node) || self.now >= until - FAREWELL {
            return self.settle_all(node, until);
        }
        let to = self.whom(node);
        self.enter(20 * MILLI, to, move |world| world.handing_over(node, until));
    }

    /// No collection begins any more, and what is under way has the rest of the time.
    fn settle_all(&mut self, node: usize, until: Micros) {
        if let Some(uid) = self.process(node).and_then(|process| process.node.as_ref().map(|actor| actor.uid)) {
            self.cast(node, uid, move |world| world.node_step(node, uid, Input::Drain));
        }
        self.tell_all(node, &MailboxInput::Drain);
        self.drained(node, until);
    }

    /// An operator asks for it: shards are handed over one after the other, and the process ends when it owns none.
    pub fn drain_by_operator(&mut self, node: usize) {
        if self.db.up && self.now >= self.db.stalled_until {
            let name = self.machines[node].name.clone();
            let _ = at_once(self.db.store.drain(&name));
        }
    }

    fn drained(&mut self, node: usize, until: Micros) {
        let to = self.whom(node);
        if self.busy(node) && self.now < until {
            return self.enter(20 * MILLI, to, move |world| world.drained(node, until));
        }
        // What was not written in time is read again by the next owner.
        let once = Rc::new(Cell::new(true));
        let late = once.clone();
        self.flush(node, move |world| world.farewell(node, &once));
        self.enter(FAREWELL, to, move |world| world.farewell(node, &late));
    }

    fn farewell(&mut self, node: usize, waits: &Cell<bool>) {
        if !waits.replace(false) {
            return;
        }
        self.note(Some(node), What::GateClosed);
        let (over, session) = (self.over(node), self.session(node));
        let Some(process) = self.process(node) else { return };
        process.gate.close();
        // No heartbeat may follow the farewell.
        process.node = None;
        if over && !process.drained {
            return self.depart(node);
        }
        let name = self.machines[node].name.clone();
        self.step_begins(node, Step::Leave);
        let run = move |world: &mut World| at_once(world.db.store.leave(&name, session));
        self.ask(node, Way::Pool, FAREWELL, run, move |world, _| world.depart(node));
    }

    fn over(&self, node: usize) -> bool {
        self.machines[node].process.as_ref().is_none_or(|process| process.over)
    }

    fn depart(&mut self, node: usize) {
        self.kill(node);
        let rest = self.dice.between(100 * MILLI, 2 * SECOND);
        self.enter(rest, super::scheduler::To::World, move |world| world.start(node));
    }
}
