//! The shell of a node: joins and beats in tasks, opens the gate, supervises one actor a shard.

mod moving;
mod opening;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use super::message::Message;
use super::state::{Effect, Ended, Input, Membership, Node};
use crate::alarm::Alarm;
use crate::context::Context;
use crate::ids::{Session, ShardId};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Beat, Incoming, Join, Joined, ShardSeen};
use crate::shard::actor::{Begin as BeginShard, Keeper};
use crate::shard::directory::Directory;
use crate::shard::message::Message as ToShard;
use crate::shard::state::Input as ShardInput;
use crate::snapshot::NodeState;
use crate::supervision::restart::Restarts;
use crate::task::Tasks;
use crate::telemetry::metrics;

/// What fails when a node cannot join.
const JOINING: &str = "joining";

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
    /// What this session joined; outlives a restart of the actor.
    pub joined: Arc<Mutex<Option<Membership>>>,
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
    /// What its actor was told last.
    seen: Seen,
    /// It was told to end.
    leaving: bool,
    /// None while it waits to be restarted.
    actor: Option<ActorRef<ToShard>>,
}

/// What the heartbeat says about a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Ours(ShardSeen),
    Incoming(Incoming),
}

impl Seen {
    fn input(self) -> ShardInput {
        match self {
            Self::Ours(seen) => ShardInput::Owned(seen),
            Self::Incoming(incoming) => ShardInput::Incoming { ready: incoming.ready },
        }
    }

    /// Whether it is told with every heartbeat: what was said to the store may have been lost.
    fn waits(self) -> bool {
        matches!(self, Self::Incoming(Incoming { ready: false, .. }))
    }
}

impl Actor for Member {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        let seed = begin.join.session.0.unsigned_abs();
        let joined = begin.joined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(State {
            machine: Node::new(seed, joined),
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
                state.tell(shard, ShardInput::Look);
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
                // It went, or it saw before us that the shard is not ours; the next heartbeat says whether it is again.
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
        let now = context.ports.clock.monotonic();
        if let Input::Beaten(sent, answer) = &input {
            self.tell_beat(answer);
            answer.iter().flatten().filter(|_| self.machine.shares()).for_each(|beat| context.ports.clock.correct(beat.latest(*sent, now)));
        }
        for effect in self.machine.step(now, input, &context.settings) {
            match effect {
                Effect::Join(replaces) => self.join(myself, replaces),
                Effect::Enter => self.enter(myself),
                Effect::Beat => self.beat(myself),
                Effect::Open(until, sending) => self.open(until, sending),
                Effect::Suspend => context.gate.suspend(),
                Effect::Shards(ours, incoming) => self.own(myself, ours, incoming).await?,
                Effect::Reclaim => self.reclaim(myself),
                Effect::SayReady(shards) => self.say_ready(myself, shards),
                Effect::HandOver(offered) => self.hand_over(myself, offered),
                Effect::Retake(shards) => self.retake(myself, shards),
                Effect::Given(shards) => {
                    tracing::info!(node = %self.begin.join.node, shards = shards.len(), "handed over");
                    shards.into_iter().for_each(|shard| self.tell(shard, ShardInput::Given));
                }
                Effect::Kept(shards) => shards.into_iter().for_each(|shard| self.tell(shard, ShardInput::Kept)),
                Effect::End(why) => {
                    // Whoever hears of the end asks at once whether this node joined, so that it has to leave.
                    self.remember();
                    self.end(why);
                }
            }
        }
        self.remember();
        self.alarm.set(now, self.machine.due(), myself, Message::Step(Input::Alarm));
        self.tell_standing(None);
        Ok(())
    }

    /// What a restart of this actor must know.
    fn remember(&self) {
        let mut joined = self.begin.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.as_ref() != self.machine.membership() {
            *joined = self.machine.membership().cloned();
        }
    }

    fn join(&mut self, myself: &ActorRef<Message>, replaces: Option<(Session, i64)>) {
        let (context, join) = (self.begin.context.clone(), Join { replaces, ..self.begin.join.clone() });
        self.tasks.run(myself, || Message::Vanished, async move {
            let answer = context.ports.cluster.join(&join).await;
            match &answer {
                Ok(Joined::Done { .. }) => {
                    context.works(JOINING);
                    tracing::info!(node = %join.node, "joined");
                }
                Ok(Joined::Over) => tracing::warn!(node = %join.node, "joined before, and was missed for so long that it was judged dead"),
                Ok(Joined::Occupied { .. }) => tracing::warn!(node = %join.node, "another process of this name may be alive; waiting"),
                Err(error) => {
                    if let Some(due) = context.failed(JOINING) {
                        tracing::error!(node = %join.node, %error, repeated = due.repeated, "the node cannot join, so that it watches nothing; tried again");
                    }
                }
            }
            Message::Step(Input::Joined(context.ports.clock.now(), answer))
        });
    }

    fn enter(&mut self, myself: &ActorRef<Message>) {
        let (context, join) = (self.begin.context.clone(), self.begin.join.clone());
        self.tasks.run(myself, || Message::Vanished, async move {
            Message::Step(Input::Entered(context.ports.cluster.enter(&join.node, join.session).await))
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
            Err(error @ StoreError::Unusable(_)) if !self.silent => {
                tracing::error!(%node, %error, "nothing is written or sent until a person helps; subscriptions are kept, and it is tried again");
            }
            Err(error) if !self.silent => {
                tracing::error!(%node, %error, "the heartbeat cannot be written; soon nothing is written or sent until it can");
            }
            Ok(Some(_)) if self.silent => tracing::info!(%node, "the heartbeat is written again"),
            _ => {}
        }
        self.silent = answer.is_err();
    }

    /// Starts the shards that are ours or are to become ours, ends the others, and passes on what changed about them.
    async fn own(&mut self, myself: &ActorRef<Message>, ours: Vec<ShardSeen>, incoming: Vec<Incoming>) -> Result<(), ActorProcessingErr> {
        let order: Vec<ShardId> = ours.iter().map(|seen| seen.shard).chain(incoming.iter().map(|incoming| incoming.shard)).collect();
        let incoming = incoming.into_iter().map(|incoming| (incoming.shard, Seen::Incoming(incoming)));
        let mut wanted: BTreeMap<ShardId, Seen> = incoming.chain(ours.into_iter().map(|seen| (seen.shard, Seen::Ours(seen)))).collect();
        let gone: Vec<ShardId> = self.shards.keys().filter(|shard| !wanted.contains_key(shard)).copied().collect();
        gone.into_iter().for_each(|shard| self.let_go(shard));
        // As the heartbeat tells them: those with users are read before those without.
        for (shard, seen) in order.into_iter().filter_map(|shard| Some((shard, wanted.remove(&shard)?))) {
            match self.shards.get_mut(&shard) {
                None => self.start(myself, shard, seen).await?,
                // It ends; if it is still wanted then, it begins anew.
                Some(child) if child.leaving => {}
                Some(child) => {
                    let told = child.seen == seen && !seen.waits();
                    child.seen = seen;
                    if !told {
                        self.tell(shard, seen.input());
                    }
                }
            }
        }
        Ok(())
    }

    async fn start(&mut self, myself: &ActorRef<Message>, shard: ShardId, seen: Seen) -> Result<(), ActorProcessingErr> {
        let begin = BeginShard {
            context: self.begin.context.clone(),
            directory: self.begin.directory.clone(),
            shard,
            session: self.begin.join.session,
            node: myself.clone(),
        };
        let (actor, _) = Actor::spawn_linked(None, Keeper, begin, myself.get_cell()).await?;
        self.by_actor.insert(actor.get_id(), shard);
        self.shards.insert(shard, Child { seen, leaving: false, actor: Some(actor) });
        self.tell(shard, seen.input());
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<Message>, shard: ShardId) {
        let Some(child) = self.shards.get_mut(&shard) else { return };
        if child.leaving {
            self.shards.remove(&shard);
            return;
        }
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
            Some(Child { seen, actor: None, .. }) => self.start(myself, shard, *seen).await,
            _ => Ok(()),
        }
    }

    fn tell(&self, shard: ShardId, input: ShardInput) {
        if let Some(Child { actor: Some(actor), .. }) = self.shards.get(&shard) {
            // One that just ended is told about by its supervision event.
            let _ = actor.cast(ToShard::Step(input));
        }
    }

    /// The shard neither is nor is to become ours. Its actor stays in the book until it ended: a successor must not meet it at the mail source.
    fn let_go(&mut self, shard: ShardId) {
        self.tell(shard, ShardInput::Gone);
        match self.shards.get_mut(&shard) {
            Some(child) if child.actor.is_some() => child.leaving = true,
            _ => drop(self.shards.remove(&shard)),
        }
    }

    fn end(&mut self, why: Ended) {
        self.begin.context.gate.close();
        let node = &self.begin.join.node;
        match &why {
            Ended::Drained => tracing::info!(%node, "drained: this node owns nothing any more"),
            why => tracing::error!(%node, ?why, "this session is over: nothing is written and nothing is sent any more"),
        }
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        shards.into_iter().for_each(|shard| self.let_go(shard));
        self.tell_standing(Some(why));
    }

    fn tell_standing(&self, ended: Option<Ended>) {
        let ours = self.shards.values().filter(|child| matches!(child.seen, Seen::Ours(_)) && !child.leaving);
        let (state, shards) = (self.machine.state(), u32::try_from(ours.count()).unwrap_or(u32::MAX));
        metrics::shards(f64::from(shards));
        metrics::gate_open(f64::from(u8::from(self.begin.context.gate.is_open())));
        self.begin.standing.send_modify(|standing| {
            let ended = ended.or_else(|| standing.ended.take());
            *standing = Standing { state, shards, ended };
        });
    }
}
