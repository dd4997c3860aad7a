//! `sending`: pauses all pushes or allows them again, directly in the database, also while nodes run.

use clap::ValueEnum;
use serde_json::json;

use super::exit::Exit;
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider sending pause
  postrider sending allow

It holds for every company and every node on the database; nodes notice at their next heartbeat. What is not sent stays due until it expires.";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[arg(value_enum)]
    switch: Switch,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Where the switch is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// No push leaves.
    Pause,
    /// Pushes leave.
    Allow,
}

/// Puts the switch.
///
/// # Errors
/// Mistakes of the configuration, or what is wrong with the database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let (store, clock) = database::open(&config).await?;
    let allowed = args.switch == Switch::Allow;
    let switched = store.registry.sending_allow(allowed).await;
    if switched.is_ok() {
        database::noted(&*store.registry, &clock, if allowed { "sending allow" } else { "sending pause" }, "", true).await;
    }
    store.close().await;
    switched.map_err(|error| database::explained(&config, &error))?;
    if args.output.json {
        output::json(&json!({ "sendingAllowed": allowed }));
    } else {
        output::say(if allowed { "pushes may leave" } else { "all sending is paused" });
    }
    Ok(Exit::Done)
}
