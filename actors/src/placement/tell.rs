//! Tells operators what placement saw and did: lines in CEF, warnings, metrics. Only the node that leads does.

use std::collections::BTreeMap;

use super::cef;
use super::report::{Fullness, Told};
use crate::ids::NodeId;
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::telemetry::metrics;
use crate::time::Timestamp;

/// What was told last, so that what lasts is told when it begins and when it ends.
#[derive(Debug)]
pub struct Teller {
    version: String,
    node: NodeId,
    unplaced: u64,
    stuck: bool,
    held: Vec<NodeId>,
}

impl Teller {
    /// Has told nothing so far.
    #[must_use]
    pub fn new(version: String, node: NodeId) -> Self {
        Self { version, node, unplaced: 0, stuck: false, held: Vec::new() }
    }

    /// This node leads from here on, or does not any more.
    pub fn leads(&mut self, leads: bool, now: Timestamp) {
        metrics::leading(f64::from(u8::from(leads)));
        let node = &self.node;
        if leads {
            metrics::leadership_changes(1);
            tracing::info!(%node, "this node leads: it places shards");
            line(&cef::leader(&self.version, now, node));
        } else {
            tracing::info!(%node, "another node leads");
            clear();
            *self = Self::new(std::mem::take(&mut self.version), node.clone());
        }
    }

    /// A planning round.
    pub fn tell(&mut self, told: &Told, settings: &Settings) {
        measure(told);
        if told.lines {
            for worker in &told.workers {
                line(&cef::worker(&self.version, told.now, worker, settings.placement.warn_percent));
            }
        }
        for node in &told.judged {
            tracing::error!(%node, "the node's heartbeat stood still: it is judged BAD and its shards are given to others");
        }
        for (reason, (shards, load)) in &told.moves {
            tracing::info!(reason = reason.as_str(), shards, load, "placed");
        }
        self.fuller(told);
        self.unplaced(told);
        self.held(told);
    }

    fn fuller(&self, told: &Told) {
        let facts: BTreeMap<&NodeId, (u64, u32, u64)> =
            told.workers.iter().map(|worker| (&worker.node, (worker.users, worker.capacity, worker.percent()))).collect();
        for (node, fullness) in &told.fuller {
            let (load, capacity, percent) = facts.get(node).copied().unwrap_or_default();
            match fullness {
                Fullness::Full => tracing::error!(%node, load, capacity, percent, "the node is full: add nodes"),
                Fullness::Nearly => tracing::warn!(%node, load, capacity, percent, "the node is nearly full"),
                Fullness::Room => tracing::info!(%node, load, capacity, percent, "the node has room again"),
            }
        }
    }

    fn unplaced(&mut self, told: &Told) {
        if told.unplaced != self.unplaced {
            let (shards, load) = (told.unplaced, told.unplaced_users);
            if shards > 0 {
                tracing::error!(
                    shards,
                    load,
                    "nobody has room or the features for these shards: their mailboxes are not watched until nodes are added"
                );
            } else {
                tracing::info!("every shard has an owner again");
            }
            line(&cef::unplaced(&self.version, told.now, shards, load));
            self.unplaced = told.unplaced;
        }
        if (told.stuck > 0) != self.stuck {
            self.stuck = told.stuck > 0;
            if self.stuck {
                tracing::warn!(shards = told.stuck, "a drain stands still: nobody has room or the features for what is left");
            } else {
                tracing::info!("the drain goes on");
            }
        }
    }

    fn held(&mut self, told: &Told) {
        if told.held == self.held {
            return;
        }
        let (nodes, held) = (names(&told.held), told.held.len());
        if held == 0 {
            tracing::info!("no node is doubted any more");
        } else {
            tracing::error!(nodes, held, "many nodes fell silent at once: they are given time and asked directly before they are judged");
        }
        if held > self.held.len() {
            metrics::guard_holds((held - self.held.len()) as u64);
        }
        line(&cef::guard(&self.version, told.now, &told.held));
        self.held.clone_from(&told.held);
    }
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(|node| &*node.0).collect::<Vec<&str>>().join(",")
}

/// One line in CEF; whoever collects them takes the target `cef`.
fn line(text: &str) {
    tracing::info!(target: "cef", "{text}");
}

fn measure(told: &Told) {
    for state in metrics::NODE_STATES {
        let count = told.workers.iter().filter(|worker| worker.state == state).count();
        metrics::cluster_nodes(state, count as f64);
    }
    let good = || told.workers.iter().filter(|worker| worker.state == NodeState::Good);
    let users: u64 = told.workers.iter().map(|worker| worker.users).sum::<u64>() + told.unplaced_users;
    metrics::cluster_users(users as f64);
    metrics::cluster_capacity(good().map(|worker| f64::from(worker.capacity)).sum());
    metrics::unplaced_shards(told.unplaced as f64);
    metrics::stuck_shards(told.stuck as f64);
    metrics::moves_under_way(told.under_way as f64);
    metrics::guard_held(told.held.len() as f64);
    metrics::nodes_judged(told.judged.len() as u64);
    for (reason, (shards, users)) in &told.moves {
        metrics::moved_shards(*reason, *shards);
        metrics::moved_users(*reason, *users);
    }
}

/// What only the leader knows is nothing elsewhere.
fn clear() {
    metrics::NODE_STATES.into_iter().for_each(|state| metrics::cluster_nodes(state, 0.0));
    for gauge in [
        metrics::cluster_users,
        metrics::cluster_capacity,
        metrics::unplaced_shards,
        metrics::stuck_shards,
        metrics::moves_under_way,
        metrics::guard_held,
    ] {
        gauge(0.0);
    }
}
