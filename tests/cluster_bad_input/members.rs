//! Nodes that must not join: of a name that is taken, with a clock that is wrong.

use std::time::Instant;

use crate::cluster::{Cluster, LONG, Plan, Standby};
use crate::node::process::Process;
use crate::refused::refused;
use crate::{assert_untouched, nodes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_of_one_name_ends_and_the_first_goes_on() {
    let plan = Plan { nodes: 1, users: 10, core: "", more: "", standby: Standby::None };
    let cluster = Cluster::start(&plan).await;
    let session = "SELECT session FROM node";
    let (before, owners, version) = (cluster.number(session).await, cluster.owners().await, cluster.assigned().await);
    refused(Process::serve(&cluster.nodes[0].config), 1, &["another process runs under this node's name", "`node.name` of its own"]).await;
    assert_eq!((cluster.number(session).await, cluster.owners().await), (before, owners));
    assert_eq!(cluster.assigned().await, version, "a shard changed hands");
    let since = Instant::now();
    cluster.fleet.users.iter().for_each(|user| cluster.deliver(user));
    assert!(cluster.pushed_again(&cluster.fleet.users, since, LONG).await, "{}", cluster.logs());
    let verdict = cluster.verdict().await;
    assert!(verdict.is_clean() && verdict.doubled == 0, "{verdict}\n{}", cluster.logs());
}

/// The database's clock is what this shifts: a node compares its machine's with that one, so either may be the wrong one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_an_hour_off_is_told_on_either_side() {
    let cluster = nodes(1, Standby::None).await;
    for (shift, side) in [("+ 3600000000", "behind the database's"), ("- 3600000000", "ahead of the database's")] {
        let clock = format!(
            "CREATE OR REPLACE FUNCTION now_micros() RETURNS bigint LANGUAGE sql VOLATILE AS \
             $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint {shift} $$"
        );
        cluster.server().sql(&cluster.database.name, &clock).await;
        refused(Process::serve(&cluster.nodes[0].config), 1, &["this machine's clock is ", side, "set the clock (NTP) and start again"])
            .await;
        assert_untouched(&cluster).await;
    }
}
