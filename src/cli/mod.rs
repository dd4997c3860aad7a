//! The command line: what an operator types, and what the program answers to people and to other programs.

pub mod admin;
pub mod audit;
pub mod check_config;
pub mod cluster;
pub mod database;
#[cfg(feature = "demo")]
pub mod demo;
pub mod device;
pub mod doctor;
pub mod exit;
pub mod key;
pub mod mailbox;
pub mod migrate;
pub mod node;
pub mod output;
pub mod sending;
pub mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::Config;
use exit::Exit;

/// Text below every `--help` of the program.
const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  it failed; the message says why
  2  the command line or the configuration has a mistake
  3  the node, its database or another server cannot be reached
  4  demo only: a mail was lost

Examples:
  postrider demo --for 30s
  postrider check-config --config /etc/postrider/postrider.toml
  postrider serve --config /etc/postrider/postrider.toml
  postrider doctor --user ada@example.com
  postrider mailbox why ada@example.com --key-file admin.key
  postrider cluster status --watch";

/// Watches Exchange mailboxes and tells phones when mail arrives.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long, global = true, env = "POSTRIDER_CONFIG", default_value = "postrider.toml", value_name = "FILE")]
    pub config: PathBuf,
}

impl ConfigArgs {
    /// Reads and checks it.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.config)?)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop (SIGTERM, SIGINT); SIGHUP reads the API's certificate again at once.
    Serve(serve::Args),
    /// Watch mails become pushes: a node with simulated Exchange, Apple and Google inside.
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Bring the database to this version's schema; `serve` does it by itself.
    Migrate(migrate::Args),
    /// Report every mistake in the configuration and open nothing.
    CheckConfig(check_config::Args),
    /// Try everything that one user's pushes need, step by step, and say what to do about what fails.
    Doctor(doctor::Args),
    /// Add, remove and look at mailboxes of a running node.
    Mailbox(mailbox::Args),
    /// Look at devices of a running node.
    Device(device::Args),
    /// Make, list and revoke API keys, directly in the database.
    Key(key::Args),
    /// Read the trail of who did what, directly in the database.
    Audit(audit::Args),
    /// Look at all nodes and their load, at who moved whom, and decide what only an operator may.
    Cluster(cluster::Args),
    /// Empty a node before it is stopped.
    Node(node::Args),
    /// Pause all pushes or allow them again, directly in the database.
    Sending(sending::Args),
}

/// Reads the command line, does what it says, and says how it went.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args),
        Command::Migrate(args) => block_on(migrate::run(&args)),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Doctor(args) => block_on(doctor::run(&args)),
        Command::Mailbox(args) => block_on(mailbox::run(&args)),
        Command::Device(args) => block_on(device::run(&args)),
        Command::Key(args) => block_on(key::run(&args)),
        Command::Audit(args) => block_on(audit::run(&args)),
        Command::Cluster(args) => block_on(cluster::run(&args)),
        Command::Node(args) => block_on(node::run(&args)),
        Command::Sending(args) => block_on(sending::run(&args)),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("postrider: {error:#}");
            Exit::of(&error).into()
        }
    }
}

/// Runs a short command to its end.
fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot be started")?.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
