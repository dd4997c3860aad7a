//! The load test as a program: simulators for a product in another process, and runs that judge it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use postrider_loadtest::control;
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::driver::{Caller, progress_bar};
use postrider_loadtest::run::{self, Plan};
use postrider_loadtest::simulators::{FaultLevel, Options, Ports, Simulators};
use tokio_util::sync::CancellationToken;

/// Where the remote control listens.
const CONTROL_PORT: u16 = 9447;

/// Simulates Exchange, an identity provider, Apple and Google, and judges what a product makes of it.
///
/// Exit codes: 0 clean; 1 something was lost, shown that should not be, or a rule was broken; 2 no verdict could be reached.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the simulators on the development ports and wait for Ctrl-C. http://127.0.0.1:9447/ says how to control them.
    Serve(Serve),
    /// Start the simulators, drive a product that is configured for them, and print the verdict.
    Run(Run),
}

#[derive(Args)]
struct World {
    /// Folder for certificates, keys and passwords; made up on first use, kept after.
    #[arg(long, default_value = "dev")]
    dir: PathBuf,
    /// Whether things go wrong.
    #[arg(long, value_enum, default_value = "none")]
    faults: FaultLevel,
    /// From which faults, phones and mail are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The product's coalescing window in milliseconds, by which lateness is judged.
    #[arg(long, default_value_t = 3_000)]
    window_ms: u64,
    /// Seconds between two signs of life on a quiet stream.
    #[arg(long, default_value_t = 45)]
    heartbeat: u64,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    world: World,
    /// Another host name in the servers' certificates, for a client that cannot be told another address than its provider's.
    #[arg(long)]
    name: Vec<String>,
    /// FCM names the field that it refuses, as it did in 2018; without this it gives its error code alone, as it does today.
    #[arg(long)]
    fcm_violations: bool,
    /// Make so many mailboxes user1@example.com, user2@example.com, ...
    #[arg(long, default_value_t = 10)]
    users: usize,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    world: World,
    /// The product's API.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    api: String,
    /// API key with which the phones are registered; without it each user registers with a token of the simulated identity provider.
    #[arg(long, env = "POSTRIDER_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// How many users.
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Their mail domain; the product must allow it.
    #[arg(long, default_value = "example.com")]
    domain: String,
    /// How many mails.
    #[arg(long, default_value_t = 1_000)]
    mails: u64,
    /// Mails a second, over all users.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds the product may take to watch all mailboxes.
    #[arg(long, default_value_t = 300)]
    live: u64,
    /// Seconds the last pushes may take.
    #[arg(long, default_value_t = 120)]
    settle: u64,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    postrider_loadtest::tls::install_provider();
    let cli = Cli::parse();
    let done = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(command(cli)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether the verdict is clean.
async fn command(cli: Cli) -> anyhow::Result<bool> {
    match cli.command {
        Command::Serve(serve) => self::serve(&serve).await.map(|()| true),
        Command::Run(run) => self::run(run).await,
    }
}

async fn start(world: &World, change: Options) -> anyhow::Result<Arc<Simulators>> {
    let dir: &Path = &world.dir;
    let credentials = Credentials::load_or_create(dir).with_context(|| format!("credentials in {}", dir.display()))?;
    let options = Options {
        seed: world.seed,
        faults: world.faults,
        ports: Ports::DEVELOPMENT,
        heartbeat: Duration::from_secs(world.heartbeat.max(1)),
        window: Duration::from_millis(world.window_ms),
        ..change
    };
    let simulators = Simulators::start_with(options, credentials).await.context("the simulators cannot listen")?;
    simulators.write_development_files(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    Ok(Arc::new(simulators))
}

async fn serve(serve: &Serve) -> anyhow::Result<()> {
    let change =
        Options { take_strangers: true, names: serve.name.clone(), fcm_names_violations: serve.fcm_violations, ..Options::default() };
    let simulators = start(&serve.world, change).await?;
    for number in 1..=serve.users {
        simulators.world().add_mailbox(&format!("user{number}@example.com"));
    }
    let summary = serde_json::to_string_pretty(simulators.endpoints())?;
    let control_address = SocketAddr::from(([127, 0, 0, 1], CONTROL_PORT));
    println!("{summary}\ncredentials: {}\ncontrol: http://{control_address}/", serve.world.dir.display());
    let cancel = CancellationToken::new();
    let controlling = tokio::spawn(control::serve(control_address, Arc::clone(&simulators), cancel.clone()));
    let mut controlling = std::pin::pin!(controlling);
    tokio::select! {
        ended = controlling.as_mut() => ended?.context("the remote control cannot listen")?,
        pressed = tokio::signal::ctrl_c() => pressed.context("no signals")?,
    }
    cancel.cancel();
    print!("{}", simulators.ledger().judge());
    Ok(())
}

async fn run(run: Run) -> anyhow::Result<bool> {
    let simulators = start(&run.world, Options::default()).await?;
    let plan = Plan {
        api: run.api,
        caller: run.admin_key.map_or(Caller::Users, Caller::ApiKey),
        seed: run.world.seed,
        users: run.users,
        domain: run.domain,
        mails: run.mails,
        rate: run.rate,
        variety: run.world.faults,
        live_deadline: Duration::from_secs(run.live),
        settle_deadline: Duration::from_secs(run.settle),
    };
    let bar = progress_bar("phones");
    let report = run::run(&plan, simulators, &bar).await?;
    if run.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.is_clean())
}
