//! The shell of a shard: adopts it in tasks, starts and supervises its mailboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::directory::Directory;
use super::message::Message;
use super::state::{Effect, Input, Shard};
use crate::alarm::Alarm;
use crate::context::Context;
use crate::ids::{Authority, MailboxId, ShardId};
use crate::mailbox::actor::{Begin as BeginMailbox, Watcher};
use crate::mailbox::journal::{Entry, Journal};
use crate::mailbox::message::Message as ToMailbox;
use crate::mailbox::slot::Slot;
use crate::mailbox::state::Input as MailboxInput;
use crate::ports::cluster_store::OwnedMailbox;
use crate::task::Tasks;
use crate::telemetry::metrics;

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
    /// The authority of this node over it.
    pub authority: Authority,
}

/// The state of a shard actor.
#[derive(Debug)]
pub struct State {
    begin: Begin,
    machine: Shard,
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
        for effect in self.machine.step(now, input, &context.settings, &mut || context.pace.reserve(now)) {
            match effect {
                Effect::Adopt => self.ask(myself, false),
                Effect::Reload => self.ask(myself, true),
                Effect::Start(row, restarts) => self.start(myself, row, restarts).await?,
                Effect::Stop(mailbox) => self.stop(mailbox),
                Effect::Release => {
                    self.mailboxes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|mailbox| self.stop(mailbox));
                    myself.stop(Some("not ours".into()));
                }
            }
        }
        self.alarm.set(now, self.machine.due(), myself, Message::Step(Input::Alarm));
        Ok(())
    }

    fn ask(&mut self, myself: &ActorRef<Message>, again: bool) {
        let Begin { context, shard, authority, .. } = self.begin.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            let cluster = &context.ports.cluster;
            let answer = if again { cluster.shard_reload(shard, authority).await } else { cluster.shard_adopt(shard, authority).await };
            if let Err(error) = &answer {
                tracing::warn!(%shard, %error, "a shard could not be read; asked again");
            }
            Message::Step(Input::Rows(answer))
        });
    }

    /// Starts a mailbox, with the memory and the hints of the actor that it replaces.
    async fn start(&mut self, myself: &ActorRef<Message>, row: OwnedMailbox, restarts: u32) -> Result<(), ActorProcessingErr> {
        let mailbox = row.mailbox.id;
        let before = self.mailboxes.remove(&mailbox);
        let (journal, slot) = before.map(|child| (child.journal, child.slot)).unwrap_or_default();
        let first = MailboxInput::Start { seeded: row.seeded, badge_dirty: row.badge_dirty, pending: row.pending || restarts > 0 };
        if restarts > 0 {
            journal.note(self.begin.context.ports.clock.now(), Entry::Restarted(restarts));
        }
        let begin = BeginMailbox {
            context: self.begin.context.clone(),
            row,
            authority: self.begin.authority,
            slot: slot.clone(),
            restarts,
            journal: journal.clone(),
        };
        let (actor, _) = Actor::spawn_linked(None, Watcher, begin, myself.get_cell()).await?;
        self.begin.directory.enter(self.begin.shard, mailbox, slot.clone(), actor.clone());
        self.by_actor.insert(actor.get_id(), mailbox);
        actor.cast(ToMailbox::Step(first))?;
        // A hint that woke the actor before may have found it dead.
        actor.cast(ToMailbox::Hinted)?;
        self.mailboxes.insert(mailbox, Child { actor, journal, slot });
        Ok(())
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
