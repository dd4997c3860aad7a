//! The shell of a delivery in the simulation, its collecting part: carries out effects, reports to the mailbox.

use postrider_actors::delivery::collect::{Collect, Effect};
use postrider_actors::delivery::message::{CollectEnd, Collected, CommitAnswer, Failure, Moment, Order, Sent};
use postrider_actors::delivery::send::Sending;
use postrider_actors::ids::{Authority, EventKey, ItemId};
use postrider_actors::mailbox::state::Input;
use postrider_actors::ports::Clock;
use postrider_actors::ports::StoreError;
use postrider_actors::ports::mail_source::{MailContent, MailboxRef, SourceError};
use postrider_actors::ports::mailbox_store::{Commit, MailboxState};
use postrider_actors::ports::{DeliveryStore, DeviceStore, MailboxStore};

use super::World;
use super::database::{PATIENCE, Way, at_once};
use super::faults::Hit;
use super::history::What;
use super::machine::{Alarm, Uid};
use super::rooms::Room;

/// The actor of a delivery.
pub struct DeliveryActor {
    /// The mailbox's actor.
    pub parent: Uid,
    /// Which of its deliveries it is.
    pub number: u32,
    /// About which mailbox.
    pub mailbox: MailboxRef,
    /// Under which authority.
    pub authority: Authority,
    /// What to do.
    pub order: Order,
    collect: Collect,
    /// The sending part, once it began.
    pub sending: Option<Sending>,
    /// What the newest mail shows, read while its rows are committed.
    pub early: Option<Early>,
    room: Option<Room>,
    /// It is to come to rest; whether for a hand-over.
    settle: Option<bool>,
    /// Its one timer.
    pub alarm: Alarm,
}

/// Content asked for early: what, and the answer once it is there.
pub struct Early {
    /// What was asked for.
    pub asked: Vec<(EventKey, ItemId)>,
    /// What was answered.
    pub answer: Option<Result<Vec<Option<MailContent>>, SourceError>>,
    /// Whether the sending part waits for it.
    pub awaited: bool,
}

impl World {
    /// The moment of a step on that node.
    pub fn moment(&self, node: usize) -> Moment {
        Moment { at: self.mono(node), now: self.machines[node].clock.now(), gate_open: self.lets_pushes_out(node) }
    }

    /// A mailbox starts a delivery.
    pub fn delivery_begin(
        &mut self,
        node: usize,
        parent: Uid,
        (mailbox, authority): (MailboxRef, Authority),
        order: Order,
        number: u32,
        room: Room,
    ) -> Uid {
        let uid = self.uid();
        let (began, deadline) = (self.mono(node), self.settings.collect_deadline);
        let collect = Collect::new(mailbox.id, authority, order);
        let first = collect.begin();
        let alarm = Alarm::default();
        let actor = DeliveryActor {
            parent,
            number,
            mailbox,
            authority,
            order,
            collect,
            sending: None,
            early: None,
            room: Some(room),
            settle: None,
            alarm: alarm.clone(),
        };
        if let Some(process) = self.process(node) {
            process.deliveries.insert(uid, actor);
        }
        self.set_alarm(node, &alarm, began + deadline, move |world| world.delivery_alarm(node, uid));
        self.collecting(node, uid, first);
        uid
    }

    /// The actor of a delivery.
    pub fn delivery(&mut self, node: usize, uid: Uid) -> Option<&mut DeliveryActor> {
        self.process(node)?.deliveries.get_mut(&uid)
    }

    /// The delivery's timer.
    pub fn delivery_alarm(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.delivery(node, uid) else { return };
        if actor.sending.is_some() {
            return self.sending_step(node, uid, Sent::Alarm);
        }
        self.report(node, uid, CollectEnd::Failed(Failure::Late), 0);
        self.delivery_drop(node, uid);
    }

    fn report(&mut self, node: usize, uid: Uid, end: CollectEnd, pushes: usize) {
        let Some(actor) = self.delivery(node, uid) else { return };
        actor.room = None;
        let (parent, number) = (actor.parent, actor.number);
        self.delivered(node, parent, number, Input::Collected { end, sending: pushes > 0 });
    }

    /// An answer to the collecting part.
    fn collected(&mut self, node: usize, uid: Uid, answer: Collected) {
        self.cast(node, uid, move |world| {
            let (moment, settings) = (world.moment(node), world.settings.clone());
            if world.trips() {
                return world.delivery_panics(node, uid);
            }
            let Some(actor) = world.delivery(node, uid) else { return };
            if actor.sending.is_none() {
                let effect = actor.collect.step(moment, answer, &settings);
                world.collecting(node, uid, effect);
            }
        });
    }

    /// Carries out an effect of the collecting part.
    fn collecting(&mut self, node: usize, uid: Uid, effect: Effect) {
        let Some(actor) = self.delivery(node, uid) else { return };
        let (mailbox, authority) = (actor.mailbox.clone(), actor.authority);
        let id = mailbox.id;
        match effect {
            Effect::Load => self.load(node, uid, id, authority),
            Effect::Page(state) => {
                self.ask_changes(node, &mailbox, state, move |world, answer| world.collected(node, uid, Collected::Page(answer)));
            }
            Effect::Recent(since) => {
                self.ask_recent(node, &mailbox, since, move |world, answer| world.collected(node, uid, Collected::Recent(answer)));
            }
            Effect::Pending => {
                let run = move |world: &mut World| at_once(world.db.store.pending(id, authority));
                self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.collected(node, uid, Collected::Pending(answer)));
            }
            Effect::Recipients(events) => {
                let run = move |world: &mut World| at_once(world.db.store.recipients(id, &events));
                self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| world.collected(node, uid, Collected::Recipients(answer)));
            }
            Effect::Commit(commit) => {
                self.read_early(node, uid, &mailbox, &commit);
                self.commit(node, commit, move |world, answer| world.collected(node, uid, Collected::Committed(answer)));
            }
            Effect::WriteBehind(commit) => {
                let (moment, settings) = (self.moment(node), self.settings.clone());
                if let Some(process) = self.process(node) {
                    process.batches.behind.insert(commit.mailbox, commit);
                }
                let Some(actor) = self.delivery(node, uid) else { return };
                let written = Collected::Committed(CommitAnswer::Matched(Vec::new()));
                let next = actor.collect.step(moment, written, &settings);
                self.collecting(node, uid, next);
            }
            Effect::End(end, pushes) => {
                self.report(node, uid, end, pushes.len());
                if pushes.is_empty() {
                    return self.delivery_drop(node, uid);
                }
                let (moment, settings) = (self.moment(node), self.settings.clone());
                let Some(budget) = self.process(node).map(|process| process.budget.clone()) else { return };
                let Some(actor) = self.delivery(node, uid) else { return };
                let mut sending = Sending::new((id, authority), pushes, actor.order, moment.at, budget, &settings);
                let effects = sending.begin(moment, &settings);
                actor.sending = Some(sending);
                let settle = actor.settle;
                effects.into_iter().for_each(|effect| self.send_effect(node, uid, effect));
                if let Some(hand_over) = settle {
                    self.sending_step(node, uid, Sent::Settle { hand_over });
                }
                self.rearm(node, uid);
            }
        }
    }

    /// The delivery is to come to rest: nothing is held for another try.
    pub fn settle(&mut self, node: usize, uid: Uid, hand_over: bool) {
        let Some(actor) = self.delivery(node, uid) else { return };
        actor.settle = Some(hand_over || actor.settle == Some(true));
        if actor.sending.is_some() {
            self.sending_step(node, uid, Sent::Settle { hand_over });
        }
    }

    /// Reads the row. A state of it that waits to be written is dropped.
    fn load(&mut self, node: usize, uid: Uid, id: postrider_actors::ids::MailboxId, authority: Authority) {
        if let Some(process) = self.process(node) {
            process.batches.behind.remove(&id);
        }
        let run = move |world: &mut World| at_once(world.db.store.mailbox_load(id, authority));
        let reply = move |world: &mut World, answer: Result<Option<MailboxState>, StoreError>| {
            world.collected(node, uid, Collected::Row(answer));
        };
        self.ask(node, Way::Pool, PATIENCE, run, reply);
    }

    fn read_early(&mut self, node: usize, uid: Uid, mailbox: &MailboxRef, commit: &Commit) {
        let newest = commit.rows.first().and_then(|row| Some((row.event, row.item.clone()?)));
        let Some((event, item)) = newest else { return };
        if let Some(actor) = self.delivery(node, uid) {
            actor.early = Some(Early { asked: vec![(event, item.clone())], answer: None, awaited: false });
        }
        self.ask_contents(node, mailbox, vec![item], move |world, answer| {
            let Some(early) = world.delivery(node, uid).and_then(|actor| actor.early.as_mut()) else { return };
            early.answer = Some(answer);
            if early.awaited {
                world.early_contents(node, uid);
            }
        });
    }

    /// The delivery ends by a bug; its mailbox is told.
    pub fn delivery_panics(&mut self, node: usize, uid: Uid) {
        let Some(actor) = self.delivery(node, uid) else { return };
        let (parent, number) = (actor.parent, actor.number);
        self.hit(Hit::Panic);
        self.trouble("panic", Some(node), self.now, self.now);
        self.note(Some(node), What::Panicked("delivery"));
        self.delivery_drop(node, uid);
        self.delivery_crashed(node, parent, number);
    }

    /// The delivery is gone.
    pub fn delivery_drop(&mut self, node: usize, uid: Uid) {
        if let Some(process) = self.process(node) {
            process.deliveries.remove(&uid);
        }
    }
}
