//! The shell of a node: joins and beats in tasks, opens the gate, supervises one actor a shard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use super::message::Message;
use super::state::{Effect, Ended, Input, Node};
use crate::alarm::Alarm;
use crate::context::Context;
use crate::ids::{Authority, Fence, ShardId};
use crate::mailbox::state::Input as MailboxInput;
use crate::ports::StoreError;
use crate::ports::cluster_store::{Beat, Join, Joined, ShardSeen};
use crate::shard::actor::{Begin as BeginShard, Keeper};
use crate::shard::directory::Directory;
use crate::shard::message::Message as ToShard;
use crate::shard::state::Input as ShardInput;
use crate::snapshot::NodeState;
use crate::supervision::restart::Restarts;
use crate::task::Tasks;
use crate::telemetry::metrics;

/// The actor; all it is lives in its state.
#[derive(Debug)]
pub struct Member;

/// What others see of a node while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: NodeState,
    /// Shards owned.
    pub shards: u32,
    /// Why its session is over, once it is.
    pub ended: Option<Ended>,
}

/// What a node actor begins with.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Shared by the node.
    pub context: Arc<Context>,
    /// Where mailboxes are entered.
    pub directory: Arc<Directory>,
    /// How the node joins.
    pub join: Join,
    /// Whether this session joined already; outlives a restart of the actor.
    pub joined: Arc<AtomicBool>,
    /// Where its standing is told.
    pub standing: Arc<watch::Sender<Standing>>,
}

/// The state of a node actor.
#[derive(Debug)]
pub struct State {
    begin: Begin,
    machine: Node,
    shards: BTreeMap<ShardId, Child>,
    by_actor: BTreeMap<ActorId, ShardId>,
    restarts: BTreeMap<ShardId, Restarts>,
    tasks: Tasks,
    alarm: Alarm,
    /// The last heartbeat could not be written, and that was told.
    silent: bool,
}

#[derive(Debug)]
struct Child {
    epoch: Fence,
    /// None while it waits to be restarted.
    actor: Option<ActorRef<ToShard>>,
}

impl Actor for Member {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        let seed = begin.join.session.0.unsigned_abs();
        Ok(State {
            machine: Node::new(seed, begin.joined.load(Ordering::Acquire)),
            begin,
            shards: BTreeMap::new(),
            by_actor: BTreeMap::new(),
            restarts: BTreeMap::new(),
            tasks: Tasks::default(),
            alarm: Alarm::default(),
            silent: false,
        })
    }

    async fn post_start(&self, myself: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.step(&myself, Input::Alarm).await
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Step(input) => state.step(&myself, input).await,
            Message::ShardChanged(shard) => {
                state.tell(shard, ShardInput::Changed(None));
                Ok(())
            }
            Message::Restart(shard) => state.restart(&myself, shard).await,
            Message::Vanished => Err("a task of the node ended without an answer".into()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                if let Some(shard) = state.by_actor.remove(&who.get_id()) {
                    metrics::restarts(metrics::Actor::Shard, 1);
                    tracing::error!(%shard, %error, "the actor of a shard failed; it is started again");
                    state.failed(&myself, shard);
                }
            }
            SupervisionEvent::ActorTerminated(who, ..) => {
                // It saw before us that the shard is not ours; the next heartbeat says whether it is again.
                if let Some(shard) = state.by_actor.remove(&who.get_id()) {
                    state.shards.remove(&shard);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl State {
    async fn step(&mut self, myself: &ActorRef<Message>, input: Input) -> Result<(), ActorProcessingErr> {
        let context = self.begin.context.clone();
        if let Input::Joined(Ok(Joined::Done { .. })) = input {
            self.begin.joined.store(true, Ordering::Release);
        }
        if let Input::Beaten(_, answer) = &input {
            self.tell_beat(answer);
        }
        let now = context.ports.clock.monotonic();
        for effect in self.machine.step(now, input, &context.settings) {
            match effect {
                Effect::Join => self.join(myself),
                Effect::Beat => self.beat(myself),
                Effect::Open(until, sending) => {
                    let closed = !context.gate.lets_pushes_out();
                    context.gate.open_until(until, sending);
                    if closed && context.gate.lets_pushes_out() {
                        self.begin.directory.tell_all(&MailboxInput::Reopened);
                    }
                    metrics::sending_allowed(f64::from(u8::from(sending)));
                }
                Effect::Shards(seen) => self.own(myself, seen).await?,
                Effect::End(why) => self.end(why),
            }
        }
        self.alarm.set(now, self.machine.due(), myself, Message::Step(Input::Alarm));
        self.tell_standing(None);
        Ok(())
    }

    fn join(&mut self, myself: &ActorRef<Message>) {
        let (context, join) = (self.begin.context.clone(), self.begin.join.clone());
        self.tasks.run(myself, || Message::Vanished, async move {
            let answer = context.ports.cluster.join(&join).await;
            match &answer {
                Ok(Joined::Done { .. }) => tracing::info!(node = %join.node, "joined"),
                Ok(Joined::Occupied { .. }) => tracing::warn!(node = %join.node, "another process of this name may be alive; waiting"),
                Err(error) => tracing::error!(node = %join.node, %error, "cannot join"),
            }
            Message::Step(Input::Joined(answer))
        });
    }

    fn beat(&mut self, myself: &ActorRef<Message>) {
        let (context, join) = (self.begin.context.clone(), self.begin.join.clone());
        let sent = context.ports.clock.monotonic();
        self.tasks.run(myself, || Message::Vanished, async move {
            let users = context.phases.total();
            let beat = context.ports.cluster.beat(&join.node, join.session, users);
            let late = |_| Err(StoreError::Unavailable("the heartbeat was not answered in time".into()));
            let answer = tokio::time::timeout(context.settings.heartbeat_deadline, beat).await.unwrap_or_else(late);
            let outcome = match &answer {
                Ok(Some(_)) => metrics::Outcome::Done,
                Ok(None) => metrics::Outcome::Stale,
                Err(_) => metrics::Outcome::Failed,
            };
            metrics::heartbeats(outcome, 1);
            metrics::heartbeat_seconds(context.ports.clock.monotonic().since(sent).as_secs_f64());
            Message::Step(Input::Beaten(sent, answer))
        });
    }

    /// Says once that heartbeats fail, and once that they are written again.
    fn tell_beat(&mut self, answer: &Result<Option<Beat>, StoreError>) {
        let node = &self.begin.join.node;
        match answer {
            Err(error) if !self.silent => {
                tracing::error!(%node, %error, "the heartbeat cannot be written; soon nothing is written or sent until it can");
            }
            Ok(Some(_)) if self.silent => tracing::info!(%node, "the heartbeat is written again"),
            _ => {}
        }
        self.silent = answer.is_err();
    }

    /// Starts the shards that are ours, stops those that are not, and passes on whose mailboxes changed.
    async fn own(&mut self, myself: &ActorRef<Message>, seen: Vec<ShardSeen>) -> Result<(), ActorProcessingErr> {
        let ours: BTreeMap<ShardId, ShardSeen> = seen.into_iter().map(|seen| (seen.shard, seen)).collect();
        let gone: Vec<ShardId> =
            self.shards.iter().filter(|(id, child)| ours.get(id).is_none_or(|seen| seen.epoch != child.epoch)).map(|(id, _)| *id).collect();
        for shard in gone {
            self.stop(shard);
        }
        for (shard, seen) in ours {
            if self.shards.contains_key(&shard) {
                self.tell(shard, ShardInput::Changed(Some(seen.change_seq)));
            } else {
                self.start(myself, shard, seen.epoch).await?;
            }
        }
        Ok(())
    }

    async fn start(&mut self, myself: &ActorRef<Message>, shard: ShardId, epoch: Fence) -> Result<(), ActorProcessingErr> {
        let begin = BeginShard {
            context: self.begin.context.clone(),
            directory: self.begin.directory.clone(),
            shard,
            authority: Authority { fence: epoch, session: self.begin.join.session },
        };
        let (actor, _) = Actor::spawn_linked(None, Keeper, begin, myself.get_cell()).await?;
        self.by_actor.insert(actor.get_id(), shard);
        self.shards.insert(shard, Child { epoch, actor: Some(actor) });
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<Message>, shard: ShardId) {
        let Some(child) = self.shards.get_mut(&shard) else { return };
        child.actor = None;
        let Begin { context, directory, .. } = &self.begin;
        // Those that are still ours when it is started again are watched anew.
        directory.strike_out(Some(shard)).into_iter().for_each(|mailbox| context.ports.mail.unwatch(mailbox));
        let delay = self.restarts.entry(shard).or_default().failed(context.ports.clock.monotonic(), &context.settings);
        self.tasks.run(myself, || Message::Vanished, async move {
            tokio::time::sleep(delay).await;
            Message::Restart(shard)
        });
    }

    async fn restart(&mut self, myself: &ActorRef<Message>, shard: ShardId) -> Result<(), ActorProcessingErr> {
        match self.shards.get(&shard) {
            Some(Child { epoch, actor: None }) => self.start(myself, shard, *epoch).await,
            _ => Ok(()),
        }
    }

    fn tell(&self, shard: ShardId, input: ShardInput) {
        if let Some(Child { actor: Some(actor), .. }) = self.shards.get(&shard) {
            // One that just ended is told about by its supervision event.
            let _ = actor.cast(ToShard::Step(input));
        }
    }

    fn stop(&mut self, shard: ShardId) {
        if let Some(Child { actor: Some(actor), .. }) = self.shards.remove(&shard) {
            self.by_actor.remove(&actor.get_id());
            let _ = actor.cast(ToShard::Step(ShardInput::Rows(Ok(None))));
        }
    }

    fn end(&mut self, why: Ended) {
        self.begin.context.gate.close();
        tracing::error!(node = %self.begin.join.node, ?why, "this session is over: nothing is written and nothing is sent any more");
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        shards.into_iter().for_each(|shard| self.stop(shard));
        self.tell_standing(Some(why));
    }

    fn tell_standing(&self, ended: Option<Ended>) {
        let (state, shards) = (self.machine.state(), u32::try_from(self.shards.len()).unwrap_or(u32::MAX));
        metrics::shards(f64::from(shards));
        metrics::gate_open(f64::from(u8::from(self.begin.context.gate.is_open())));
        self.begin.standing.send_modify(|standing| {
            let ended = ended.or_else(|| standing.ended.take());
            *standing = Standing { state, shards, ended };
        });
    }
}
