//! One process of the product: what it says, what it answers, how it ends.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, prlimit, waitpid};
use serde_json::Value;

use super::{SOON, until};

/// So much of what a process says is kept.
const LOG_BYTES: usize = 1 << 20;
/// What nodes say of their authority is kept whatever else they say.
pub const ADOPTED: &str = ": adopted ";
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// A command of the product.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    plain(command.args(arguments));
    command
}

/// Without what the environment of the tests may say.
fn plain(command: &mut Command) -> &mut Command {
    command.env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null())
}

/// Runs a short command to its end.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program can be started")
}

/// A process that is killed when the test ends.
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    client: reqwest::Client,
}

impl Process {
    /// `serve` on a configuration.
    pub fn serve(config: &Path) -> Self {
        // A file that may not grow is to be an error there, and not a signal.
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_postrider"), "serve", "--config"]).arg(config);
        Self::start(plain(&mut shell))
    }

    pub fn start(command: &mut Command) -> Self {
        postrider_loadtest::tls::install_provider();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().expect("it is piped"), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                // The test's own looking would drown what happens.
                let wanted = kept.len() < LOG_BYTES && !line.contains("postrider::audit: admin call");
                if wanted || line.contains(ADOPTED) {
                    kept.push_str(&line);
                }
                line.clear();
            }
        });
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_DEADLINE).build().expect("a client");
        Self { child, log, reader: Some(reader), client }
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An address out of the line that says where it listens.
    fn address(&self, name: &str) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(" listening "))?;
        line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(|address| format!("http://{address}"))
    }

    /// The base address of its API.
    pub fn api(&self) -> String {
        self.address("api").unwrap_or_else(|| panic!("it does not listen:\n{}", self.log()))
    }

    /// The base address of its admin API.
    pub fn admin(&self) -> String {
        self.address("admin").unwrap_or_else(|| panic!("it does not listen:\n{}", self.log()))
    }

    /// Waits for a condition; fails with what the process said when it ends before, or when it takes too long.
    pub async fn until(&mut self, what: &str, mut condition: impl AsyncFnMut(&Self) -> bool) {
        let came = until(SOON, async || self.has_ended() || condition(self).await).await;
        assert!(came, "waited in vain for {what}:\n{}", self.log());
        assert!(!self.has_ended(), "it ended while {what} was awaited:\n{}", self.log());
    }

    /// Waits until it says where it listens.
    pub async fn listens(&mut self) {
        self.until("its addresses", async |node| node.address("admin").is_some()).await;
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&mut self) {
        self.until("readiness", async |node| {
            let Some(admin) = node.address("admin") else { return false };
            node.client.get(format!("{admin}/readyz")).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// How many mailboxes it has live, by its own account.
    pub async fn live_mailboxes(&self, key: &str) -> Option<u64> {
        self.ask("/v1/admin/node", key).await?.pointer("/mailboxes/live")?.as_u64()
    }

    /// What its admin API answers.
    pub async fn ask(&self, path: &str, key: &str) -> Option<Value> {
        let answer = self.client.get(format!("{}{path}", self.admin())).bearer_auth(key).send().await.ok()?;
        answer.json().await.ok()
    }

    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is ours");
    }

    /// `kill -STOP`; returns when all its threads stand still.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).expect("it is ours");
    }

    /// Lets it make no file larger than so many bytes, or any again; needs [`Process::serve`], which has it ignore SIGXFSZ.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).expect("it is ours");
    }

    /// `kill -9`, waited for.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    /// Waits until it ended by itself: its exit code, and all that it said.
    pub async fn ended(&mut self) -> (Option<i32>, String) {
        self.ended_within(SOON).await
    }

    /// The same where it may take longer.
    pub async fn ended_within(&mut self, deadline: std::time::Duration) -> (Option<i32>, String) {
        let ended = until(deadline, async || self.has_ended()).await;
        assert!(ended, "it does not end:\n{}", self.log());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not panic");
        }
        let status = self.child.wait().expect("it is ours");
        (status.code(), self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
