//! A small world for tests: a store, a mail server, push providers and any number of nodes, all in stopped time.

use std::sync::Arc;
use std::time::Duration;

use super::clock::StoppedClock;
use super::memory::MemoryStore;
use super::scripted::{Mail, ScriptedMail, ScriptedPeers, ScriptedPush};
use crate::ids::{ItemId, MailboxId, NodeId, Session, Smtp, TenantId};
use crate::ports::cluster_store::Features;
use crate::ports::push_sender::{Provider, PushToken};
use crate::ports::registry_store::{Registered, Registration};
use crate::ports::{Clock, Ports, RegistryStore};
use crate::settings::{CUTOFF_DEFAULT, Settings};
use crate::shard::directory::Directory;
use crate::snapshot::{Control, Phase};
use crate::system::{Identity, System};
use crate::time::Timestamp;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a condition is waited for, in the test's stopped time.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);

/// The world.
#[derive(Clone)]
pub struct World {
    /// Its clock.
    pub clock: Arc<StoppedClock>,
    /// The clock that the core reads; the same unless a test makes it nervous.
    pub core_clock: Arc<dyn Clock>,
    /// Its database.
    pub store: MemoryStore,
    /// Its mail server.
    pub mail: ScriptedMail,
    /// Its push providers.
    pub push: ScriptedPush,
    /// Its nodes, as a direct probe finds them.
    pub peers: ScriptedPeers,
    /// What nodes are started with.
    pub settings: Settings,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty world. Wants a runtime whose time is stopped.
    #[must_use]
    pub fn new() -> Self {
        let clock = StoppedClock::new();
        Self {
            core_clock: clock.clone(),
            store: MemoryStore::new(clock.clone()),
            mail: ScriptedMail::new(clock.clone()),
            push: ScriptedPush::new(clock.clone()),
            peers: ScriptedPeers::default(),
            settings: Settings::default(),
            clock,
        }
    }

    /// What the wall clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A world whose database is shared by many nodes.
    #[must_use]
    pub fn cluster(shards: u16) -> Self {
        let mut world = Self::new();
        world.store = MemoryStore::cluster(world.clock.clone(), shards);
        world
    }

    /// Starts the node `one` in a process of the store's handle.
    ///
    /// # Panics
    /// When the root actor cannot be started.
    pub async fn node(&self, store: &MemoryStore, session: i64) -> System {
        self.named("one", store, session).await
    }

    /// Starts a node of that name, whose address is `http://<name>`, in a process of the store's handle.
    ///
    /// # Panics
    /// When the root actor cannot be started.
    pub async fn named(&self, name: &str, store: &MemoryStore, session: i64) -> System {
        let directory = Arc::new(Directory::default());
        let ports = self.ports(store, &directory);
        let identity = Identity {
            node: NodeId(Arc::from(name)),
            session: Session(session),
            version: "test".into(),
            features: Features::default(),
            addr: format!("http://{name}"),
            weight: 1,
        };
        System::start(ports, self.settings.clone(), identity, directory).await.expect("the root starts")
    }

    /// What a node of this world reaches the outside through.
    #[must_use]
    pub fn ports(&self, store: &MemoryStore, directory: &Arc<Directory>) -> Ports {
        let store = Arc::new(store.clone());
        Ports {
            clock: self.core_clock.clone(),
            mail: self.mail.source(directory.clone()),
            push: Arc::new(self.push.clone()),
            cluster: store.clone(),
            peers: Arc::new(self.peers.clone()),
            mailboxes: store.clone(),
            devices: store.clone(),
            deliveries: store.clone(),
            registry: store,
        }
    }

    /// Starts the first node.
    pub async fn start(&self) -> System {
        self.node(&self.store, 1).await
    }

    /// Registers a device with the default cut-off; its token is `<address>/<name>`.
    pub async fn register(&self, smtp: &str, name: &str) -> MailboxId {
        self.register_with(smtp, name, &format!("{smtp}/{name}"), CUTOFF_DEFAULT).await
    }

    /// Registers a device.
    ///
    /// # Panics
    /// When the store refuses it.
    pub async fn register_with(&self, smtp: &str, name: &str, token: &str, cutoff: Duration) -> MailboxId {
        let registration = Registration {
            tenant: tenant(),
            smtp: Smtp::new(smtp),
            name: name.to_owned(),
            provider: Provider::Apns,
            app: Arc::from("org.example.mail"),
            token: PushToken(token.into()),
            cutoff,
            create_mailbox: true,
        };
        match self.store.device_register(&registration, self.now()).await {
            Ok(Registered::Done { mailbox, .. }) => mailbox,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// A mailbox with one device, watched by a node just started, and quiet.
    pub async fn one(&self, smtp: &str) -> (System, MailboxId) {
        let mailbox = self.register(smtp, "phone").await;
        let system = self.start().await;
        self.until_live(&system, mailbox).await;
        (system, mailbox)
    }

    /// Waits until the mailbox is live.
    pub async fn until_live(&self, system: &System, mailbox: MailboxId) {
        self.until_phase(system, mailbox, Phase::Live).await;
    }

    /// Waits until the mailbox is in that phase.
    ///
    /// # Panics
    /// When it never is.
    pub async fn until_phase(&self, system: &System, mailbox: MailboxId, phase: Phase) {
        let reached = async {
            while system.mailbox(mailbox).await.is_none_or(|snapshot| snapshot.phase != phase) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("never {phase:?}: {:#?}", system.mailbox(mailbox).await);
        }
    }

    /// Waits until the condition holds.
    ///
    /// # Panics
    /// When it does not within four hours of the test's time.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let reached = async {
            while !holds() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("never came: {what}");
        }
    }

    /// Lets that much time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// An old mail that lies in the inbox before anybody watches it.
    pub fn put_old(&self, smtp: &str, age: Duration) -> ItemId {
        self.mail.put(smtp, Mail::at(self.now() - age))
    }
}

/// The tenant of this world.
#[must_use]
pub fn tenant() -> TenantId {
    TenantId(Arc::from("example"))
}
