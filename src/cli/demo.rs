//! `demo`: a node with simulated Exchange, Apple and Google inside, live on the terminal.

use std::time::Duration;

use anyhow::Context as _;
use postrider_loadtest::simulators::FaultLevel;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::serve::{signalled, start_metrics};
use crate::config::telemetry::{Format, Level, Telemetry};
use crate::demo::story::{self, Plan};

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider demo
  postrider demo --users 10000 --for 60s
  postrider demo --users 200 --mails 2000 --faults storm --seed 7";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Mailboxes to watch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,
    /// End after this long (such as 30s), counted from when all mailboxes are live; without it the demo runs until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::config::duration::parse)]
    pub duration: Option<Duration>,
    /// End after so many mails.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub mails: Option<u64>,
    /// Mails a second, over all users.
    #[arg(long, default_value_t = 20.0, value_parser = rate)]
    pub rate: f64,
    /// Whether servers misbehave: `storm` is everything that they are known to do, now and then.
    #[arg(long, value_enum, default_value = "none")]
    pub faults: FaultLevel,
    /// From which phones, mail and faults are drawn; the same seed draws the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the summary as JSON, and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Also write the node's log lines from this level on.
    #[arg(long, value_enum, default_value = "error")]
    pub log: LogLevel,
}

/// Levels of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What helps to find a mistake.
    Debug,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("takes mails a second from 0.01 to 10000".into()),
    }
}

/// Runs the demo.
///
/// # Errors
/// Why it could not run.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let level = match args.log {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    crate::telemetry::logs::init(&Telemetry { format: Format::Text, level }).map_err(|text| Failure::error(Exit::Usage, text))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    runtime.block_on(async {
        let metrics = start_metrics()?;
        let stop = CancellationToken::new();
        tokio::spawn(signalled(stop.clone()));
        let plan = Plan {
            users: args.users,
            duration: args.duration,
            mails: args.mails,
            rate: args.rate,
            faults: args.faults,
            seed: args.seed,
            quiet: args.json,
        };
        let report = story::run(&plan, metrics, stop).await?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        Ok(if report.verdict.lost_count > 0 {
            Exit::MailLost
        } else if report.is_clean() {
            Exit::Done
        } else {
            Exit::Failed
        })
    })
}
