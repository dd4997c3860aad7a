//! What three nodes ask of the database when nothing happens: it grows with nodes, not with users.

use std::time::Duration;

use crate::Outcome;
use crate::cluster::{Cluster, LEVELLED_SOON, Plan, Standby};

const MEASURED: Duration = Duration::from_secs(30);
/// After the last mailbox became live there is still something to be written behind.
const SETTLED: Duration = Duration::from_secs(15);
const FEW: usize = 100;
const MANY: usize = 10_000;

/// With few users and with many.
pub async fn compare() -> Outcome {
    let (few, many) = (transactions_per_second(FEW).await, transactions_per_second(MANY).await);
    let mut outcome = Outcome::new(format!("{few:.1} transactions a second with {FEW} users, {many:.1} with {MANY}"));
    outcome.demand(many <= few * 1.2 + 1.0, "a hundred times the users cost no more than a fifth");
    outcome
}

async fn transactions_per_second(users: usize) -> f64 {
    let cluster = Cluster::start(&Plan { nodes: 3, users, core: "", more: LEVELLED_SOON, standby: Standby::None }).await;
    tokio::time::sleep(SETTLED).await;
    let before = commits(&cluster).await;
    tokio::time::sleep(MEASURED).await;
    (commits(&cluster).await - before) as f64 / MEASURED.as_secs_f64()
}

/// The server counts a backend's commits when it is idle for a second; another database's connection does not count itself.
async fn commits(cluster: &Cluster) -> i64 {
    let mut connection = cluster.server().connect("postgres").await;
    let text = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1";
    sqlx::query_scalar(text).bind(&cluster.database.name).fetch_one(&mut connection).await.expect("it counts")
}
