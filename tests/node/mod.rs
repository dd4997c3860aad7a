//! A node as its operator has it: a process of its own, on a configuration file, beside a simulated world.
#![allow(dead_code, reason = "each story needs a part of it")]

pub mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postrider::config::Config;
use postrider::demo::setup::{self, Setup};
use postrider_loadtest::driver::{Caller, Driver};
use postrider_loadtest::fleet::{Fleet, FleetMix};
use postrider_loadtest::ledger::Verdict;
use postrider_loadtest::simulators::{Options, Simulators};
use postrider_loadtest::world::MailSpec;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;

use process::Process;

/// More than anything takes that is awaited here, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);
/// How often a value that cannot be awaited is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A simulated company with its folder: secrets, configuration, database.
pub struct World {
    pub simulators: Arc<Simulators>,
    pub folder: TempDir,
    pub config: PathBuf,
    key: String,
}

impl World {
    /// With these lines at the end of the node's configuration.
    pub async fn start(more: &str) -> Self {
        Self::with(Options::default(), more).await
    }

    pub async fn with(options: Options, more: &str) -> Self {
        Self::place(tempfile::tempdir().expect("a folder"), options, more).await
    }

    /// In a certain folder.
    pub async fn place(folder: TempDir, options: Options, more: &str) -> Self {
        let simulators = Arc::new(Simulators::start(options).await.expect("the simulators start"));
        let mut setup = Setup::new(folder.path());
        setup.more = more.to_owned();
        let key = Self::administrator(folder.path(), &simulators).await;
        let config = setup.write(&simulators).expect("the folder can be written");
        Self { simulators, folder, config, key }
    }

    /// Makes the database with an administrator's key, by a configuration without the mistakes that a test may have made.
    async fn administrator(folder: &Path, simulators: &Simulators) -> String {
        let plain = Setup::new(folder).write(simulators).expect("the folder can be written");
        let plain = Config::load(&plain).unwrap_or_else(|error| panic!("{error}"));
        setup::admin_key(&plain).await.expect("the database can be made").expose().to_owned()
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("postrider.db")
    }

    /// The node's database, for a look into it; waits a moment at most for others who write.
    pub async fn open_database(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(self.database()).busy_timeout(Duration::from_millis(200));
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("it is there")
    }

    /// An administrator's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Changes the text of the configuration; what is replaced must be there.
    pub fn rewrite(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        assert!(text.contains(from), "no {from} in\n{text}");
        std::fs::write(&self.config, text.replace(from, to)).expect("the folder can be written");
    }

    /// Starts a process and says nothing about how it fares.
    pub fn spawn(&self) -> Process {
        Process::serve(&self.config)
    }

    /// Starts a node and waits until it is ready.
    pub async fn node(&self) -> Process {
        let mut node = self.spawn();
        node.ready().await;
        node
    }

    pub fn driver(&self, node: &Process) -> Driver {
        Driver::new(&node.api(), Caller::ApiKey(self.key.clone()), Arc::clone(&self.simulators)).expect("a client")
    }

    /// Registers so many users' phones, one each, and waits until their mailboxes are live.
    pub async fn staff(&self, node: &mut Process, users: usize) -> Fleet {
        self.staff_with(node, users, users).await
    }

    /// The same where only so many can become live.
    pub async fn staff_with(&self, node: &mut Process, users: usize, live: usize) -> Fleet {
        let fleet = Fleet::plan(1, users, "user", setup::DOMAIN, FleetMix::plain());
        self.register(node, &fleet, live).await;
        fleet
    }

    /// Registers these phones and waits until so many mailboxes are live.
    pub async fn register(&self, node: &mut Process, fleet: &Fleet, live: usize) {
        let bar = indicatif::ProgressBar::hidden();
        let registered = self.driver(node).register_all(&fleet.phones, &bar).await;
        assert_eq!(registered.phones, fleet.phones.len(), "{:?}\n{}", registered.failures, node.log());
        self.all_live(node, live).await;
    }

    /// Waits until the node says that so many mailboxes are live.
    pub async fn all_live(&self, node: &mut Process, users: usize) {
        let text = format!("{users} live mailboxes");
        node.until(&text, async |node| node.live_mailboxes(&self.key).await == Some(users as u64)).await;
    }

    /// Waits until the books know of so many mails.
    pub async fn delivered(&self, mails: u64) {
        let enough = async || self.simulators.ledger().snapshot().mails >= mails;
        assert!(until(SOON, enough).await, "{:?}", self.simulators.ledger().snapshot());
    }

    /// One mail for one user.
    pub fn deliver(&self, user: &str) {
        self.simulators.world().deliver(user, MailSpec::new("Ann Baker", "One more", "It is for you.")).expect("the mailbox is there");
    }

    /// The books, closed when nothing is outstanding.
    pub async fn verdict(&self) -> Verdict {
        self.simulators.ledger().verdict(SOON).await
    }
}

/// Nothing was lost, doubled or shown to excess, and no rule was broken.
pub fn assert_clean(verdict: &Verdict, nodes: &[&Process]) {
    let logs = || nodes.iter().map(|node| node.log()).collect::<Vec<_>>().join("\n-- the next process --\n");
    assert!(verdict.is_clean(), "{verdict}\n{}", logs());
    assert_eq!((verdict.doubled, verdict.unknown_phones), (0, 0), "{verdict}\n{}", logs());
}

/// Waits for a condition; says whether it came in time.
pub async fn until(deadline: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let mut look = tokio::time::interval(LOOK);
    let holds = async {
        while !condition().await {
            look.tick().await;
        }
    };
    tokio::time::timeout(deadline, holds).await.is_ok()
}
