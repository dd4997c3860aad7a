//! A drain with a deadline in the simulation, as `System::drain` does it; then the process ends and the next one starts.

use postrider_actors::mailbox::state::Input as MailboxInput;
use postrider_actors::node::state::Input;
use postrider_actors::ports::ClusterStore;

use super::World;
use super::database::{PATIENCE, Way, at_once};
use super::history::What;
use super::scheduler::{MILLI, Micros, SECOND};

/// How long what is under way may take.
const DEADLINE: Micros = 8 * SECOND;

impl World {
    /// Finishes what is under way, writes what waits, leaves, ends, and starts again.
    pub fn drain(&mut self, node: usize) {
        let Some(process) = self.process(node) else { return };
        if process.leaving {
            return;
        }
        process.leaving = true;
        if let Some(uid) = process.node.as_ref().map(|actor| actor.uid) {
            self.cast(node, uid, move |world| world.node_step(node, uid, Input::Drain));
        }
        self.tell_all(node, &MailboxInput::Drain);
        let until = self.now + DEADLINE;
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
        self.flush(node, move |world| {
            world.note(Some(node), What::GateClosed);
            let Some(process) = world.process(node) else { return };
            process.gate.close();
            // No heartbeat may follow the farewell.
            process.node = None;
            let (name, session, over) = (world.machines[node].name.clone(), world.session(node), world.over(node));
            if over {
                return world.depart(node);
            }
            let run = move |world: &mut World| at_once(world.db.store.leave(&name, session));
            world.ask(node, Way::Pool, PATIENCE, run, move |world, _| world.depart(node));
        });
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
