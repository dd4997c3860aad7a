//! The shell of placement: looks, takes leadership, commits and asks in tasks, tells operators.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

use super::leader::{Effect, Input, Leader};
use super::message::Message;
use super::report::Told;
use super::tell::Teller;
use crate::alarm::Alarm;
use crate::context::Context;
use crate::ids::{NodeId, Session};
use crate::node::actor::Standing;
use crate::ports::StoreError;
use crate::ports::cluster_store::{Depth, PlanCommit};
use crate::snapshot::NodeState;
use crate::task::Tasks;
use crate::telemetry::metrics;

/// The actor; all it is lives in its state.
#[derive(Debug)]
pub struct Placement;

/// What the placement actor begins with.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Shared by the node.
    pub context: Arc<Context>,
    /// The node's name.
    pub node: NodeId,
    /// The life of its process.
    pub session: Session,
    /// The version of the program.
    pub version: String,
    /// Where the node's standing is told.
    pub standing: Arc<watch::Sender<Standing>>,
}

/// The state of the placement actor.
#[derive(Debug)]
pub struct State {
    begin: Begin,
    machine: Leader,
    standing: watch::Receiver<Standing>,
    teller: Teller,
    /// A round that is told once its plan is committed.
    told: Option<Told>,
    tasks: Tasks,
    alarm: Alarm,
}

impl Actor for Placement {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        Ok(State {
            machine: Leader::new(begin.session),
            standing: begin.standing.subscribe(),
            teller: Teller::new(begin.version.clone(), begin.node.clone()),
            begin,
            told: None,
            tasks: Tasks::default(),
            alarm: Alarm::default(),
        })
    }

    async fn post_start(&self, myself: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.watch(&myself, NodeState::Joining);
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Step(input) => state.step(&myself, input),
            Message::Stands(standing) => {
                state.watch(&myself, standing);
                state.step(&myself, Input::Stands(standing));
            }
            Message::Over => state.step(&myself, Input::Stands(NodeState::Bad)),
            Message::Vanished => return Err("a task of placement ended without an answer".into()),
        }
        Ok(())
    }
}

impl State {
    /// Waits until the node stands elsewhere than it was known to.
    fn watch(&mut self, myself: &ActorRef<Message>, known: NodeState) {
        let mut standing = self.standing.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            match standing.wait_for(|standing| standing.state != known).await {
                Ok(standing) => Message::Stands(standing.state),
                Err(_) => Message::Over,
            }
        });
    }

    fn step(&mut self, myself: &ActorRef<Message>, input: Input) {
        let context = self.begin.context.clone();
        let now = context.ports.clock.monotonic();
        if let Input::Committed(answer) = &input {
            self.committed(answer);
        }
        let effects = self.machine.step(now, input, &context.settings);
        let took = context.ports.clock.monotonic().since(now);
        let commits = effects.iter().any(|effect| matches!(effect, Effect::Commit(_)));
        for effect in effects {
            match effect {
                Effect::Look(depth) => self.look(myself, depth),
                Effect::Lead(seen) => self.lead(myself, seen),
                Effect::Commit(plan) => self.commit(myself, plan),
                Effect::Ask(whom) => self.ask(myself, whom),
                Effect::Tell(told) => {
                    metrics::plan_seconds(took.as_secs_f64());
                    // What is decided is told when it is done.
                    if commits { self.told = Some(told) } else { self.teller.tell(&told, &context.settings) }
                }
                Effect::Leads(leads) => self.teller.leads(leads, context.ports.clock.now()),
            }
        }
        self.alarm.set(now, self.machine.due(), myself, Message::Step(Input::Alarm));
    }

    fn look(&mut self, myself: &ActorRef<Message>, depth: Depth) {
        let context = self.begin.context.clone();
        let sent = context.ports.clock.monotonic();
        self.tasks.run(myself, || Message::Vanished, async move {
            let late = StoreError::Unavailable("a look at the cluster was not answered in time".into());
            let answer = within(context.settings.placement.look_deadline, late, context.ports.cluster.view(depth)).await;
            Message::Step(Input::Seen(sent, answer))
        });
    }

    fn lead(&mut self, myself: &ActorRef<Message>, seen: Option<Session>) {
        let (context, session) = (self.begin.context.clone(), self.begin.session);
        self.tasks.run(myself, || Message::Vanished, async move {
            let late = StoreError::OutcomeUnknown("taking leadership was not answered in time".into());
            let answer = within(context.settings.placement.look_deadline, late, context.ports.cluster.lead(session, seen)).await;
            Message::Step(Input::Led(answer))
        });
    }

    fn commit(&mut self, myself: &ActorRef<Message>, plan: PlanCommit) {
        let context = self.begin.context.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            let late = StoreError::OutcomeUnknown("a plan was not answered in time".into());
            let answer = within(context.settings.placement.commit_deadline, late, context.ports.cluster.plan_commit(&plan)).await;
            Message::Step(Input::Committed(answer))
        });
    }

    fn ask(&mut self, myself: &ActorRef<Message>, whom: Vec<(Session, NodeId, String)>) {
        let context = self.begin.context.clone();
        self.tasks.run(myself, || Message::Vanished, async move {
            let deadline = context.settings.placement.probe_deadline;
            let answers = whom.into_iter().map(|(session, node, addr)| {
                let peers = context.ports.peers.clone();
                async move {
                    let answered = tokio::time::timeout(deadline, peers.probe(&addr)).await.unwrap_or(false);
                    tracing::warn!(%node, answered, "a node that seems dead together with others was asked directly");
                    (session, answered)
                }
            });
            Message::Step(Input::Asked(join_all(answers).await))
        });
    }

    /// Tells of a plan that was carried out. One that was refused, or whose outcome is not known, is looked at anew by the next round.
    fn committed(&mut self, answer: &Result<Option<i64>, StoreError>) {
        let (told, settings) = (self.told.take(), &self.begin.context.settings);
        let outcome = match answer {
            Ok(Some(_)) => metrics::Outcome::Done,
            Ok(None) => metrics::Outcome::Stale,
            Err(StoreError::OutcomeUnknown(_)) => metrics::Outcome::Unknown,
            Err(_) => metrics::Outcome::Failed,
        };
        metrics::plan_commits(outcome, 1);
        match (answer, told) {
            (Ok(Some(_)), Some(told)) => self.teller.tell(&told, settings),
            (Err(error), _) => tracing::warn!(%error, "a plan could not be committed; the cluster is looked at again"),
            _ => {}
        }
    }
}

/// Waits for an answer, but not beyond the deadline.
async fn within<T>(deadline: Duration, late: StoreError, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(deadline, call).await.unwrap_or(Err(late))
}
