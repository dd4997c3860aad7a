//! `node`: empties a node before it is stopped; directly in the database, so that it does not matter which nodes can be reached.

use std::time::Duration;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use postrider_actors::ids::NodeId;
use postrider_actors::ports::cluster_store::Depth;
use postrider_actors::ports::{ClusterStore, StoreError};
use postrider_actors::snapshot::NodeState;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};
use crate::api::cluster::Cluster;

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// What is said when there is no receiver.
const NOBODY: &str =
    "nobody can take its users over, because no other node is GOOD: start one, or stop this one, and its users wait until a node runs";

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider node drain node-2 --wait && systemctl stop postrider@node-2

A node that drains hands its users over, each to a node that watches them before they are let go, and takes no new ones. When it has none left its process ends.
While no other node is GOOD nobody can take them over: it goes on serving them until one is started. The exit code is 1 if there is no such node that works, or if
it is not empty in time.";

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
    /// Hand all users of a node over to the others.
    Drain {
        /// The node's name.
        name: String,
        /// Wait until it is empty, with a progress bar of the users left.
        #[arg(long)]
        wait: bool,
        /// How long to wait at most.
        #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = crate::config::duration::parse)]
        deadline: Duration,
    },
}

/// Does it.
///
/// # Errors
/// Mistakes of the configuration, or what is wrong with the database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let (store, clock) = database::open(&config).await?;
    let Action::Drain { name, wait, deadline } = &args.action;
    let asked = ask(&*store.cluster, name).await;
    if !matches!(&asked, Err(error) if error.is::<StoreError>()) {
        database::noted(&*store.registry, &clock, "node drain", name, asked.is_ok()).await;
    }
    let done = match asked {
        Ok(()) => drain(&*store.cluster, args.output, name, wait.then_some(*deadline)).await,
        Err(error) => Err(error),
    };
    store.close().await;
    done.map_err(|error| match error.downcast::<StoreError>() {
        Ok(error) => database::explained(&config, &error),
        Err(other) => other,
    })
}

/// Tells the node to drain.
async fn ask(store: &dyn ClusterStore, name: &str) -> anyhow::Result<()> {
    if store.drain(&NodeId(name.into())).await? {
        return Ok(());
    }
    let text = format!("there is no node {name} that is GOOD or DRAINING; `postrider cluster status` shows them");
    Err(Failure::error(Exit::Failed, text))
}

/// Says how far it is, or waits for it.
async fn drain(store: &dyn ClusterStore, args: OutputArgs, name: &str, wait: Option<Duration>) -> anyhow::Result<Exit> {
    let seen = look(store, name).await?;
    let Some(deadline) = wait else {
        let Seen { left: Left { users, .. }, receivers } = seen;
        if args.json {
            output::json(&json!({ "node": name, "state": "DRAINING", "users": users, "receivers": receivers }));
        } else {
            let nobody = if receivers == 0 && users > 0 { format!("; {NOBODY}") } else { String::new() };
            output::say(&format!("{name} drains; {users} users to hand over (--wait waits for it){nobody}"));
        }
        return Ok(Exit::Done);
    };
    let bar = if args.json { ProgressBar::hidden() } else { bar() };
    if seen.receivers == 0 && seen.left.users > 0 {
        bar.suspend(|| eprintln!("{NOBODY}"));
    }
    let begun = std::time::Instant::now();
    let emptied = tokio::time::timeout(deadline, emptied(store, name, &bar)).await;
    bar.finish_and_clear();
    let Ok(emptied) = emptied else {
        let Seen { left: Left { users, .. }, receivers } = look(store, name).await?;
        let why = if receivers == 0 { format!(": {NOBODY}") } else { String::new() };
        let text = format!("{name} still has {users} users after {} s; it goes on draining{why}", deadline.as_secs());
        return Err(Failure::error(Exit::Failed, text));
    };
    let handed = emptied?;
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        output::json(&json!({ "node": name, "state": "DRAINING", "users": 0, "handedOver": handed, "seconds": seconds }));
    } else {
        output::say(&format!("{name} is empty: {handed} users handed over in {seconds:.1} s"));
    }
    Ok(Exit::Done)
}

/// Waits until the node owns no shard; a database that does not answer for a while is asked again. Says how many users were handed over.
async fn emptied(store: &dyn ClusterStore, name: &str, bar: &ProgressBar) -> Result<u64, StoreError> {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut most = 0;
    loop {
        looks.tick().await;
        let Seen { left: Left { users, shards }, receivers } = match look(store, name).await {
            Ok(seen) => seen,
            Err(StoreError::Unusable(why)) => return Err(StoreError::Unusable(why)),
            Err(error) => {
                bar.set_message(format!("the database does not answer: {error}"));
                continue;
            }
        };
        if shards == 0 {
            return Ok(most);
        }
        most = most.max(users);
        bar.set_length(most);
        bar.set_position(most - users);
        let nobody = if receivers == 0 { "; no other node is GOOD" } else { "" };
        bar.set_message(format!("{users} users in {shards} shards left{nobody}"));
    }
}

/// What a look at a draining node shows.
struct Seen {
    left: Left,
    /// Nodes that may take users over.
    receivers: usize,
}

/// What a node still owns.
#[derive(Clone, Copy, Default)]
struct Left {
    users: u64,
    shards: u32,
}

async fn look(store: &dyn ClusterStore, name: &str) -> Result<Seen, StoreError> {
    let nodes = Cluster::of(&store.view_for_people(Depth::Shards).await?).nodes;
    let receivers = nodes.iter().filter(|node| node.name != name && node.state == NodeState::Good.as_str()).count();
    let left = nodes.iter().find(|node| node.name == name).map(|node| Left { users: node.users, shards: node.shards });
    Ok(Seen { left: left.unwrap_or_default(), receivers })
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:40}] {pos}/{len} users handed over, {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postrider_actors::ids::Session;
    use postrider_actors::ports::cluster_store::{Features, Join};
    use postrider_actors::testing::memory::MemoryStore;

    use super::*;
    use crate::clock::SystemClock;

    const QUIET: OutputArgs = OutputArgs { json: true };

    async fn joined(store: &MemoryStore, name: &str, session: i64) {
        let join = Join {
            node: NodeId(name.into()),
            session: Session(session),
            weight: 1,
            max_users: 10,
            features: Features::parse("ews"),
            version: "1".into(),
            addr: String::new(),
            patience: Duration::ZERO,
            replaces: None,
        };
        store.join(&join).await.unwrap();
        assert!(store.enter(&join.node, join.session).await.unwrap());
    }

    #[tokio::test]
    async fn a_node_drains_and_is_waited_for_until_it_owns_nothing() {
        let store = MemoryStore::cluster(Arc::new(SystemClock::default()), 4);
        joined(&store, "a", 1).await;
        store.tamper(|model| model.shards.values_mut().for_each(|shard| shard.owner = Some(Session(1))));
        ask(&store, "a").await.unwrap();
        assert_eq!(drain(&store, QUIET, "a", None).await.unwrap(), Exit::Done);
        assert_eq!(store.view(Depth::Nodes).await.unwrap().nodes[0].state, NodeState::Draining);
        let late = drain(&store, QUIET, "a", Some(Duration::from_millis(1))).await.unwrap_err();
        assert!(Exit::of(&late) == Exit::Failed && late.to_string().contains("goes on draining: nobody can take its users over"), "{late}");
        store.tamper(|model| model.shards.values_mut().for_each(|shard| shard.owner = None));
        assert_eq!(drain(&store, QUIET, "a", Some(Duration::from_secs(60))).await.unwrap(), Exit::Done);
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_cannot_drain() {
        let store = MemoryStore::cluster(Arc::new(SystemClock::default()), 4);
        let refused = ask(&store, "nobody").await.unwrap_err();
        assert_eq!(Exit::of(&refused), Exit::Failed);
    }
}
