//! The shell of a mailbox in the simulation: steps its state machine, subscribes, starts deliveries.

use std::collections::BTreeMap;
use std::rc::Rc;

use postrider_actors::delivery::message::{CollectEnd, Failure, More, Order, Work};
use postrider_actors::ids::{Authority, MailboxId};
use postrider_actors::mailbox::slot::Slot;
use postrider_actors::mailbox::state::{Effect, Input, Mailbox};
use postrider_actors::ports::MailboxStore;
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::OwnedMailbox;
use postrider_actors::ports::mail_source::{Hint, MailboxRef, SourceError, SubscriptionRecord};
use postrider_actors::shard::state::Input as ShardInput;

use super::World;
use super::broken::Broken;
use super::database::{PATIENCE, Way, at_once};
use super::faults::Hit;
use super::history::What;
use super::machine::{Alarm, Uid};
use super::rooms::Room;

/// The actor of a mailbox.
pub struct MailboxActor {
    /// The actor of its shard.
    parent: Uid,
    mailbox: MailboxRef,
    authority: Authority,
    slot: Rc<Slot>,
    machine: Mailbox,
    /// Deliveries by number: whether they still collect, and their actor once it began.
    deliveries: BTreeMap<u32, (bool, Option<Uid>)>,
    number: u32,
    /// Room for seeding, until a page of it takes it along.
    room: Option<Room>,
    predecessor_ended: bool,
    /// A stream opened, and no sync began since.
    opened: bool,
    alarm: Alarm,
}

impl World {
    /// A shard starts the actor of a mailbox.
    pub fn mailbox_begin(&mut self, node: usize, parent: Uid, mailbox: MailboxRef, authority: Authority, slot: Rc<Slot>) -> Uid {
        let uid = self.uid();
        let machine = Mailbox::new(mailbox.id.0.unsigned_abs().wrapping_mul(0x2545_F491_4F6C_DD1D));
        let actor = MailboxActor {
            parent,
            mailbox,
            authority,
            slot,
            machine,
            deliveries: BTreeMap::new(),
            number: 0,
            room: None,
            predecessor_ended: false,
            opened: false,
            alarm: Alarm::default(),
        };
        if let Some(process) = self.process(node) {
            process.mailboxes.insert(uid, actor);
        }
        uid
    }

    fn mailbox_actor(&mut self, node: usize, uid: Uid) -> Option<&mut MailboxActor> {
        self.process(node)?.mailboxes.get_mut(&uid)
    }

    /// A hint is folded into the slot of whichever actor watches the mailbox on that node.
    pub fn hint(&mut self, node: usize, mailbox: MailboxId, hint: Hint) {
        let Some(uid) = self.process(node).and_then(|process| process.directory.get(&mailbox).copied()) else { return };
        if self.mailbox_actor(node, uid).is_some_and(|actor| actor.slot.fold(hint)) {
            self.cast(node, uid, move |world| world.mailbox_hinted(node, uid));
        }
    }

    /// The actor looks at its slot.
    pub fn mailbox_hinted(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        for hint in actor.slot.take() {
            if let Some(actor) = self.mailbox_actor(node, uid) {
                actor.opened |= hint == Hint::StreamOpened;
            }
            self.mailbox_step(node, uid, Input::Hint(hint));
        }
    }

    /// All mailboxes of a node are told.
    pub fn tell_all(&mut self, node: usize, input: &Input) {
        let Some(process) = self.process(node) else { return };
        let actors: Vec<Uid> = process.directory.values().copied().collect();
        for uid in actors {
            let input = input.clone();
            self.cast(node, uid, move |world| world.mailbox_step(node, uid, input));
        }
    }

    /// One step of a mailbox's state machine.
    pub fn mailbox_step(&mut self, node: usize, uid: Uid, input: Input) {
        let now = self.mono(node);
        let settings = self.settings.clone();
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        let effects = actor.machine.step(now, input, &settings);
        let alarm = actor.alarm.clone();
        let trip = self.trips().then(|| self.dice.index(effects.len() + 1));
        for (place, effect) in effects.into_iter().enumerate() {
            if trip == Some(place) {
                return self.mailbox_panics(node, uid);
            }
            self.mailbox_effect(node, uid, effect);
        }
        if trip.is_some() {
            return self.mailbox_panics(node, uid);
        }
        if let Some(actor) = self.mailbox_actor(node, uid) {
            let due = actor.machine.due(&settings);
            self.set_alarm(node, &alarm, due, move |world| world.mailbox_step(node, uid, Input::Alarm));
        }
    }

    fn mailbox_effect(&mut self, node: usize, uid: Uid, effect: Effect) {
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        match effect {
            Effect::Watch => self.mailbox_watch(node, uid),
            Effect::Unwatch => {
                let mailbox = actor.mailbox.id;
                self.source.unwatch(node, mailbox);
            }
            Effect::Deliver(order) => self.deliver(node, uid, order),
            Effect::GiveUp => self.give_up(node, uid),
            Effect::AskRoom => {
                let Some(process) = self.process(node) else { return };
                process.seedings.wait(uid, move |world, room| {
                    if let Some(actor) = world.mailbox_actor(node, uid) {
                        actor.room = Some(room);
                        world.mailbox_step(node, uid, Input::Room);
                    }
                });
            }
            Effect::GiveRoom => actor.room = None,
            Effect::Settle { hand_over } => {
                let deliveries: Vec<Uid> = actor.deliveries.values().filter_map(|(_, delivery)| *delivery).collect();
                deliveries.into_iter().for_each(|delivery| self.settle(node, delivery, hand_over));
            }
            Effect::GiveUpAll => {
                let deliveries = std::mem::take(&mut actor.deliveries);
                deliveries.values().filter_map(|(_, delivery)| *delivery).for_each(|delivery| self.delivery_drop(node, delivery));
            }
            Effect::Held => {
                let (parent, input) = (actor.parent, ShardInput::Held(actor.mailbox.id));
                self.shard_cast(node, parent, input);
            }
            Effect::Doubt => {
                let (parent, input) = (actor.parent, ShardInput::Doubted(actor.mailbox.id));
                self.shard_cast(node, parent, input);
            }
        }
    }

    /// The mailbox is ours under another epoch, or still is.
    pub fn mailbox_restamped(&mut self, node: usize, uid: Uid, authority: Authority, row: &OwnedMailbox) {
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        actor.authority = authority;
        self.mailbox_step(node, uid, Input::Restamped { seeded: row.seeded, badge_dirty: row.badge_dirty });
    }

    /// Subscribes; the record is kept for a successor before the answer counts.
    fn mailbox_watch(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        let (mailbox, authority) = (actor.mailbox.clone(), actor.authority);
        let first = !std::mem::replace(&mut actor.predecessor_ended, true);
        if !first {
            return self.mailbox_subscribe(node, uid, mailbox, authority, None);
        }
        let id = mailbox.id;
        let run = move |world: &mut World| at_once(world.db.store.subscription_load(id, authority));
        let reply = move |world: &mut World, answer: Result<Option<SubscriptionRecord>, StoreError>| {
            if world.mailbox_actor(node, uid).is_some() {
                world.mailbox_subscribe(node, uid, mailbox, authority, answer.ok().flatten());
            }
        };
        self.ask(node, Way::Pool, PATIENCE, run, reply);
    }

    fn mailbox_subscribe(
        &mut self,
        node: usize,
        uid: Uid,
        mailbox: MailboxRef,
        authority: Authority,
        predecessor: Option<SubscriptionRecord>,
    ) {
        let id = mailbox.id;
        self.ask_watch(node, &mailbox, predecessor, move |world, answer| {
            if world.mailbox_actor(node, uid).is_none() {
                return;
            }
            match answer {
                Ok(record) if world.gate_open(node) => {
                    let run = move |world: &mut World| at_once(world.db.store.subscription_set(id, authority, Some(&record)));
                    world.ask(node, Way::Pool, PATIENCE, run, move |world, _| world.mailbox_watched(node, uid, Ok(())));
                }
                other => world.mailbox_watched(node, uid, other.map(drop)),
            }
        });
    }

    fn mailbox_watched(&mut self, node: usize, uid: Uid, answer: Result<(), SourceError>) {
        self.cast(node, uid, move |world| world.mailbox_step(node, uid, Input::Watched(answer)));
    }

    fn give_up(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        let given_up: Vec<Option<Uid>> = actor.deliveries.values().filter(|(collecting, _)| *collecting).map(|(_, uid)| *uid).collect();
        actor.deliveries.retain(|_, (collecting, _)| !*collecting);
        given_up.into_iter().flatten().for_each(|delivery| self.delivery_drop(node, delivery));
    }

    /// Starts a delivery, as soon as there is room among the node's collections.
    fn deliver(&mut self, node: usize, uid: Uid, order: Order) {
        let skips = self.broken == Some(Broken::NoSecondSync);
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        actor.number = actor.number.wrapping_add(1);
        let number = actor.number;
        actor.deliveries.insert(number, (true, None));
        if order.work == Work::Sync && std::mem::take(&mut actor.opened) && skips && order.hinted_at.is_none() {
            let end = CollectEnd::Done { announced: 0, more: More::Nothing, seeded: true, badge_dirty: false };
            return self.delivered(node, uid, number, Input::Collected { end, sending: false });
        }
        let room = if order.work == Work::Seed { actor.room.take() } else { None };
        let Some(process) = self.process(node) else { return };
        if let Some(room) = room.or_else(|| process.collections.try_take()) {
            return self.delivery_place(node, uid, number, order, room);
        }
        process.collections.wait(uid, move |world, room| world.delivery_place(node, uid, number, order, room));
    }

    fn delivery_place(&mut self, node: usize, uid: Uid, number: u32, order: Order, room: Room) {
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        // Given up while it waited for room.
        if !actor.deliveries.contains_key(&number) {
            return;
        }
        let (mailbox, authority) = (actor.mailbox.clone(), actor.authority);
        let delivery = self.delivery_begin(node, uid, (mailbox, authority), order, number, room);
        if let Some(entry) = self.mailbox_actor(node, uid).and_then(|actor| actor.deliveries.get_mut(&number)) {
            entry.1 = Some(delivery);
        }
    }

    /// A delivery reports to its mailbox.
    pub fn delivered(&mut self, node: usize, uid: Uid, number: u32, input: Input) {
        self.cast(node, uid, move |world| {
            let Some(actor) = world.mailbox_actor(node, uid) else { return };
            // A delivery that was given up has nothing to say any more.
            let Some(entry) = actor.deliveries.get_mut(&number) else { return };
            match &input {
                Input::Collected { sending: true, .. } => entry.0 = false,
                _ => drop(actor.deliveries.remove(&number)),
            }
            world.mailbox_step(node, uid, input);
        });
    }

    /// A delivery of the mailbox failed.
    pub fn delivery_crashed(&mut self, node: usize, uid: Uid, number: u32) {
        self.cast(node, uid, move |world| {
            let Some(actor) = world.mailbox_actor(node, uid) else { return };
            match actor.deliveries.remove(&number) {
                Some((true, _)) => {
                    let end = CollectEnd::Failed(Failure::Crashed);
                    world.mailbox_step(node, uid, Input::Collected { end, sending: false });
                }
                Some((false, _)) => world.mailbox_step(node, uid, Input::Settled { left: true }),
                None => {}
            }
        });
    }

    fn mailbox_panics(&mut self, node: usize, uid: Uid) {
        self.hit(Hit::Panic);
        self.trouble("panic", Some(node), self.now, self.now);
        self.note(Some(node), What::Panicked("mailbox"));
        let Some(actor) = self.mailbox_actor(node, uid) else { return };
        let (parent, mailbox) = (actor.parent, actor.mailbox.id);
        self.mailbox_end(node, uid);
        self.mailbox_failed(node, parent, uid, mailbox);
    }

    /// The actor is gone, its deliveries with it.
    fn mailbox_end(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.process(node).and_then(|process| process.mailboxes.remove(&uid)) else { return };
        actor.deliveries.values().filter_map(|(_, delivery)| *delivery).for_each(|delivery| self.delivery_drop(node, delivery));
    }

    /// The actor is stopped and struck out.
    pub fn mailbox_drop(&mut self, node: usize, uid: Uid) {
        let Some(process) = self.process(node) else { return };
        process.directory.retain(|_, entry| *entry != uid);
        self.mailbox_end(node, uid);
    }

    /// Whether anything of the mailbox's is under way on that node.
    pub fn busy(&mut self, node: usize) -> bool {
        self.process(node).is_some_and(|process| !process.deliveries.is_empty())
    }
}
