//! `cluster`: nodes and their load, who moved whom, and what only an operator may decide; directly in the database, also while no node runs.

mod log;
mod painter;
mod status;

use std::time::Duration;

use clap::Subcommand;
use postrider_actors::ports::cluster_store::{Depth, Features};
use postrider_actors::ports::{ClusterStore, StoreError};
use postrider_actors::snapshot::NodeState;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};
use crate::config::node::is_feature;

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider cluster status
  postrider cluster status --watch
  postrider cluster status --json | jq '.nodes[] | select(.state == \"GOOD\") | .percent'
  postrider cluster log --limit 20
  postrider cluster require graph
  postrider cluster accept-database

Exit codes are those of `postrider --help`; `status` exits with 0 whatever state the cluster is in, with 3 when the database cannot be reached.
All sending is paused and allowed again by `postrider sending`, one node is emptied by `postrider node drain`.";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show nodes, users and capacity, the leader, shards without an owner, moves under way.
    Status {
        /// Show it again and again, until Ctrl-C; with --json one document a line.
        #[arg(long)]
        watch: bool,
        /// How long between two looks.
        #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = crate::config::duration::parse)]
        every: Duration,
    },
    /// Show who moved which shards to whom, when and why, newest first.
    Log {
        /// How many changes; shards that moved together are one.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Give shards only to nodes that have this feature, from here on and for ever: nodes without it are emptied.
    Require {
        /// Its name, as `cluster status` shows it.
        feature: String,
        /// Also where no node has it: then nobody is watched until one joins.
        #[arg(long)]
        force: bool,
    },
    /// Work with the database that the configuration names, though it is another one than before or an older copy; sending stays paused until `postrider sending allow`.
    AcceptDatabase,
}

/// Does it.
///
/// # Errors
/// Mistakes of the configuration, or what is wrong with the database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let (store, clock) = database::open(&config).await?;
    let done = match &args.action {
        Action::Status { watch: false, .. } => status::once(&*store.cluster, args.output).await,
        Action::Status { every, .. } => status::watch(&*store.cluster, args.output, (*every).max(Duration::from_millis(200))).await,
        Action::Log { limit } => log::show(&*store.cluster, args.output, *limit).await,
        Action::Require { feature, force } => {
            let done = require(&*store.cluster, args.output, feature, *force).await;
            if done.is_ok() {
                database::noted(&*store.registry, &clock, "cluster require", feature, true).await;
            }
            done
        }
        Action::AcceptDatabase => {
            let done = accept(&*store.cluster, args.output).await;
            if done.is_ok() {
                database::noted(&*store.registry, &clock, "cluster accept-database", "", true).await;
            }
            done
        }
    };
    store.close().await;
    done.map_err(|error| match error.downcast::<StoreError>() {
        Ok(error) => database::explained(&config, &error),
        Err(other) => other,
    })
}

async fn require(store: &dyn ClusterStore, args: OutputArgs, feature: &str, force: bool) -> anyhow::Result<Exit> {
    if !is_feature(feature) {
        let text = "a feature is at most 32 small letters, digits and hyphens, as `cluster status` shows them";
        return Err(Failure::error(Exit::Usage, text));
    }
    let view = store.view_for_people(Depth::Nodes).await?;
    let good: Vec<_> = view.nodes.iter().filter(|node| node.state == NodeState::Good).collect();
    let able = good.iter().filter(|node| node.features.cover(&Features::parse(feature))).count();
    if able == 0 && !force {
        let text = format!("no node that is GOOD has the feature {feature}: nobody would be watched (--force does it all the same)");
        return Err(Failure::error(Exit::Failed, text));
    }
    store.require(feature).await?;
    if args.json {
        output::json(&json!({ "required": feature, "nodes": good.len(), "able": able }));
    } else {
        output::say(&format!("{feature} is required; {able} of {} nodes have it, the others are emptied", good.len()));
    }
    Ok(Exit::Done)
}

async fn accept(store: &dyn ClusterStore, args: OutputArgs) -> anyhow::Result<Exit> {
    let history = store.accept_database().await?;
    let allowed = store.view_for_people(Depth::Leader).await?.sending_allowed;
    if args.json {
        output::json(&json!({ "systemId": &*history.system_id, "timeline": history.timeline, "sendingAllowed": allowed }));
    } else {
        output::say(&format!("database {} at timeline {} is accepted", history.system_id, history.timeline));
        if !allowed {
            output::say("all sending is paused; when you are sure that no other copy is at work: postrider sending allow");
        }
    }
    Ok(Exit::Done)
}
