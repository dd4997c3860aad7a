//! The shell of a shard: warms it up, adopts it and hands it over in tasks, starts and supervises its mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::directory::Directory;
use super::message::Message;
use super::state::{Effect, Input, Shard};
use crate::alarm::Alarm;
use crate::context::Context;
use crate::ids::{Authority, Fence, MailboxId, Session, ShardId};
use crate::mailbox::actor::{Begin as BeginMailbox, Watcher};
use crate::mailbox::journal::{Entry, Journal};
use crate::mailbox::message::Message as ToMailbox;
use crate::mailbox::slot::Slot;
use crate::mailbox::state::Input as MailboxInput;
use crate::node::message::Message as ToNode;
use crate::node::state::Input as NodeInput;
use crate::ports::cluster_store::OwnedMailbox;
use crate::ports::mail_source::MailboxRef;
use crate::task::Tasks;
use crate::telemetry::metrics;
use crate::time::Timestamp;

/// What fails when a shard cannot be read.
const READING: &str = "reading shards";

/// The actor; all it is lives in its state.
#[derive(Debug)]
pub struct Keeper;

/// What a shard actor begins with.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Shared by the node.
    pub context: Arc<Context>,
    /// Where its mailboxes are entered.
    pub directory: Arc<Directory>,
    /// Which shard.
    pub shard: ShardId,
    /// This life of the process.
    pub session: Session,
    /// Whom to tell of moves.
    pub node: ActorRef<ToNode>,
}

/// The state of a shard actor.
#[derive(Debug)]
pub struct State {
    begin: Begin,
    machine: Shard,
    /// The epoch under which a former actor of the shard ran mailboxes in this process.
    before: Option<Fence>,
    mailboxes: BTreeMap<MailboxId, Child>,
    by_actor: BTreeMap<ActorId, MailboxId>,
    tasks: Tasks,
    alarm: Alarm,
}

#[derive(Debug)]
struct Child {
    actor: ActorRef<ToMailbox>,
    journal: Arc<Journal>,
    slot: Arc<Slot>,
}

impl Actor for Keeper {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        Ok(State {
            machine: Shard::new(u64::from(begin.shard.0)),
            before: begin.directory.epoch(begin.shard),
            begin,
            mailboxes: BTreeMap::new(),
            by_actor: BTreeMap::new(),
            tasks: Tasks::default(),
            alarm: Alarm::default(),
        })
    }

    async fn post_start(&self, myself: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.step(&myself, Input::Alarm).await
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Step(input) => state.step(&myself, input).await,
            Message::Vanished => Err("a task of the shard ended without an answer".into()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => match state.by_actor.remove(&who.get_id()) {
                Some(mailbox) => {
                    metrics::restarts(metrics::Actor::Mailbox, 1);
                    tracing::error!(%mailbox, %error, "the actor of a mailbox failed; it is started again");
                    state.step(&myself, Input::Failed(mailbox)).await
                }
                None => Ok(()),
            },
            SupervisionEvent::ActorTerminated(who, ..) => match state.by_actor.remove(&who.get_id()) {
                Some(mailbox) => {
                    state.forget(mailbox);
                    state.step(&myself, Input::Ended(mailbox)).await
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl State {
    async fn step(&mut self, myself: &ActorRef<Message>, input: Input) -> Result<(), ActorProcessingErr> {
        let context = self.begin.context.clone();
        let now = context.ports.clock.monotonic();
        for effect in self.machine.step(now, input, &context.settings) {
            match effect {
                Effect::Peek => self.peek(myself),
                Effect::AskTurn(mailbox, last_mail) => self.ask_turn(myself, &mailbox, last_mail),
                Effect::Warm(mailbox) => self.warm(myself, mailbox),
                Effect::Cool(mailbox) => context.ports.mail.unwatch(mailbox),
                Effect::Ready => self.tell_node(NodeInput::Ready(self.begin.shard)),
                Effect::Adopt(epoch) => self.ask(myself, epoch, false),
                Effect::Reload(epoch) => self.ask(myself, epoch, true),
                Effect::Start(row, restarts) => self.start(myself, row, restarts).await?,
                Effect::Restamp(row, epoch) => self.restamp(row, epoch),
                Effect::Stop(mailbox) => self.stop(mailbox),
                Effect::Hold => self.tell_all(&MailboxInput::Hold),
                Effect::GiveUp => self.tell_all(&MailboxInput::GiveUp),
                Effect::Unhold => self.tell_all(&MailboxInput::Unhold),
                Effect::Offer(epoch) => self.tell_node(NodeInput::Offered(self.begin.shard, epoch)),
                Effect::Release => {
                    self.mailboxes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|mailbox| self.stop(mailbox));
                    myself.stop(Some("not ours".into()));
                }
            }
        }
        self.alarm.set(now, self.machine.due(), myself, Message::Step(Input::Alarm));
        Ok(())
    }

    fn tell_node(&self, input: NodeInput) {
        // A node that ended ends its shards.
        let _ = self.begin.node.cast(ToNode::Step(input));
    }

    fn tell_all(&self, input: &MailboxInput) {
        for child in self.mailboxes.values() {
            // One that just ended is told about by its supervision event.
            let _ = child.actor.cast(ToMailbox::Step(input.clone()));
        }
    }

    fn peek(&mut self, myself: &ActorRef<Message>) {
        let Begin { context, shard, session, .. } = self.begin.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            let _room = context.looks.acquire().await;
            Message::Step(Input::Peeked(context.ports.cluster.shard_peek(shard, session).await))
        });
    }

    fn ask_turn(&mut self, myself: &ActorRef<Message>, mailbox: &MailboxRef, last_mail: Timestamp) {
        let (turns, id) = (self.begin.context.turns.clone(), mailbox.id);
        let back_end = self.begin.context.ports.mail.back_end(mailbox);
        self.tasks.run(myself, || Message::Vanished, async move {
            turns.take(back_end, last_mail).await;
            Message::Step(Input::Turn(id))
        });
    }

    fn warm(&mut self, myself: &ActorRef<Message>, mailbox: MailboxRef) {
        let context = self.begin.context.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            let answer = context.ports.mail.warm(&mailbox).await;
            Message::Step(Input::Warmed(mailbox.id, answer))
        });
    }

    fn ask(&mut self, myself: &ActorRef<Message>, epoch: Fence, again: bool) {
        let Begin { context, shard, session, .. } = self.begin.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            let _room = context.looks.acquire().await;
            let (cluster, authority) = (&context.ports.cluster, Authority { fence: epoch, session });
            let answer = if again { cluster.shard_reload(shard, authority).await } else { cluster.shard_adopt(shard, authority).await };
            match &answer {
                Err(error) => {
                    if let Some(due) = context.failed(READING) {
                        tracing::warn!(%shard, %error, repeated = due.repeated, "shards cannot be read, so that their mail is late; asked again");
                    }
                }
                Ok(Some(rows)) => {
                    context.works(READING);
                    tracing::debug!(%shard, epoch = epoch.0, session = session.0, mailboxes = rows.mailboxes.len(), "adopted");
                }
                Ok(None) => {}
            }
            Message::Step(Input::Rows(epoch, answer))
        });
    }

    /// Starts a mailbox, with the memory and the hints of the actor that it replaces.
    async fn start(&mut self, myself: &ActorRef<Message>, row: OwnedMailbox, restarts: u32) -> Result<(), ActorProcessingErr> {
        let Some(fence) = self.machine.epoch() else { return Ok(()) };
        let mailbox = row.mailbox.id;
        let before = self.mailboxes.remove(&mailbox);
        let (journal, slot) = before.map(|child| (child.journal, child.slot)).unwrap_or_default();
        // What a former actor began under this epoch may be committed after the row was read.
        let pending = row.pending || restarts > 0 || self.before == Some(fence);
        let first = MailboxInput::Start { seeded: row.seeded, badge_dirty: row.badge_dirty, pending };
        if restarts > 0 {
            journal.note(self.begin.context.ports.clock.now(), Entry::Restarted(restarts));
        }
        let begin = BeginMailbox {
            context: self.begin.context.clone(),
            row,
            authority: Authority { fence, session: self.begin.session },
            slot: slot.clone(),
            restarts,
            journal: journal.clone(),
            keeper: myself.clone(),
        };
        let (actor, _) = Actor::spawn_linked(None, Watcher, begin, myself.get_cell()).await?;
        self.begin.directory.acts(self.begin.shard, fence);
        self.begin.directory.enter(self.begin.shard, mailbox, slot.clone(), actor.clone());
        self.by_actor.insert(actor.get_id(), mailbox);
        actor.cast(ToMailbox::Step(first))?;
        // A hint that woke the actor before may have found it dead.
        actor.cast(ToMailbox::Hinted)?;
        self.mailboxes.insert(mailbox, Child { actor, journal, slot });
        Ok(())
    }

    fn restamp(&self, row: OwnedMailbox, fence: Fence) {
        if let Some(child) = self.mailboxes.get(&row.mailbox.id) {
            let authority = Authority { fence, session: self.begin.session };
            self.begin.directory.acts(self.begin.shard, fence);
            // One that just ended is told about by its supervision event.
            let _ = child.actor.cast(ToMailbox::Restamp(authority, row));
        }
    }

    fn stop(&mut self, mailbox: MailboxId) {
        if let Some(child) = self.mailboxes.get(&mailbox) {
            self.by_actor.remove(&child.actor.get_id());
            child.actor.stop(None);
        }
        self.forget(mailbox);
        self.begin.context.ports.mail.unwatch(mailbox);
    }

    fn forget(&mut self, mailbox: MailboxId) {
        if let Some(child) = self.mailboxes.remove(&mailbox) {
            self.begin.directory.leave(mailbox, &child.actor);
        }
    }
}
