//! `serve`: runs a node until it is told to stop.

use anyhow::Context as _;

use super::ConfigArgs;
use super::exit::{Exit, Failure};
use crate::config::Config;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Reads the configuration, begins to log, and runs the node.
///
/// # Errors
/// Mistakes of the configuration (exit code 2), or why the node could not start or had to stop.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    crate::telemetry::logs::init(&config.telemetry).map_err(|text| Failure::error(Exit::Usage, text))?;
    runtime(&config)?.block_on(node(config))
}

/// The runtime that a node works on.
fn runtime(config: &Config) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.node.threads > 0 {
        builder.worker_threads(config.node.threads);
    }
    builder.enable_all().build().context("the runtime cannot be started")
}

/// The node itself.
async fn node(_config: Config) -> anyhow::Result<Exit> {
    anyhow::bail!("the parts of a node are not put together in this build")
}
