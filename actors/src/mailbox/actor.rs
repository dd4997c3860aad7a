//! The shell of a mailbox: steps its state machine, subscribes in tasks, starts deliveries, keeps the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::journal::{Entry, Journal};
use super::message::Message;
use super::slot::Slot;
use super::state::{Effect, Input, Mailbox};
use tokio::sync::OwnedSemaphorePermit;

use crate::alarm::Alarm;
use crate::context::{Context, Counted};
use crate::delivery::message::{CollectEnd, Failure, Order, Work, code};
use crate::delivery::run::{self as delivery, Settle};
use crate::ids::Authority;
use crate::places::Place;
use crate::ports::cluster_store::OwnedMailbox;
use crate::ports::mail_source::{Hint, MailboxRef, SourceError};
use crate::shard::message::Message as ToShard;
use crate::shard::state::Input as ShardInput;
use crate::snapshot::MailboxSnapshot;
use crate::task::{Task, Tasks};
use crate::telemetry::metrics;
use crate::time::Monotonic;

/// The actor; all it is lives in its state.
#[derive(Debug)]
pub struct Watcher;

/// What a mailbox actor begins with.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Shared by the node.
    pub context: Arc<Context>,
    /// Its row.
    pub row: OwnedMailbox,
    /// The authority of this node over it.
    pub authority: Authority,
    /// Where its hints are folded.
    pub slot: Arc<Slot>,
    /// How often it was restarted.
    pub restarts: u32,
    /// Its memory; outlives a restart.
    pub journal: Arc<Journal>,
    /// Its shard.
    pub keeper: ActorRef<ToShard>,
}

/// The state of a mailbox actor.
#[derive(Debug)]
pub struct State {
    context: Arc<Context>,
    mailbox: MailboxRef,
    authority: Authority,
    slot: Arc<Slot>,
    restarts: u32,
    journal: Arc<Journal>,
    keeper: ActorRef<ToShard>,
    machine: Mailbox,
    /// It was told that syncs come to no end.
    endless: bool,
    counted: Counted,
    /// Deliveries by number.
    deliveries: BTreeMap<u32, Delivery>,
    number: u32,
    /// Room for seeding, until a page of it takes it along.
    room: Option<OwnedSemaphorePermit>,
    /// Whether the record of a predecessor's subscription was looked for.
    predecessor_ended: bool,
    tasks: Tasks,
    alarm: Alarm,
}

/// A delivery under way.
#[derive(Debug)]
enum Delivery {
    /// It waits for its place among the node's collections.
    Waits,
    /// It collects; ended when dropped.
    Collects(Task, Arc<Settle>),
    /// It sends; ended when dropped.
    Sends(#[allow(dead_code, reason = "held for its Drop")] Task, Arc<Settle>),
}

impl Delivery {
    /// It is to come to rest.
    fn settle(&self, hand_over: bool) {
        if let Self::Collects(_, settle) | Self::Sends(_, settle) = self {
            settle.ask(hand_over);
        }
    }
}

impl Actor for Watcher {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        let machine = Mailbox::new(begin.row.mailbox.id.0.unsigned_abs().wrapping_mul(0x2545_F491_4F6C_DD1D));
        Ok(State {
            counted: Counted::new(begin.context.clone(), machine.phase()),
            context: begin.context,
            mailbox: begin.row.mailbox,
            authority: begin.authority,
            slot: begin.slot,
            restarts: begin.restarts,
            journal: begin.journal,
            keeper: begin.keeper,
            machine,
            endless: false,
            deliveries: BTreeMap::new(),
            number: 0,
            room: None,
            predecessor_ended: false,
            tasks: Tasks::default(),
            alarm: Alarm::default(),
        })
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Hinted => {
                for hint in state.slot.take() {
                    let entry = match hint {
                        Hint::Gap | Hint::SubscriptionLost { .. } => {
                            Entry::Interrupted { lost: hint != Hint::Gap, cause: state.slot.cause() }
                        }
                        Hint::Touched { .. } | Hint::StreamOpened => Entry::Hint(hint),
                    };
                    state.journal.note(state.context.ports.clock.now(), entry);
                    state.step(&myself, Input::Hint(hint)).await?;
                }
            }
            Message::Watched(answer) => state.watched(&myself, answer.map(drop)).await?,
            Message::Place(number, order, place) => state.begin_delivery(&myself, number, order, place),
            Message::Room(room) => {
                state.room = Some(room);
                state.step(&myself, Input::Room).await?;
            }
            Message::Delivered(number, input) => state.delivered(&myself, number, input).await?,
            Message::Crashed(number) => state.crashed(&myself, number).await?,
            Message::Restamp(authority, row) => {
                state.authority = authority;
                state.step(&myself, Input::Restamped { seeded: row.seeded, badge_dirty: row.badge_dirty }).await?;
            }
            Message::Step(input) => state.step(&myself, input).await?,
            Message::Vanished => return Err("a task of the mailbox ended without an answer".into()),
            Message::Inspect(reply) => {
                // Whoever asked may have given up.
                let _ = reply.send(state.inspect());
            }
        }
        Ok(())
    }
}

impl State {
    async fn step(&mut self, myself: &ActorRef<Message>, input: Input) -> Result<(), ActorProcessingErr> {
        let now = self.context.ports.clock.monotonic();
        for effect in self.machine.step(now, input, &self.context.settings) {
            match effect {
                Effect::Watch => self.watch(myself),
                Effect::Unwatch => self.context.ports.mail.unwatch(self.mailbox.id),
                Effect::Deliver(order) => self.deliver(myself, order),
                Effect::GiveUp => self.give_up(),
                Effect::AskRoom => self.ask_room(myself),
                Effect::GiveRoom => self.room = None,
                Effect::Settle { hand_over } => self.deliveries.values().for_each(|delivery| delivery.settle(hand_over)),
                Effect::GiveUpAll => self.deliveries.clear(),
                Effect::Held => self.tell_keeper(ShardInput::Held(self.mailbox.id)),
                Effect::Doubt => self.tell_keeper(ShardInput::Doubted(self.mailbox.id)),
            }
        }
        self.counted.moved(self.machine.phase());
        self.tell_endless();
        self.alarm.set(now, self.machine.due(&self.context.settings), myself, Message::Step(Input::Alarm));
        Ok(())
    }

    /// Says once that syncs come to no end, and once that they do again.
    fn tell_endless(&mut self) {
        let (mailbox, tenant) = (self.mailbox.id, &self.mailbox.tenant);
        match (std::mem::replace(&mut self.endless, self.machine.endless()), self.endless) {
            (false, true) => tracing::warn!(
                %tenant, %mailbox,
                "Exchange does not say that a sync is at its end, again and again: the mailbox is asked ever more rarely, and its mail may be late"
            ),
            (true, false) => tracing::info!(%tenant, %mailbox, "syncs come to their end again"),
            _ => {}
        }
    }

    fn tell_keeper(&self, input: ShardInput) {
        // A shard that ended ends its mailboxes.
        let _ = self.keeper.cast(ToShard::Step(input));
    }

    /// Subscribes; the record is kept for a successor before the answer counts. Failing to keep it costs a subscription that expires by itself.
    fn watch(&mut self, myself: &ActorRef<Message>) {
        let (context, mailbox, authority) = (self.context.clone(), self.mailbox.clone(), self.authority);
        let first = !std::mem::replace(&mut self.predecessor_ended, true);
        self.tasks.run(myself, || Message::Vanished, async move {
            let store = &context.ports.mailboxes;
            let predecessor = if first { store.subscription_load(mailbox.id, authority).await.ok().flatten() } else { None };
            let answer = context.ports.mail.watch(&mailbox, predecessor).await;
            if let Ok(record) = &answer
                && context.gate.is_open()
            {
                let _ = store.subscription_set(mailbox.id, authority, Some(record)).await;
            }
            Message::Watched(answer)
        });
    }

    async fn watched(&mut self, myself: &ActorRef<Message>, answer: Result<(), SourceError>) -> Result<(), ActorProcessingErr> {
        let entry = match &answer {
            Ok(()) => Entry::Watched,
            Err(error) => Entry::WatchFailed(code(&Failure::Source(error.clone()).code())),
        };
        self.journal.note(self.context.ports.clock.now(), entry);
        self.step(myself, Input::Watched(answer)).await
    }

    /// Waits for room among the mailboxes that are seeded.
    fn ask_room(&mut self, myself: &ActorRef<Message>) {
        let rooms = self.context.seedings.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            Message::Room(rooms.acquire_owned().await.expect("the node's rooms are never closed"))
        });
    }

    /// Ends the deliveries that still collect; those that send go on.
    fn give_up(&mut self) {
        self.deliveries.retain(|_, delivery| matches!(delivery, Delivery::Sends(..)));
    }

    /// Starts a delivery, as soon as there is room among the node's collections.
    fn deliver(&mut self, myself: &ActorRef<Message>, order: Order) {
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        self.deliveries.insert(number, Delivery::Waits);
        let (places, back_end) = (self.context.collections.clone(), self.context.ports.mail.back_end(&self.mailbox));
        let room = if order.work == Work::Seed { self.room.take().map(Place::from) } else { None };
        if let Some(place) = room.or_else(|| places.try_take(back_end.clone())) {
            return self.begin_delivery(myself, number, order, place);
        }
        self.tasks.run(myself, || Message::Vanished, async move { Message::Place(number, order, places.take(back_end).await) });
    }

    fn begin_delivery(&mut self, myself: &ActorRef<Message>, number: u32, order: Order, place: Place) {
        // Given up while it waited for room.
        let Some(delivery) = self.deliveries.get_mut(&number) else { return };
        let settle = Arc::new(Settle::default());
        let begin = delivery::Begin {
            context: self.context.clone(),
            mailbox: self.mailbox.clone(),
            authority: self.authority,
            order,
            number,
            owner: myself.clone(),
            journal: self.journal.clone(),
            place: Some(place),
            settle: settle.clone(),
        };
        *delivery = Delivery::Collects(Task::start(myself, move || Message::Crashed(number), delivery::run(begin)), settle);
    }

    async fn delivered(&mut self, myself: &ActorRef<Message>, number: u32, input: Input) -> Result<(), ActorProcessingErr> {
        // A delivery that was given up has nothing to say any more.
        let Some(delivery) = self.deliveries.remove(&number) else { return Ok(()) };
        if let (Input::Collected { sending: true, .. }, Delivery::Collects(task, settle)) = (&input, delivery) {
            self.deliveries.insert(number, Delivery::Sends(task, settle));
        }
        self.step(myself, input).await
    }

    async fn crashed(&mut self, myself: &ActorRef<Message>, number: u32) -> Result<(), ActorProcessingErr> {
        let Some(delivery) = self.deliveries.remove(&number) else { return Ok(()) };
        metrics::restarts(metrics::Actor::Delivery, 1);
        tracing::warn!(mailbox = %self.mailbox.id, "a delivery failed; what it did not settle is taken up again");
        let input = match delivery {
            Delivery::Sends(..) => Input::Settled { left: true },
            _ => Input::Collected { end: CollectEnd::Failed(Failure::Crashed), sending: false },
        };
        self.step(myself, input).await
    }

    fn inspect(&self) -> MailboxSnapshot {
        let (now, wall) = (self.context.ports.clock.monotonic(), self.context.ports.clock.now());
        let due = self.machine.due(&self.context.settings);
        MailboxSnapshot {
            mailbox: self.mailbox.id,
            phase: self.machine.phase(),
            due: (due != Monotonic::NEVER).then(|| wall + due.since(now)),
            restarts: self.restarts,
            journal: self.journal.lines(),
        }
    }
}
