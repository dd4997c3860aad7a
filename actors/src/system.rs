//! The way in: start the core with its ports, wake it, look into it, drain it.

mod farewell;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::watch;

use crate::context::Context;
use crate::ids::{MailboxId, NodeId, Session, ShardId};
use crate::mailbox::message::Message as ToMailbox;
use crate::node::actor::{Begin as BeginNode, Member, Standing};
use crate::node::chores::{self, Chores};
use crate::node::message::Message as ToNode;
use crate::node::state::{Ended, Membership};
use crate::placement::actor::{Begin as BeginPlacement, Placement};
use crate::placement::message::Message as ToPlacement;
use crate::ports::Ports;
use crate::ports::cluster_store::{Features, Join};
use crate::settings::Settings;
use crate::shard::directory::Directory;
use crate::snapshot::{Control, MailboxSnapshot, NodeSnapshot, NodeState};
use crate::supervision::restart::Restarts;
use crate::telemetry::catalog::Label as _;
use crate::telemetry::metrics;
use crate::time::Monotonic;

/// How long an answer to a question from outside is waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The node's name.
    pub node: NodeId,
    /// This life of its process, drawn at random.
    pub session: Session,
    /// The version of the program.
    pub version: String,
    /// What it can do.
    pub features: Features,
    /// Where it answers a direct probe (`http://host:port`), empty if nowhere.
    pub addr: String,
    /// Its share of the load relative to the others.
    pub weight: u32,
}

/// The running core.
#[derive(Debug, Clone)]
pub struct System {
    context: Arc<Context>,
    directory: Arc<Directory>,
    identity: Identity,
    root: ActorRef<ToRoot>,
    standing: Arc<watch::Sender<Standing>>,
    joined: Arc<Mutex<Option<Membership>>>,
}

impl System {
    /// Starts the core. The mail source's hints go to `directory`, which was made before it.
    ///
    /// # Errors
    /// When the root actor cannot be started, which is a bug.
    pub async fn start(ports: Ports, settings: Settings, identity: Identity, directory: Arc<Directory>) -> Result<Self, SpawnErr> {
        directory.begin();
        let context = Context::new(ports, settings);
        let standing = Arc::new(watch::Sender::new(Standing { state: NodeState::Joining, shards: 0, ended: None }));
        let join = Join {
            node: identity.node.clone(),
            session: identity.session,
            weight: identity.weight,
            max_users: context.settings.max_users,
            features: identity.features.clone(),
            version: identity.version.clone(),
            addr: identity.addr.clone(),
            patience: context.settings.observe_dead,
            replaces: None,
        };
        let joined = Arc::<Mutex<_>>::default();
        let node =
            BeginNode { context: context.clone(), directory: directory.clone(), join, joined: joined.clone(), standing: standing.clone() };
        let chores = chores::Begin { context: context.clone(), directory: directory.clone(), session: identity.session };
        let placement = BeginPlacement {
            context: context.clone(),
            node: identity.node.clone(),
            session: identity.session,
            version: identity.version.clone(),
            standing: standing.clone(),
        };
        let (root, end) = Actor::spawn(None, Root, BeginRoot { node, chores, placement }).await?;
        let (gate, told) = (context.gate.clone(), standing.clone());
        tokio::spawn(async move {
            let _ = end.await;
            gate.close();
            told.send_modify(|standing| {
                let leaves = matches!(standing.state, NodeState::Draining | NodeState::Left);
                standing.state = if leaves { NodeState::Left } else { NodeState::Bad };
                standing.ended.get_or_insert(Ended::Stopped);
            });
        });
        Ok(Self { context, directory, identity, root, standing, joined })
    }

    /// Waits until this session is over, and says why.
    pub async fn ended(&self) -> Ended {
        let mut standing = self.standing.subscribe();
        // The sender lives in `self`: the channel cannot be closed.
        let ended = standing.wait_for(|standing| standing.ended.is_some()).await.ok().and_then(|standing| standing.ended.clone());
        ended.unwrap_or(Ended::Replaced)
    }

    /// Ends the core as the death of its process would: nothing is finished and nobody is told.
    #[cfg(any(test, feature = "testing"))]
    pub async fn kill(&self) {
        self.context.gate.close();
        let _ = self.root.kill_and_wait(None).await;
    }

    /// What the actors share, for tests and benches.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    fn tell_node(&self, message: ToNode) {
        // A root that ended has nobody to tell.
        let _ = self.root.cast(ToRoot::Node(message));
    }
}

#[async_trait]
impl Control for System {
    fn shard_changed(&self, shard: ShardId) {
        self.tell_node(ToNode::ShardChanged(shard));
    }

    fn node(&self) -> NodeSnapshot {
        let standing = self.standing.borrow().clone();
        NodeSnapshot {
            node: self.identity.node.clone(),
            session: self.identity.session,
            state: standing.state,
            gate_open: self.context.gate.is_open(),
            sending_allowed: self.context.gate.sending_allowed(),
            shards: standing.shards,
            mailboxes: self.context.phases.counts(),
        }
    }

    async fn mailbox(&self, mailbox: MailboxId) -> Option<MailboxSnapshot> {
        let actor = self.directory.find(mailbox)?;
        let answer = actor.call(ToMailbox::Inspect, Some(ANSWER)).await.ok()?;
        if let ractor::rpc::CallResult::Success(snapshot) = answer { Some(snapshot) } else { None }
    }
}

/// The root of the supervision tree: the node, its chores, its part in placement.
#[derive(Debug)]
struct Root;

#[derive(Debug)]
enum ToRoot {
    Node(ToNode),
    Restart(metrics::Actor),
}

/// What the children begin with.
#[derive(Debug)]
struct BeginRoot {
    node: BeginNode,
    chores: chores::Begin,
    placement: BeginPlacement,
}

#[derive(Debug)]
struct RootState {
    begin: BeginRoot,
    node: ActorRef<ToNode>,
    chores: ActorRef<chores::Message>,
    placement: ActorRef<ToPlacement>,
    restarts: BTreeMap<metrics::Actor, Restarts>,
    /// The runtime's own clock: nothing of the outside may make the root fail.
    began: tokio::time::Instant,
}

impl Actor for Root {
    type Msg = ToRoot;
    type State = RootState;
    type Arguments = BeginRoot;

    async fn pre_start(&self, myself: ActorRef<ToRoot>, begin: BeginRoot) -> Result<RootState, ActorProcessingErr> {
        let (node, _) = Actor::spawn_linked(None, Member, begin.node.clone(), myself.get_cell()).await?;
        let (chores, _) = Actor::spawn_linked(None, Chores, begin.chores.clone(), myself.get_cell()).await?;
        let (placement, _) = Actor::spawn_linked(None, Placement, begin.placement.clone(), myself.get_cell()).await?;
        Ok(RootState { begin, node, chores, placement, restarts: BTreeMap::new(), began: tokio::time::Instant::now() })
    }

    async fn handle(&self, myself: ActorRef<ToRoot>, message: ToRoot, state: &mut RootState) -> Result<(), ActorProcessingErr> {
        match message {
            // One that waits to be restarted hears it from the store.
            ToRoot::Node(message) => drop(state.node.cast(message)),
            ToRoot::Restart(child) => state.restart(myself, child).await?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ToRoot>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(who, error) = event else { return Ok(()) };
        let Some(child) = state.child(who.get_id()) else { return Ok(()) };
        let BeginNode { context, directory, .. } = &state.begin.node;
        if child == metrics::Actor::Node {
            directory.strike_out(None).into_iter().for_each(|mailbox| context.ports.mail.unwatch(mailbox));
        }
        let now = Monotonic(0) + state.began.elapsed();
        let delay = state.restarts.entry(child).or_default().failed(now, &context.settings);
        metrics::restarts(child, 1);
        tracing::error!(%error, actor = child.value(), "an actor under the root failed; it is started again");
        myself.send_after(delay, move || ToRoot::Restart(child));
        Ok(())
    }
}

impl RootState {
    /// Which child that is.
    fn child(&self, actor: ActorId) -> Option<metrics::Actor> {
        let children = [
            (self.node.get_id(), metrics::Actor::Node),
            (self.chores.get_id(), metrics::Actor::Chores),
            (self.placement.get_id(), metrics::Actor::Placement),
        ];
        children.into_iter().find(|(id, _)| *id == actor).map(|(_, child)| child)
    }

    async fn restart(&mut self, myself: ActorRef<ToRoot>, child: metrics::Actor) -> Result<(), SpawnErr> {
        let root = myself.get_cell();
        match child {
            metrics::Actor::Chores => self.chores = Actor::spawn_linked(None, Chores, self.begin.chores.clone(), root).await?.0,
            metrics::Actor::Placement => self.placement = Actor::spawn_linked(None, Placement, self.begin.placement.clone(), root).await?.0,
            _ => self.node = Actor::spawn_linked(None, Member, self.begin.node.clone(), root).await?.0,
        }
        Ok(())
    }
}
