//! `device`: which devices a mailbox has.

use clap::Subcommand;

use super::admin::AdminArgs;
use super::exit::Exit;
use super::mailbox;
use super::output::{self, OutputArgs};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the devices of a mailbox with their last activity and cut-off; the tokens are never shown.
    List {
        /// The mailbox's primary SMTP address.
        address: String,
    },
}

/// Talks to the node.
///
/// # Errors
/// Not reachable, or refused.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let Action::List { address } = &args.action;
    mailbox::is_address(address)?;
    // The admin address serves what phones know about themselves only as a part of this answer.
    let mut answer = mailbox::look(&args.admin.connect()?, address).await?;
    let devices = serde_json::json!({ "devices": answer.get_mut("devices").map(serde_json::Value::take) });
    let items = devices["devices"].as_array().map_or(&[][..], Vec::as_slice);
    let columns = [
        ("device", "/device"),
        ("app", "/app"),
        ("provider", "/provider"),
        ("last activity (utc)", "/lastActivity"),
        ("cut-off (s)", "/pushDowngradeCutoffSec"),
    ];
    output::list(args.output, &devices, items, &columns, "no devices: the app has to register");
    Ok(Exit::Done)
}
