//! Several nodes as their operator has them: processes of their own on one PostgreSQL of the test's own, beside a simulated company, with ways in between that can be cut.
#![allow(dead_code, reason = "each story needs a part of it")]

pub mod audit;
pub mod keep;
pub mod measure;
pub mod proxy;
pub mod setup;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_loadtest::arrivals::{Arrivals, Mix};
use postrider_loadtest::driver::{Caller, Driver};
use postrider_loadtest::fleet::{Fleet, FleetMix};
use postrider_loadtest::ledger::Verdict;
use postrider_loadtest::simulators::{Options, Simulators};
use postrider_loadtest::world::MailSpec;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::node::process::{Process, run};
use crate::node::until;
use crate::postgres::{Database, Server};
use postrider::demo::setup::{DOMAIN, TENANT};
use proxy::{Passage, Proxy};
use setup::NodeConfig;

/// More than anything takes that is awaited here, on a busy machine.
pub const LONG: Duration = Duration::from_secs(180);

/// Load is levelled soon after the nodes came and again and again, so that a story need not wait minutes for its users to be spread; nothing that is measured takes part in it.
pub const LEVELLED_SOON: &str = "[placement]\nquiet = \"3s\"\ncooldown = \"1s\"\n";

/// The same, and every adoption is told in the log.
pub const TALKATIVE: &str = "[placement]\nquiet = \"3s\"\ncooldown = \"1s\"\n[telemetry]\nlevel = \"debug\"\n";

/// What a story begins with.
pub struct Plan {
    pub nodes: usize,
    pub users: usize,
    /// Further keys of every node's `[core]`.
    pub core: &'static str,
    /// Further sections of every node's configuration.
    pub more: &'static str,
    pub standby: Standby,
}

/// Whether a second database server follows the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standby {
    None,
    Asynchronous,
    /// Every commit waits for it.
    Synchronous,
}

/// One node: where it may be cut off, and its process while it runs.
pub struct Node {
    pub name: String,
    pub config: PathBuf,
    /// Its ways to the database servers, in the order of the URL's hosts.
    pub database: Vec<Proxy>,
    /// Its way to Apple.
    pub apple: Proxy,
    pub process: Option<Process>,
    /// Its processes that ended.
    pub former: Vec<Process>,
}

impl Node {
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    pub fn set_database(&self, passage: Passage) {
        self.database.iter().for_each(|way| way.set(passage));
    }

    /// `kill -9`, waited for.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill();
        self.former.push(process);
    }

    /// Another program: `[node]` says this in addition from its next start on.
    pub fn renew(&self, more: &str) {
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        std::fs::write(&self.config, text.replacen("[node]\n", &format!("[node]\n{more}\n"), 1)).expect("the folder can be written");
    }

    /// Everything that its processes said.
    pub fn log(&self) -> String {
        let all = self.former.iter().chain(&self.process);
        all.map(Process::log).collect::<Vec<_>>().join("\n-- the next process --\n")
    }
}

/// The whole.
pub struct Cluster {
    pub simulators: Arc<Simulators>,
    pub nodes: Vec<Node>,
    pub servers: Vec<Server>,
    pub database: Database,
    pub fleet: Fleet,
    /// Which of the servers takes writes.
    pub primary: usize,
    key: String,
    secrets: TempDir,
}

/// Mail on its way; it ends with this value.
pub struct Mail {
    stop: CancellationToken,
    task: JoinHandle<()>,
    _guard: DropGuard,
}

impl Mail {
    /// No more of it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("mail arrives");
    }
}

impl Cluster {
    /// Servers, simulators and nodes; everybody GOOD, all users registered, live and spread evenly.
    pub async fn start(plan: &Plan) -> Self {
        let mut cluster = Self::empty(plan).await;
        for place in 0..plan.nodes {
            cluster.run(place);
        }
        for place in 0..plan.nodes {
            cluster.nodes[place].process().ready().await;
        }
        cluster.staff(plan.users).await;
        cluster.balanced().await;
        cluster
    }

    /// Without a running node.
    pub async fn empty(plan: &Plan) -> Self {
        let primary = Server::new();
        let database = primary.database().await;
        let mut servers = vec![primary];
        if plan.standby != Standby::None {
            let standby = servers[0].standby("standby");
            if plan.standby == Standby::Synchronous {
                servers[0].sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
                servers[0].sql("postgres", "SELECT pg_reload_conf()").await;
            }
            servers.push(standby);
        }
        // A sign of life often: what listens to a stream finds out soon that it is dead.
        let options = Options { note_callers: true, heartbeat: Duration::from_secs(5), ..Options::default() };
        let simulators = Arc::new(Simulators::start(options).await.expect("the simulators start"));
        let secrets = tempfile::tempdir().expect("a folder");
        simulators.write_development_files(secrets.path()).expect("the folder can be written");
        let mut cluster =
            Self { simulators, nodes: Vec::new(), servers, database, fleet: Fleet::default(), primary: 0, key: String::new(), secrets };
        for number in 1..=plan.nodes {
            let node = cluster.node(&format!("node-{number}"), plan.core, plan.more).await;
            cluster.nodes.push(node);
        }
        cluster.command(0, &["migrate"]);
        cluster.key = cluster.administrator();
        cluster
    }

    /// A node of that name that does not run yet.
    pub async fn node(&self, name: &str, core: &str, more: &str) -> Node {
        let apple = self.simulators.endpoints().apns.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
        let apple = Proxy::to(apple).await;
        let mut database = Vec::new();
        for server in &self.servers {
            database.push(Proxy::to(server.port()).await);
        }
        let hosts: Vec<String> = database.iter().map(|way| format!("127.0.0.1:{}", way.port())).collect();
        let url = format!("postgres://postgres@{}/{}?sslmode=disable", hosts.join(","), self.database.name);
        let config = NodeConfig { name, secrets: self.secrets.path(), database: &url, apple: apple.port(), core, more };
        let config = config.write(&self.simulators);
        Node { name: name.into(), config, database, apple, process: None, former: Vec::new() }
    }

    fn administrator(&self) -> String {
        let made = self.command(0, &["key", "create", "--role", "admin", "--tenant", TENANT]);
        made.trim().to_owned()
    }

    /// Runs a command on a node's configuration: what it printed.
    pub fn command(&self, place: usize, arguments: &[&str]) -> String {
        let config = self.nodes[place].config.display().to_string();
        let output = run(&[arguments, &["--config", &config]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    /// Starts a node's process and says nothing about how it fares.
    pub fn run(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.former.extend(node.process.take());
        node.process = Some(Process::serve(&node.config));
    }

    /// Starts a node's process and waits until it is ready.
    pub async fn up(&mut self, place: usize) {
        self.run(place);
        self.nodes[place].process().ready().await;
    }

    /// Registers so many users' phones at all nodes in turn, and waits until their mailboxes are live.
    pub async fn staff(&mut self, users: usize) {
        // Apple's alone: by its connections it can be told who pushed.
        self.fleet = Fleet::plan(1, users, "user", DOMAIN, FleetMix { apple: 100, ..FleetMix::plain() });
        let (bar, share) = (indicatif::ProgressBar::hidden(), users.div_ceil(self.nodes.len()).max(1));
        for (place, phones) in self.fleet.phones.chunks(share).enumerate() {
            let node = self.nodes[place].process.as_ref().expect("it runs");
            let driver = Driver::new(&node.api(), Caller::ApiKey(self.key.clone()), Arc::clone(&self.simulators)).expect("a client");
            let registered = driver.register_all(phones, &bar).await;
            assert_eq!(registered.phones, phones.len(), "{:?}\n{}", registered.failures, node.log());
        }
        self.all_live().await;
    }

    /// Waits until the running nodes say that all mailboxes are live.
    pub async fn all_live(&mut self) {
        let users = self.fleet.users.len() as u64;
        let came = until(LONG, async || self.live().await == users).await;
        assert!(came, "{} of {users} are live\n{}", self.live().await, self.logs());
    }

    async fn live(&self) -> u64 {
        let mut live = 0;
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            live += process.live_mailboxes(&self.key).await.unwrap_or(0);
        }
        live
    }

    /// Waits until users are spread evenly over the nodes that are GOOD, and nothing moves.
    pub async fn balanced(&self) {
        let even = until(LONG, async || {
            let Some(status) = self.status().await else { return false };
            let users: Vec<u64> = good(&status).filter_map(|node| node["users"].as_u64()).collect();
            let mean = users.iter().sum::<u64>() as f64 / users.len().max(1) as f64;
            let idle = status["moves"].as_array().is_some_and(Vec::is_empty) && status["orphaned"] == 0;
            // Shards are of several users: one more or less does not matter.
            idle && users.len() == self.running() && users.iter().all(|users| (*users as f64 - mean).abs() <= mean * 0.06 + 3.0)
        });
        assert!(even.await, "{:#}\n{}", self.status().await.unwrap_or_default(), self.logs());
    }

    fn running(&self) -> usize {
        self.nodes.iter().filter(|node| node.process.is_some()).count()
    }

    /// What the admin API of any node says of the cluster.
    pub async fn status(&self) -> Option<Value> {
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            if let Some(status) = process.ask("/v1/admin/cluster", &self.key).await.filter(|status| status["nodes"].is_array()) {
                return Some(status);
            }
        }
        None
    }

    /// The place of the leader.
    pub async fn leader(&self) -> usize {
        let mut found = None;
        let came = until(LONG, async || {
            let leader = self.status().await.and_then(|status| status["leader"].as_str().map(str::to_owned));
            found = leader.and_then(|leader| self.nodes.iter().position(|node| node.name == leader));
            found.is_some()
        });
        assert!(came.await, "nobody leads\n{}", self.logs());
        found.expect("it was found")
    }

    /// The place of a node that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.nodes.len()).find(|place| *place != leader && self.nodes[*place].process.is_some()).expect("there is another")
    }

    /// Users by the name of the node that owns them in the table.
    pub async fn owners(&self) -> BTreeMap<String, Vec<String>> {
        let text = "SELECT n.node_id, m.smtp FROM mailbox m JOIN shard s USING (shard_id) JOIN node n ON n.session = s.owner_session ORDER BY m.smtp";
        let rows: Vec<(String, String)> =
            sqlx::query_as(text).fetch_all(&mut self.server().connect(&self.database.name).await).await.expect("it is up");
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (node, smtp) in rows {
            owners.entry(node).or_default().push(smtp);
        }
        owners
    }

    /// A number out of the database.
    pub async fn number(&self, text: &'static str) -> i64 {
        sqlx::query_scalar(text).fetch_one(&mut self.server().connect(&self.database.name).await).await.expect("it is up")
    }

    /// The server that takes writes.
    pub fn server(&self) -> &Server {
        &self.servers[self.primary]
    }

    /// Lets mail arrive for all users, by the side.
    pub fn mail(&self, rate: f64) -> Mail {
        let arrivals = Arrivals { seed: 1, users: self.fleet.users.clone(), mails: u64::MAX >> 8, rate, mix: Mix::plain() };
        let (simulators, stop) = (Arc::clone(&self.simulators), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move { arrivals.run(simulators.world(), &token, || {}).await });
        Mail { _guard: stop.clone().drop_guard(), stop, task }
    }

    /// One mail for one user.
    pub fn deliver(&self, user: &str) {
        self.simulators.world().deliver(user, MailSpec::new("Ann Baker", "One more", "It is for you.")).expect("the mailbox is there");
    }

    /// How long after that moment the first push was accepted.
    pub async fn first_push(&self, since: Instant) -> Duration {
        let ports: Vec<u16> = self.nodes.iter().flat_map(|node| node.apple.ports()).collect();
        let mut first = None;
        let came = until(LONG, async || {
            first = self.simulators.apple().pushes_from(&ports, since).into_iter().min();
            first.is_some()
        });
        assert!(came.await, "nothing is pushed\n{}", self.logs());
        first.expect("it came") - since
    }

    /// Waits until the books know of so many mails more.
    pub async fn delivered(&self, more: u64) {
        let wanted = self.simulators.ledger().snapshot().mails + more;
        assert!(until(LONG, async || self.simulators.ledger().snapshot().mails >= wanted).await, "mail does not arrive");
    }

    /// The books, closed when nothing is outstanding.
    pub async fn verdict(&self) -> Verdict {
        self.simulators.ledger().verdict(LONG).await
    }

    /// The committed history names one authority for each mailbox at a time.
    pub async fn assert_one_authority(&self) {
        let lines = audit::lines(self.server(), &self.database.name).await;
        assert!(!lines.is_empty(), "nothing was noted");
        assert_eq!(audit::violations(&lines), Vec::<String>::new());
    }

    /// Seconds from then until the last of these users was pushed a mail that came since; infinite if one was not.
    pub fn last_again(&self, users: &[String], since: Instant) -> f64 {
        let times = self.simulators.ledger().pushed_again(since, users.iter().map(String::as_str));
        times.iter().map(|time| time.map_or(f64::INFINITY, |time| time.as_secs_f64())).fold(0.0, f64::max)
    }

    /// Epochs and sessions that the logs of several processes say they adopted under.
    pub fn fences_of_several_processes(&self) -> BTreeMap<(String, String), Vec<String>> {
        let mut processes: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for node in &self.nodes {
            for (life, process) in node.former.iter().chain(&node.process).enumerate() {
                for adopted in measure::adoptions(&process.log()) {
                    processes.entry(adopted).or_default().push(format!("{} {life}", node.name));
                }
            }
        }
        assert!(!processes.is_empty(), "no log says what was adopted\n{}", self.logs());
        processes.values_mut().for_each(Vec::dedup);
        processes.retain(|_, processes| processes.len() > 1);
        processes
    }

    /// Writes a further configuration that is a node's with something replaced, which must be there.
    pub fn variant(&self, place: usize, name: &str, from: &str, to: &str) -> PathBuf {
        let text = std::fs::read_to_string(&self.nodes[place].config).expect("it was written");
        assert!(text.contains(from), "no {from} in\n{text}");
        let file = self.secrets.path().join(format!("{name}.toml"));
        std::fs::write(&file, text.replace(from, to)).expect("the folder can be written");
        file
    }

    /// What all nodes said.
    pub fn logs(&self) -> String {
        self.nodes.iter().map(|node| format!("== {} ==\n{}", node.name, node.log())).collect::<Vec<_>>().join("\n")
    }
}

/// The nodes that are GOOD.
pub fn good(status: &Value) -> impl Iterator<Item = &Value> {
    status["nodes"].as_array().into_iter().flatten().filter(|node| node["state"] == "GOOD")
}
