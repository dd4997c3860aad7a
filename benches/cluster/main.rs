//! The stories of a cluster at full size, again and again: what each run measured, and whether it kept what was promised.

#[path = "../../tests/cluster/mod.rs"]
mod cluster;
#[path = "../../tests/node/mod.rs"]
mod node;
#[path = "../../tests/postgres/mod.rs"]
mod postgres;

mod cut;
mod database;
mod kill;
mod planned;
mod rest;

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use cluster::{LEVELLED_SOON, Plan, Standby};

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Story {
    /// kill -9 of one of three nodes that does not lead.
    KillFollower,
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of two of three nodes at once: the mass guard holds, then everybody is taken over.
    KillTwo,
    /// A node stands still for 3 s: nothing moves.
    Stop3,
    /// A node stands still for 7 s.
    Stop7,
    /// A node stands still for a minute and goes on.
    Stop60,
    /// What a node says to the database gets lost for half a minute.
    CutThere,
    /// What the database says to a node gets lost for half a minute.
    CutBack,
    /// Both.
    CutBoth,
    /// The database stops for half a minute.
    DatabaseStop,
    /// The primary is killed and a synchronous standby promoted.
    PromoteSync,
    /// The primary is killed and an asynchronous standby promoted that lost the last writes, a takeover among them.
    PromoteAsync,
    /// All nodes are restarted one by one, with a feature more.
    Rolling,
    /// 1,000 users are drained from a node.
    Drain,
    /// Transactions a second at rest with 100 and with 10,000 users.
    Rest,
}

/// Runs stories of a cluster at full size and says what was measured. Exit code 1: a promise was not kept.
#[derive(Debug, Parser)]
struct Args {
    /// What is to happen; everything if nothing is named.
    stories: Vec<Story>,
    /// How often kill-follower and kill-leader are run; the others once.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    #[arg(long, default_value_t = 3_000)]
    users: usize,
    /// Mails a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Leaves what the nodes said in this folder.
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a run came to.
struct Outcome {
    figures: String,
    mistakes: Vec<String>,
}

impl Outcome {
    fn new(figures: impl Into<String>) -> Self {
        Self { figures: figures.into(), mistakes: Vec::new() }
    }

    /// Notes a promise that was not kept.
    fn demand(&mut self, kept: bool, promise: &str) {
        if !kept {
            self.mistakes.push(promise.to_owned());
        }
    }
}

impl Args {
    fn plan(&self) -> Plan {
        Plan { nodes: 3, users: self.users, core: "", more: LEVELLED_SOON, standby: Standby::None }
    }

    fn runs_of(&self, story: Story) -> u32 {
        if matches!(story, Story::KillFollower | Story::KillLeader) { self.runs.max(1) } else { 1 }
    }
}

impl Story {
    async fn run(self, args: &Args) -> Outcome {
        match self {
            Self::KillFollower => kill::one(args, false).await,
            Self::KillLeader => kill::one(args, true).await,
            Self::KillTwo => kill::two(args).await,
            Self::Stop3 => cut::stop(args, Duration::from_secs(3)).await,
            Self::Stop7 => cut::stop(args, Duration::from_secs(7)).await,
            Self::Stop60 => cut::stop(args, Duration::from_secs(60)).await,
            Self::CutThere => cut::cut(args, cluster::proxy::Passage::MUTE).await,
            Self::CutBack => cut::cut(args, cluster::proxy::Passage::DEAF).await,
            Self::CutBoth => cut::cut(args, cluster::proxy::Passage::CUT).await,
            Self::DatabaseStop => database::stop(args).await,
            Self::PromoteSync => database::promote(args, Standby::Synchronous).await,
            Self::PromoteAsync => database::promote(args, Standby::Asynchronous).await,
            Self::Rolling => planned::rolling(args).await,
            Self::Drain => planned::drain(args).await,
            Self::Rest => rest::compare().await,
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    postrider_loadtest::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stories = if args.stories.is_empty() { Story::value_variants() } else { &args.stories };
    if let Some(folder) = &args.logs {
        cluster::keep::keep_logs(folder);
    }
    let mut broken = 0;
    let mut table = String::from("| story | run | seconds | promises | figures |\n|---|---|---|---|---|\n");
    for story in stories {
        let name = story.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let runs = args.runs_of(*story);
        for run in 1..=runs {
            let begun = Instant::now();
            // A story that fails in the middle is told, and the next one begins.
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(story.run(&args))));
            let outcome = outcome.unwrap_or_else(|_| Outcome {
                figures: "broken off".into(),
                mistakes: vec!["it did not come to its end; the reason is above".into()],
            });
            let kept = if outcome.mistakes.is_empty() { "kept" } else { "BROKEN" };
            println!("{name} {run}/{runs}: {}", outcome.figures);
            let _ = writeln!(table, "| {name} | {run}/{runs} | {} | {kept} | {} |", begun.elapsed().as_secs(), outcome.figures);
            for mistake in &outcome.mistakes {
                println!("  BROKEN {mistake}");
            }
            broken += outcome.mistakes.len();
        }
    }
    println!("\n{table}");
    println!("{}", if broken == 0 { "every promise was kept".to_owned() } else { format!("{broken} promises were not kept") });
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
