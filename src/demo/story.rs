//! The demo from beginning to end: a simulated company, a node, phones that register, mail that arrives, and the books at the end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use postrider_actors::snapshot::{Control as _, Phase};
use postrider_loadtest::arrivals::{Arrivals, Mix};
use postrider_loadtest::driver::{Caller, Driver};
use postrider_loadtest::fleet::{Fleet, FleetMix};
use postrider_loadtest::run::Report;
use postrider_loadtest::simulators::{FaultLevel, Options, Simulators};
use tokio_util::sync::CancellationToken;

use super::display::Display;
use super::setup::{self, Setup};
use crate::app::{MetricsText, Node};
use crate::config::Config;

/// How often the display is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// The longest a mailbox may take to become live.
const LIVE_DEADLINE: Duration = Duration::from_secs(600);
/// How long the last pushes are waited for.
const SETTLE: Duration = Duration::from_secs(60);
/// In a storm things go wrong again while the last pushes are on their way.
const SETTLE_STORM: Duration = Duration::from_secs(180);

/// Waits scaled down so that a storm of minutes shows what takes hours in the field.
const STORM: &str = r#"
[core]
reconcile = "15s"
poll = "5s"
retry_max = "5s"
park = "5s"
push_retry_max = "5s"
hold_content = "10s"
breaker_pause = "3s"
sweep = "2s"

[ews]
stream_silence = "5s"
busy_silence = "2s"
retry_limit = "5s"
call_deadline = "10s"

[autodiscover]
failure_refresh = "1s"

[push]
timeout = "5s"
"#;

/// What is shown.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Mailboxes, one user each.
    pub users: u32,
    /// Ends after this long, counted from when all mailboxes are live.
    pub duration: Option<Duration>,
    /// Ends after so many mails.
    pub mails: Option<u64>,
    /// Mails a second over all users.
    pub rate: f64,
    /// Whether things go wrong.
    pub faults: FaultLevel,
    /// From which phones, mail and faults are drawn.
    pub seed: u64,
    /// No display.
    pub quiet: bool,
}

/// Runs it and says what the books say.
///
/// # Errors
/// Why it could not be shown; losing mail is none, the report says it.
pub async fn run(plan: &Plan, metrics_text: MetricsText, stop: CancellationToken) -> anyhow::Result<Report> {
    let dir = tempdir().context("no folder for the demo's files can be made")?;
    let storm = plan.faults == FaultLevel::Storm;
    let simulators = Arc::new(simulators(plan).await.context("the simulators cannot be started")?);
    let config = configure(plan, &simulators, dir.path())?;
    let key = setup::admin_key(&config).await?;
    let node = Node::start(&config, metrics_text).await?;
    let api = format!("http://{}", node.public_address()?);
    let admin = format!("http://{}", node.admin_address()?);
    let system = node.system().clone();
    let node_stop = CancellationToken::new();
    let running = tokio::spawn(node.run(node_stop.clone()));

    let mut display = Display::new(plan.quiet);
    display.say(&format!("a node with {} simulated mailboxes; its API is at {api}, its metrics are at {admin}/metrics", plan.users));
    let driver = Driver::new(&api, Caller::ApiKey(key.expose().to_owned()), Arc::clone(&simulators))?;
    let fleet =
        Fleet::plan(plan.seed, plan.users as usize, "user", setup::DOMAIN, if storm { FleetMix::varied() } else { FleetMix::plain() });
    register(&driver, &fleet, &mut display, &stop).await?;
    let live = || system.node().mailboxes[Phase::Live as usize];
    let bar = display.steps("live", u64::from(plan.users));
    let began = Instant::now();
    // In a storm some mailbox is always on its way back: most of them is where it begins.
    let enough = if storm { plan.users - plan.users / 5 } else { plan.users };
    while live() < enough && !stop.is_cancelled() {
        anyhow::ensure!(
            began.elapsed() < LIVE_DEADLINE,
            "only {} of {} mailboxes became live in {} s",
            live(),
            plan.users,
            LIVE_DEADLINE.as_secs()
        );
        bar.set_position(u64::from(live()));
        tokio::time::sleep(FRAME).await;
    }

    let end = plan.duration.map(|duration| Instant::now() + duration);
    let arrivals = Arrivals {
        seed: plan.seed,
        users: fleet.users.clone(),
        mails: plan.mails.unwrap_or(u64::MAX),
        rate: plan.rate,
        mix: if storm { Mix::varied() } else { Mix::plain() },
    };
    let over = CancellationToken::new();
    let mail_over = over.clone();
    let world = Arc::clone(&simulators);
    let mut mail = tokio::spawn(async move { arrivals.run(world.world(), &mail_over, || {}).await });
    let using = driver.use_phones(&fleet.phones, &over);
    let showing = async {
        let mut frame = tokio::time::interval(FRAME);
        loop {
            frame.tick().await;
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            display.show(live(), plan.users, left, &simulators.ledger().snapshot());
            if left.is_some_and(|left| left.is_zero()) || mail.is_finished() || stop.is_cancelled() {
                break;
            }
        }
    };
    tokio::select! {
        () = async { using.await; std::future::pending().await } => {}
        () = showing => {}
    }
    over.cancel();
    let _ = (&mut mail).await;
    simulators.set_faults_active(false);
    display.say("no more mail comes; waiting for the last pushes");
    let verdict = simulators.ledger().verdict(if storm { SETTLE_STORM } else { SETTLE }).await;
    let forgotten_without_reason = driver.forgotten_without_reason(&fleet.phones).await;
    display.clear();
    node_stop.cancel();
    running.await??;
    Ok(Report { verdict, forgotten_without_reason })
}

/// Every phone registers, unless the demo is stopped meanwhile.
async fn register(driver: &Driver, fleet: &Fleet, display: &mut Display, stop: &CancellationToken) -> anyhow::Result<()> {
    let bar = display.steps("phones", fleet.phones.len() as u64);
    let mut registered = tokio::select! {
        registered = driver.register_all(&fleet.phones, &bar) => registered,
        () = stop.cancelled() => {
            display.clear();
            anyhow::bail!("stopped before the phones were registered");
        }
    };
    match registered.failures.pop() {
        Some(failure) => {
            anyhow::bail!("{} of {} phones were not registered: {failure}", fleet.phones.len() - registered.phones, fleet.phones.len())
        }
        None => Ok(()),
    }
}

async fn simulators(plan: &Plan) -> std::io::Result<Simulators> {
    let mut options = Options { seed: plan.seed, faults: plan.faults, ..Options::default() };
    if plan.faults == FaultLevel::Storm {
        options.heartbeat = Duration::from_secs(2);
        options.stream_minute = Duration::from_secs(1);
    }
    Simulators::start(options).await
}

fn configure(plan: &Plan, simulators: &Simulators, dir: &Path) -> anyhow::Result<Config> {
    let mut setup = Setup::new(dir);
    if plan.faults == FaultLevel::Storm {
        setup.more = STORM.to_owned();
        setup.oauth = true;
    }
    let file = setup.write(simulators).context("the demo's files cannot be written")?;
    let mut config = Config::load(&file)?;
    config.core.max_users = config.core.max_users.max(plan.users);
    Ok(config)
}

/// A folder that goes with the demo.
struct Folder(std::path::PathBuf);

impl Folder {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> std::io::Result<Folder> {
    let path = std::env::temp_dir().join(format!("postrider-demo-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&path)?;
    Ok(Folder(path))
}
