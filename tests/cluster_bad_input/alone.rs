//! A drain that nobody can take part in: the only node is told to give its users to the others.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::{Cluster, LONG, Plan, Standby};
use crate::node::process::run;
use crate::node::until;

const ALONE: Plan = Plan { nodes: 1, users: 10, core: "", more: "", standby: Standby::None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_node_keeps_its_users_until_it_is_stopped_and_says_that_nobody_takes_them() {
    let mut cluster = Cluster::start(&ALONE).await;
    let config = cluster.nodes[0].config.display().to_string();
    let drain = run(&["node", "drain", "node-1", "--wait", "--deadline", "3s", "--config", &config]);
    let said = String::from_utf8_lossy(&drain.stderr);
    assert_eq!(drain.status.code(), Some(1), "{said}");
    assert!(said.contains("still has 10 users") && said.contains("nobody can take its users over"), "{said}");
    let since = Instant::now();
    cluster.fleet.users.iter().for_each(|user| cluster.deliver(user));
    assert!(cluster.pushed_again(&cluster.fleet.users, since, LONG).await, "it serves them\n{}", cluster.logs());

    let stopping = Instant::now();
    cluster.nodes[0].process().signal(Signal::TERM);
    let (code, log) = cluster.nodes[0].process().ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(stopping.elapsed() < Duration::from_secs(20), "within its deadline: {:?}\n{log}", stopping.elapsed());
    assert!(log.contains("nobody can take users over"), "{log}");
    assert_eq!(cluster.number("SELECT count(*) FROM shard WHERE owner_session IS NOT NULL").await, 0);
    let verdict = cluster.verdict().await;
    assert!(verdict.is_clean() && verdict.doubled == 0, "{verdict}\n{log}");

    // Who waited is served by whoever comes.
    cluster.fleet.users.iter().for_each(|user| cluster.deliver(user));
    cluster.up(0).await;
    let verdict = cluster.verdict().await;
    assert!(verdict.lost_count == 0 && verdict.doubled == 0, "{verdict}\n{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drain_of_an_only_node_without_users_ends_at_once() {
    let mut cluster = Cluster::start(&Plan { users: 0, ..ALONE }).await;
    let owned = "SELECT count(*) FROM shard WHERE owner_session IS NOT NULL";
    assert!(until(LONG, async || cluster.number(owned).await > 0).await, "it owns shards\n{}", cluster.logs());
    let said = cluster.command(0, &["node", "drain", "node-1", "--wait", "--deadline", "30s"]);
    assert!(said.contains("node-1 is empty: 0 users"), "{said}");
    let (code, log) = cluster.nodes[0].process().ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(cluster.number("SELECT count(*) FROM node WHERE state = 'LEFT'").await, 1, "{log}");
    assert_eq!(cluster.number(owned).await, 0, "{log}");
}
