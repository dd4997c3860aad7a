//! The lives of a node in one process: when the others judged it dead, it drops everything and joins again as a new session.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{MailboxId, NodeId, Session, ShardId};
use postrider_actors::node::state::Ended;
use postrider_actors::ports::Ports;
use postrider_actors::ports::cluster_store::Manner;
use postrider_actors::settings::Settings;
use postrider_actors::shard::directory::Directory;
use postrider_actors::snapshot::{Control, MailboxSnapshot, NodeSnapshot, NodeState};
use postrider_actors::system::{Identity, System};
use tokio::time::Instant;

use crate::app::StartError;

/// How long the first new life waits; doubled each time.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// A life that lasted so long begins the doubling anew.
const GOOD: Duration = Duration::from_secs(600);

/// What each life begins with, and the one that runs.
pub struct Lives {
    ports: Ports,
    settings: Settings,
    identity: Identity,
    directory: Arc<Directory>,
    control: Arc<Late>,
    system: System,
    began: Instant,
    wait: Duration,
}

impl Lives {
    /// Begins the first life.
    ///
    /// # Errors
    /// [`StartError::Core`], which is a bug.
    pub async fn begin(
        ports: Ports,
        settings: Settings,
        identity: Identity,
        directory: Arc<Directory>,
        control: Arc<Late>,
    ) -> Result<Self, StartError> {
        let system = start(&ports, &settings, &identity, &directory, &control).await?;
        Ok(Self { ports, settings, identity, directory, control, system, began: Instant::now(), wait: FIRST })
    }

    /// The core of the life that runs.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Waits until it is over for good, and says why. A session of a shared database that was replaced or judged dead is followed by another one, later each
    /// time; on an embedded database whoever took it over keeps it. May be dropped at any await.
    pub async fn ended(&mut self) -> Ended {
        loop {
            let ended = self.system.ended().await;
            if ended != Ended::Replaced || self.system.manner() != Some(Manner::Shared) {
                return ended;
            }
            // Its actors end and drop their subscriptions; nothing of it may be met by the next life.
            self.system.drain(Duration::ZERO).await;
            if self.began.elapsed() >= GOOD {
                self.wait = FIRST;
            }
            tracing::warn!(wait = ?self.wait, "this session was replaced or judged dead: the node joins again as a new one");
            tokio::time::sleep(self.wait).await;
            self.wait = (self.wait * 2).min(LONGEST);
            match start(&self.ports, &self.settings, &self.identity, &self.directory, &self.control).await {
                Ok(system) => self.system = system,
                Err(error) => {
                    tracing::error!(%error, "the core cannot be started again");
                    return Ended::Stopped;
                }
            }
            self.began = Instant::now();
        }
    }
}

async fn start(
    ports: &Ports,
    settings: &Settings,
    identity: &Identity,
    directory: &Arc<Directory>,
    control: &Late,
) -> Result<System, StartError> {
    let identity = Identity { session: Session(rand::random::<i64>() & i64::MAX), ..identity.clone() };
    let system = System::start(ports.clone(), settings.clone(), identity, directory.clone()).await;
    let system = system.map_err(|error| StartError::Core(error.to_string()))?;
    control.set(system.clone());
    Ok(system)
}

/// The core as the API sees it: not there before it is started, for the API is bound first, and another one in each life.
#[derive(Default)]
pub struct Late {
    system: RwLock<Option<System>>,
}

impl Late {
    fn set(&self, system: System) {
        *self.system.write().unwrap_or_else(PoisonError::into_inner) = Some(system);
    }

    fn system(&self) -> Option<System> {
        self.system.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Control for Late {
    fn shard_changed(&self, shard: ShardId) {
        if let Some(system) = self.system() {
            system.shard_changed(shard);
        }
    }

    fn node(&self) -> NodeSnapshot {
        let starting = || NodeSnapshot {
            node: NodeId("".into()),
            session: Session(0),
            state: NodeState::Joining,
            gate_open: false,
            sending_allowed: false,
            shards: 0,
            mailboxes: [0; 6],
        };
        self.system().map_or_else(starting, |system| system.node())
    }

    async fn mailbox(&self, mailbox: MailboxId) -> Option<MailboxSnapshot> {
        match self.system() {
            Some(system) => system.mailbox(mailbox).await,
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_actors::ports::cluster_store::Features;
    use postrider_actors::testing::world::World;

    use super::*;

    async fn begin(world: &World) -> (Lives, Arc<Late>) {
        let (directory, control) = (Arc::new(Directory::default()), Arc::new(Late::default()));
        let identity = Identity {
            node: NodeId("a".into()),
            session: Session(0),
            version: "test".into(),
            features: Features::default(),
            addr: String::new(),
            weight: 1,
        };
        let ports = world.ports(&world.store, &directory);
        let lives = Lives::begin(ports, world.settings.clone(), identity, directory, control.clone()).await.expect("the core starts");
        (lives, control)
    }

    /// The others judge the session of a node dead.
    fn judge(world: &World) {
        world.store.tamper(|model| model.nodes.values_mut().for_each(|row| row.state = NodeState::Bad));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_was_judged_dead_is_followed_by_another_one_later_each_time() {
        let world = World::cluster(4);
        let (mut lives, control) = begin(&world).await;
        let over = tokio::spawn(async move { lives.ended().await });
        let mut sessions = Vec::new();
        let began = Instant::now();
        for _ in 0..3 {
            world.until("it is GOOD", || control.node().state == NodeState::Good).await;
            sessions.push(control.node().session);
            judge(&world);
            world.until("it is over", || control.node().state != NodeState::Good).await;
        }
        world.until("it is GOOD again", || control.node().state == NodeState::Good).await;
        assert!(began.elapsed() >= Duration::from_secs(7), "{:?}", began.elapsed());
        sessions.dedup();
        assert_eq!(sessions.len(), 3, "a new session each time");
        assert!(!over.is_finished(), "the lives go on");
        over.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_follows_another_watches_what_is_its_own_as_the_first_did() {
        let world = World::cluster(4);
        world.register("ada@example.com", "phone").await;
        let (mut lives, control) = begin(&world).await;
        let over = tokio::spawn(async move { lives.ended().await });
        for life in 1..=2 {
            world.until("it watches the mailbox", || control.node().mailboxes[3] == 1).await;
            drop(world.mail.deliver("ada@example.com"));
            world.push.until_accepted(life).await;
            judge(&world);
            world.until("it is over", || control.node().state != NodeState::Good).await;
        }
        over.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn on_an_embedded_database_whoever_took_it_over_keeps_it() {
        let world = World::new();
        let (mut lives, control) = begin(&world).await;
        world.until("it is GOOD", || control.node().state == NodeState::Good).await;
        judge(&world);
        assert_eq!(lives.ended().await, Ended::Replaced);
    }
}
