//! What a node does by the clock in the simulation: writing behind, and the sweep for rows that nobody holds.

use postrider_actors::mailbox::state::Input;
use postrider_actors::ports::Clock;
use postrider_actors::ports::DeliveryStore;

use super::World;
use super::broken::Broken;
use super::database::{PATIENCE, Way, at_once};
use super::faults::Hit;
use super::history::What;
use super::machine::Uid;

/// How often the chores are looked at, in microseconds of the machine's clock.
const TICK: i64 = 500_000;
/// How many mailboxes one sweep wakes.
const SWEEP: u32 = 500;

/// When the two chores are due; none while they are under way.
#[derive(Default)]
pub struct Chores {
    uid: Uid,
    behind: Option<i64>,
    sweep: Option<i64>,
}

impl World {
    /// The root starts the chores.
    pub fn chores_begin(&mut self, node: usize) {
        let uid = self.uid();
        let Some(process) = self.process(node) else { return };
        process.chores = Chores { uid, behind: Some(0), sweep: Some(0) };
        self.chores_tick(node, uid);
    }

    fn chores(&mut self, node: usize, uid: Uid) -> Option<&mut Chores> {
        self.process(node).map(|process| &mut process.chores).filter(|chores| chores.uid == uid)
    }

    fn chores_tick(&mut self, node: usize, uid: Uid) {
        let (now, open, sweeps) = (self.mono(node).0, self.gate_open(node), self.broken != Some(Broken::NoSweep));
        if self.trips() {
            return self.chores_fail(node, uid);
        }
        let Some(chores) = self.chores(node, uid) else { return };
        let behind = open && chores.behind.take_if(|at| *at <= now).is_some();
        let sweep = open && chores.sweep.take_if(|at| *at <= now).is_some();
        if behind {
            self.flush(node, move |world| {
                let at = world.mono(node).0 + world.settings.write_behind.as_micros() as i64;
                world.chores(node, uid).into_iter().for_each(|chores| chores.behind = Some(at));
            });
        }
        if sweep && sweeps {
            self.sweep(node, uid);
            self.sweep_by_mailbox(node);
        }
        self.after_on(node, TICK, move |world| world.chores_tick(node, uid));
    }

    fn sweep(&mut self, node: usize, uid: Uid) {
        let session = self.session(node);
        let now = self.machines[node].clock.now();
        let run = move |world: &mut World| at_once(world.db.store.stranded(session, now, SWEEP));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| {
            let at = world.mono(node).0 + world.settings.sweep.as_micros() as i64;
            let Some(chores) = world.chores(node, uid) else { return };
            chores.sweep = Some(at);
            for mailbox in answer.unwrap_or_default() {
                let Some(actor) = world.process(node).and_then(|process| process.directory.get(&mailbox).copied()) else { continue };
                world.cast(node, actor, move |world| world.mailbox_step(node, actor, Input::Resume));
            }
        });
    }

    /// A broken sweep, which costs a statement for each user.
    fn sweep_by_mailbox(&mut self, node: usize) {
        if self.broken != Some(Broken::SweepByMailbox) {
            return;
        }
        for _ in 0..self.process(node).map_or(0, |process| process.directory.len()) {
            self.ask(node, Way::Pool, PATIENCE, |_| Ok(()), |_, _| {});
        }
    }

    fn chores_fail(&mut self, node: usize, uid: Uid) {
        self.hit(Hit::Panic);
        self.trouble("panic", Some(node), self.now, self.now);
        self.note(Some(node), What::Panicked("chores"));
        let (now, settings) = (self.mono(node), self.settings.clone());
        let Some(process) = self.process(node) else { return };
        if process.chores.uid != uid {
            return;
        }
        process.chores.uid = 0;
        let delay = process.restarts[1].failed(now, &settings);
        self.after_on(node, delay.as_micros() as i64, move |world| world.chores_begin(node));
    }
}
