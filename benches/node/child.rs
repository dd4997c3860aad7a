//! The node in a process of its own, and the phones that registered with it.

use std::net::TcpListener;
use std::process::{Child as Process, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use postrider::config::Config;
use postrider::demo::setup::{self, Setup};
use postrider_loadtest::driver::{Caller, Driver, progress_bar};
use postrider_loadtest::fleet::{Fleet, FleetMix};
use postrider_loadtest::simulators::Simulators;
use tempfile::TempDir;

/// How long a node may take to answer its first request.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long all mailboxes may take to become live.
const LIVE: Duration = Duration::from_secs(600);
/// How often it is looked whether something came about.
const LOOK: Duration = Duration::from_millis(250);
/// Memory counts as settled when it moved by less than this share ...
const STILL: f64 = 0.002;
/// ... for so long.
const STILL_FOR: Duration = Duration::from_secs(6);
/// It is taken as it is after this.
const SETTLE: Duration = Duration::from_secs(60);

/// Processor time of this process so far.
pub fn own_work() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A running node; killed when dropped.
pub struct Child {
    process: Process,
    admin: String,
    http: reqwest::Client,
    driver: Driver,
    #[allow(dead_code, reason = "removed when dropped")]
    dir: TempDir,
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that ended by itself needs no killing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Child {
    /// Starts a node that watches the simulated world; `more` is added to its configuration.
    pub async fn start(simulators: &Arc<Simulators>, more: &str) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let (api, admin) = (free_port()?, free_port()?);
        let setup = Setup { listen: api, admin_listen: admin, more: more.to_owned(), ..Setup::new(dir.path()) };
        let file = setup.write(simulators)?;
        let key = setup::admin_key(&Config::load(&file)?).await?;
        let log = std::fs::File::create(dir.path().join("node.log"))?;
        let process = Command::new(env!("CARGO_BIN_EXE_postrider"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the node cannot be started")?;
        let driver = Driver::new(&format!("http://{api}"), Caller::ApiKey(key.expose().to_owned()), Arc::clone(simulators))?;
        let child = Self { process, admin: format!("http://{admin}"), http: reqwest::Client::new(), driver, dir };
        ensure!(child.driver.wait_healthy(HEALTHY).await, "the node does not answer: {}", child.log());
        Ok(child)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("node.log")).unwrap_or_default()
    }

    /// Registers one phone of Apple's for each of so many users, and waits until all are watched.
    pub async fn watch(&self, users: usize) -> anyhow::Result<Fleet> {
        let mix = FleetMix { apple: 100, ..FleetMix::plain() };
        let fleet = Fleet::plan(1, users, "user", setup::DOMAIN, mix);
        let bar = progress_bar("phones");
        let registered = self.driver.register_all(&fleet.phones, &bar).await;
        if let Some(failure) = registered.failures.first() {
            bail!("a phone was not registered: {failure}");
        }
        bar.set_prefix("live");
        bar.set_position(0);
        let began = Instant::now();
        loop {
            let live = self.live().await?;
            bar.set_position(live);
            if live >= users as u64 {
                bar.finish_and_clear();
                return Ok(fleet);
            }
            ensure!(began.elapsed() < LIVE, "only {live} of {users} mailboxes are live: {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many mailboxes are live, as the node's metrics say.
    async fn live(&self) -> anyhow::Result<u64> {
        let text = self.http.get(format!("{}/metrics", self.admin)).send().await?.error_for_status()?.text().await?;
        let line = text.lines().find(|line| line.starts_with("postrider_mailboxes{") && line.contains("\"live\""));
        let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<f64>().ok());
        Ok(value.unwrap_or(0.0) as u64)
    }

    /// Processor time so far (utime and stime of `/proc/PID/stat`, in hundredths of a second).
    pub fn work(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).context("the node ended")?;
        // The program's name, which may hold anything, ends with the last bracket; its state is the first field after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).context("no processor time");
        Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
    }

    /// Resident memory in KB (`VmRSS`).
    pub fn resident_kb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).context("the node ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Resident memory once it has come to rest.
    pub async fn settled_kb(&self) -> anyhow::Result<f64> {
        let began = Instant::now();
        let (mut since, mut reference) = (began, self.resident_kb()?);
        while since.elapsed() < STILL_FOR && began.elapsed() < SETTLE {
            tokio::time::sleep(LOOK).await;
            let seen = self.resident_kb()?;
            if (seen - reference).abs() > reference * STILL {
                (since, reference) = (Instant::now(), seen);
            }
        }
        self.resident_kb()
    }
}

/// An address that was free a moment ago.
fn free_port() -> std::io::Result<std::net::SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
