//! `demo`: a node with simulated Exchange, Apple and Google inside, live on the terminal.

use std::time::Duration;

use super::exit::Exit;

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider demo
  postrider demo --users 10000 --for 60s
  postrider demo --for 30s --faults storm --seed 7";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Mailboxes to watch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,
    /// End after this long, counted from when all mailboxes are live; without it the demo runs until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::config::duration::parse)]
    pub duration: Option<Duration>,
}

/// Runs the demo.
///
/// # Errors
/// Why it could not run; lost mail ends with [`Exit::MailLost`].
pub fn run(_args: &Args) -> anyhow::Result<Exit> {
    anyhow::bail!("the parts of a node are not put together in this build")
}
