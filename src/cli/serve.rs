//! `serve`: runs a node until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use postrider_actors::node::state::Ended;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::{ConfigArgs, database};
use crate::api::server::Reload;
use crate::app::{MetricsText, Node, StartError, Stopped};
use crate::config::Config;
use crate::telemetry::exporter::Exporter;

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
    if let Err(error) = crate::descriptors::raise() {
        tracing::warn!(%error, "the limit of file descriptors cannot be raised");
    }
    // No core dump and no other process of the same user shows the secrets that the memory holds.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process cannot be closed to other processes of its user");
    }
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

/// The node itself, until it is told to stop.
async fn node(config: Config) -> anyhow::Result<Exit> {
    let metrics = start_metrics()?;
    let stop = CancellationToken::new();
    tokio::spawn(signalled(stop.clone()));
    tokio::spawn(crate::descriptors::watch());
    // From here on it ends nothing, also before there is anything to be read again.
    let hung_up = signal(SignalKind::hangup()).context("SIGHUP cannot be listened to")?;
    let node = Node::start(&config, metrics).await.map_err(|error| match &error {
        StartError::Store(error) => database::explained(&config, error),
        _ => error.into(),
    })?;
    tracing::info!(api = %node.public_address()?, admin = %node.admin_address()?, "listening");
    tokio::spawn(reloaded(hung_up, node.reload()));
    match node.run(stop).await? {
        Stopped::Told | Stopped::Ended(Ended::Drained) => Ok(Exit::Done),
        Stopped::Ended(Ended::Replaced) => {
            Err(Failure::error(Exit::Failed, "another process took the database over; this one stopped acting at once"))
        }
        Stopped::Ended(Ended::Stopped) => Err(Failure::error(Exit::Failed, "the core ended by a bug; start the node again")),
        Stopped::Ended(Ended::Unusable(why)) => Err(Failure::error(Exit::Failed, why)),
    }
}

/// At each SIGHUP what can change without a restart is read again at once.
async fn reloaded(mut hung_up: Signal, reload: Reload) {
    while hung_up.recv().await.is_some() {
        tracing::info!("SIGHUP: the API's certificate, if it has one, is read again; everything else in the configuration takes a restart");
        reload.now();
    }
}

/// Begins to record metrics; gives the function that writes them out.
///
/// # Errors
/// When they are recorded already in this process.
pub fn start_metrics() -> anyhow::Result<MetricsText> {
    let exporter = Exporter::install()?;
    tokio::spawn(exporter.clone().upkeep());
    Ok(Arc::new(move || exporter.text()))
}

/// Cancels `stop` at the first SIGTERM or SIGINT; the second one ends the process at once.
pub async fn signalled(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals cannot be listened to: only SIGKILL stops this process");
        return;
    };
    for time in 0.. {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        if time > 0 {
            std::process::exit(Exit::Failed as i32);
        }
        stop.cancel();
    }
}
