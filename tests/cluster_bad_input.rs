//! What people get wrong about a cluster and its database: each time a message that says what to do, and nothing is acted on.

#[path = "bad_input/refused.rs"]
mod refused;

mod cluster;
mod node;
mod postgres;

#[path = "cluster_bad_input/alone.rs"]
mod alone;
#[path = "cluster_bad_input/database.rs"]
mod database;
#[path = "cluster_bad_input/encryption.rs"]
mod encryption;
#[path = "cluster_bad_input/members.rs"]
mod members;

use cluster::{Cluster, Plan, Standby};

/// So many nodes with their database; none of them runs.
async fn nodes(nodes: usize, standby: Standby) -> Cluster {
    Cluster::empty(&Plan { nodes, users: 0, core: "", more: "", standby }).await
}

/// Nobody beat, nothing is owned, nothing was sent.
async fn assert_untouched(cluster: &Cluster) {
    for text in [
        "SELECT count(*) FROM node WHERE state NOT IN ('LEFT', 'BAD') OR hb_seq > 0",
        "SELECT count(*) FROM shard WHERE owner_session IS NOT NULL OR target_session IS NOT NULL",
        "SELECT count(*) FROM assign_log",
        "SELECT count(*) FROM cluster WHERE leader_session IS NOT NULL",
    ] {
        assert_eq!(cluster.number(text).await, 0, "{text}");
    }
    let ports: Vec<u16> = cluster.nodes.iter().flat_map(|node| node.apple.ports()).collect();
    assert_eq!(ports, Vec::<u16>::new(), "somebody reached for Apple");
}
