//! The shell of a shard in the simulation: warms it up, adopts it and hands it over, starts and supervises its mailboxes.

use std::collections::BTreeMap;
use std::rc::Rc;

use postrider_actors::ids::{Authority, Fence, MailboxId, Session, ShardId};
use postrider_actors::mailbox::slot::Slot;
use postrider_actors::mailbox::state::Input as MailboxInput;
use postrider_actors::node::state::Input as NodeInput;
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{AdoptedShard, ClusterStore, OwnedMailbox};
use postrider_actors::shard::state::{Effect, Input, Shard};
use postrider_actors::time::Monotonic;

use super::World;
use super::broken::Broken;
use super::database::{PATIENCE, Way, at_once};
use super::faults::Hit;
use super::history::What;
use super::machine::{Alarm, Uid};
use super::steps::Step;

/// The actor of a shard.
pub struct ShardActor {
    /// Which shard.
    pub shard: ShardId,
    /// This life of the process.
    session: Session,
    /// The node's actor.
    parent: Uid,
    machine: Shard,
    /// The epoch under which a former actor of the shard ran mailboxes in this process.
    before: Option<Fence>,
    /// Its mailboxes: the slot of their hints, and the actor that was started last.
    mailboxes: BTreeMap<MailboxId, (Uid, Rc<Slot>)>,
    alarm: Alarm,
}

impl World {
    /// The node starts the actor of a shard.
    pub fn shard_begin(&mut self, node: usize, parent: Uid, shard: ShardId, session: Session) -> Uid {
        let uid = self.uid();
        let machine = Shard::new(u64::from(shard.0));
        if let Some(process) = self.process(node) {
            let before = process.epochs.get(&shard).copied();
            let actor = ShardActor { shard, session, parent, machine, before, mailboxes: BTreeMap::new(), alarm: Alarm::default() };
            process.shards.insert(uid, actor);
        }
        uid
    }

    fn shard_actor(&mut self, node: usize, uid: Uid) -> Option<&mut ShardActor> {
        self.process(node)?.shards.get_mut(&uid)
    }

    /// A message to the actor of a shard.
    pub fn shard_cast(&mut self, node: usize, uid: Uid, input: Input) {
        self.cast(node, uid, move |world| world.shard_step(node, uid, input));
    }

    /// One step of a shard's state machine.
    pub fn shard_step(&mut self, node: usize, uid: Uid, input: Input) {
        let now = self.mono(node);
        let settings = self.settings.clone();
        let Some(actor) = self.shard_actor(node, uid) else { return };
        let effects = actor.machine.step(now, input, &settings);
        let alarm = actor.alarm.clone();
        let trip = self.trips().then(|| self.dice.index(effects.len() + 1));
        for (place, effect) in effects.into_iter().enumerate() {
            if trip == Some(place) {
                return self.shard_panics(node, uid);
            }
            self.shard_effect(node, uid, effect);
        }
        if trip.is_some() {
            return self.shard_panics(node, uid);
        }
        if let Some(actor) = self.shard_actor(node, uid) {
            let due = actor.machine.due();
            self.set_alarm(node, &alarm, due, move |world| world.shard_step(node, uid, Input::Alarm));
        }
    }

    fn shard_effect(&mut self, node: usize, uid: Uid, effect: Effect) {
        let Some(actor) = self.shard_actor(node, uid) else { return };
        let (shard, session, parent) = (actor.shard, actor.session, actor.parent);
        match effect {
            Effect::Peek => {
                let run = move |world: &mut World| at_once(world.db.store.shard_peek(shard, session));
                self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.shard_cast(node, uid, Input::Peeked(answer)));
            }
            Effect::AskTurn(mailbox, _) => self.ask_turn(node, uid, mailbox.id),
            Effect::Warm(mailbox) => {
                let id = mailbox.id;
                self.ask_warm(node, &mailbox, move |world, answer| world.shard_cast(node, uid, Input::Warmed(id, answer)));
            }
            Effect::Cool(mailbox) => self.source.unwatch(node, mailbox),
            Effect::Ready => self.node_tell(node, parent, NodeInput::Ready(shard)),
            Effect::Adopt(epoch) => self.shard_ask(node, uid, epoch, false),
            Effect::Reload(epoch) => self.shard_ask(node, uid, epoch, true),
            Effect::Start(row, restarts) => self.mailbox_start(node, uid, row, restarts),
            Effect::Restamp(row, fence) => {
                if let Some((child, _)) = actor.mailboxes.get(&row.mailbox.id) {
                    let child = *child;
                    if let Some(process) = self.process(node) {
                        process.epochs.insert(shard, fence);
                    }
                    let authority = Authority { fence, session };
                    self.cast(node, child, move |world| world.mailbox_restamped(node, child, authority, &row));
                }
            }
            Effect::Stop(mailbox) => self.mailbox_stop(node, uid, mailbox),
            Effect::Hold => self.tell_mailboxes(node, uid, &MailboxInput::Hold),
            Effect::GiveUp => self.tell_mailboxes(node, uid, &MailboxInput::GiveUp),
            Effect::Unhold => self.tell_mailboxes(node, uid, &MailboxInput::Unhold),
            Effect::Offer(epoch) => self.node_tell(node, parent, NodeInput::Offered(shard, epoch)),
            Effect::Release => {
                let mailboxes: Vec<MailboxId> = actor.mailboxes.keys().copied().collect();
                mailboxes.into_iter().for_each(|mailbox| self.mailbox_stop(node, uid, mailbox));
                self.shard_drop(node, uid);
                self.shard_ended(node, uid);
            }
        }
    }

    fn tell_mailboxes(&mut self, node: usize, uid: Uid, input: &MailboxInput) {
        let Some(actor) = self.shard_actor(node, uid) else { return };
        let children: Vec<Uid> = actor.mailboxes.values().map(|(child, _)| *child).collect();
        for child in children {
            let input = input.clone();
            self.cast(node, child, move |world| world.mailbox_step(node, child, input));
        }
    }

    /// Waits for the node's turn for one more mailbox.
    fn ask_turn(&mut self, node: usize, uid: Uid, mailbox: MailboxId) {
        let (now, apart) = (self.mono(node), 1_000_000 / i64::from(self.settings.adopt_rate));
        let Some(process) = self.process(node) else { return };
        let at = process.pace.0.max(now.0);
        process.pace = Monotonic(at + apart);
        self.after_on(node, at - now.0, move |world| world.shard_step(node, uid, Input::Turn(mailbox)));
    }

    fn shard_ask(&mut self, node: usize, uid: Uid, epoch: Fence, again: bool) {
        let Some(actor) = self.shard_actor(node, uid) else { return };
        let (shard, authority) = (actor.shard, Authority { fence: epoch, session: actor.session });
        self.race_adoption(shard);
        self.step_begins(node, Step::Adopt);
        let run = move |world: &mut World| {
            let store = world.db.store.clone();
            let answer = at_once(async {
                if again { store.shard_reload(shard, authority).await } else { store.shard_adopt(shard, authority).await }
            });
            if let Ok(Some(_)) = &answer {
                world.stamped(node, shard, authority);
            }
            answer
        };
        let reply = move |world: &mut World, answer: Result<Option<AdoptedShard>, StoreError>| {
            let answer = world.adopted_answer(shard, answer);
            world.shard_cast(node, uid, Input::Rows(epoch, answer));
        };
        self.ask(node, Way::Pool, PATIENCE, run, reply);
    }

    /// With the shared lock on adoption, the membership that is remembered is one that was changed after the rows were read.
    fn adopted_answer(&self, shard: ShardId, answer: Result<Option<AdoptedShard>, StoreError>) -> Result<Option<AdoptedShard>, StoreError> {
        if self.broken != Some(Broken::SharedLockOnAdoption) {
            return answer;
        }
        let change_seq = self.db.store.read(|model| model.shards[&shard].change_seq);
        answer.map(|adopted| adopted.map(|adopted| AdoptedShard { change_seq, ..adopted }))
    }

    fn stamped(&mut self, node: usize, shard: ShardId, authority: Authority) {
        let of = |model: &postrider_actors::testing::memory::Model| {
            model.mailboxes.iter().filter(|(_, row)| row.shard == shard).map(|(id, _)| *id).collect()
        };
        let mailboxes = self.db.store.read(of);
        self.note_as(Some(node), authority.session, What::Stamped { shard, fence: authority.fence, mailboxes });
    }

    fn mailbox_start(&mut self, node: usize, uid: Uid, row: OwnedMailbox, restarts: u32) {
        let mailbox = row.mailbox.id;
        let Some(actor) = self.shard_actor(node, uid) else { return };
        let Some(fence) = actor.machine.epoch() else { return };
        let authority = Authority { fence, session: actor.session };
        let slot = actor.mailboxes.remove(&mailbox).map_or_else(|| Rc::new(Slot::default()), |(_, slot)| slot);
        // What a former actor began under this epoch may be committed after the row was read.
        let pending = row.pending || restarts > 0 || actor.before == Some(fence);
        let shard = actor.shard;
        let first = MailboxInput::Start { seeded: row.seeded, badge_dirty: row.badge_dirty, pending };
        let child = self.mailbox_begin(node, uid, row.mailbox, authority, slot.clone());
        if let Some(actor) = self.shard_actor(node, uid) {
            actor.mailboxes.insert(mailbox, (child, slot));
        }
        if let Some(process) = self.process(node) {
            process.directory.insert(mailbox, child);
            process.epochs.insert(shard, fence);
        }
        self.cast(node, child, move |world| world.mailbox_step(node, child, first));
        self.cast(node, child, move |world| world.mailbox_hinted(node, child));
    }

    fn mailbox_stop(&mut self, node: usize, uid: Uid, mailbox: MailboxId) {
        if let Some((child, _)) = self.shard_actor(node, uid).and_then(|actor| actor.mailboxes.remove(&mailbox)) {
            self.mailbox_drop(node, child);
        }
        self.source.unwatch(node, mailbox);
    }

    /// A mailbox actor ended by itself.
    pub fn mailbox_ended(&mut self, node: usize, parent: Uid, child: Uid, mailbox: MailboxId) {
        let Some(actor) = self.shard_actor(node, parent) else { return };
        if actor.mailboxes.get(&mailbox).is_some_and(|(uid, _)| *uid == child) {
            actor.mailboxes.remove(&mailbox);
            self.cast(node, parent, move |world| world.shard_step(node, parent, Input::Ended(mailbox)));
        }
    }

    /// A mailbox actor failed.
    pub fn mailbox_failed(&mut self, node: usize, parent: Uid, child: Uid, mailbox: MailboxId) {
        let Some(actor) = self.shard_actor(node, parent) else { return };
        if actor.mailboxes.get(&mailbox).is_some_and(|(uid, _)| *uid == child) {
            self.cast(node, parent, move |world| world.shard_step(node, parent, Input::Failed(mailbox)));
        }
    }

    fn shard_panics(&mut self, node: usize, uid: Uid) {
        self.hit(Hit::Panic);
        self.trouble("panic", Some(node), self.now, self.now);
        self.note(Some(node), What::Panicked("shard"));
        self.shard_drop(node, uid);
        self.shard_failed(node, uid);
    }

    /// A shard's actor is gone, its mailboxes with it.
    pub fn shard_drop(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.process(node).and_then(|process| process.shards.remove(&uid)) else { return };
        for (_, (child, _)) in actor.mailboxes {
            self.mailbox_drop(node, child);
        }
    }
}
