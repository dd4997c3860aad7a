//! What an operator does at noon: restarts all nodes, empties one.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::measure::LEFT;
use crate::cluster::{Cluster, LONG, Plan};
use crate::{Args, Outcome};

/// A mailbox is never without a stream for longer.
const GAP: Duration = Duration::from_secs(2);
const DRAINED: usize = 1_000;

/// Every node in turn: SIGTERM, a newer program that can more, GOOD again; then the feature is required.
pub async fn rolling(args: &Args) -> Outcome {
    let mut cluster = Cluster::start(&args.plan()).await;
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    cluster.simulators.exchange().restart_coverage();
    let assigned = cluster.assigned().await;
    let begun = Instant::now();
    let mut stops = Vec::new();
    for place in 0..cluster.nodes.len() {
        let stopping = Instant::now();
        cluster.nodes[place].process().signal(Signal::TERM);
        let (code, log) = cluster.nodes[place].process().ended_within(LONG).await;
        assert_eq!(code, Some(0), "{log}");
        stops.push(format!("{:.1} s", stopping.elapsed().as_secs_f64()));
        cluster.nodes[place].renew("features = [\"renewed\"]");
        cluster.up(place).await;
    }
    cluster.command(0, &["cluster", "require", "renewed"]);
    cluster.all_live().await;
    cluster.delivered(250).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let coverage = cluster.simulators.exchange().coverage(GAP);
    let released: i64 = cluster.moved_for(LEFT, assigned).await.values().sum();
    let mut outcome = Outcome::new(format!(
        "took {:.0} s (stopped in {}), users not taken over in time {released}, lost {}, doubled {}, repeated {}, longest without a stream {:.2} s, mailboxes without one for more than 2 s {}",
        begun.elapsed().as_secs_f64(),
        stops.join(", "),
        verdict.lost_count,
        verdict.doubled,
        verdict.repeats,
        coverage.longest_ms as f64 / 1_000.0,
        coverage.over,
    ));
    outcome.demand(verdict.lost_count == 0, "nothing is lost");
    outcome.demand(coverage.over == 0, &format!("no mailbox without an open stream for more than 2 s: {:?}", coverage.worst.first()));
    outcome
}

/// One of two nodes with 1,000 users each.
pub async fn drain(args: &Args) -> Outcome {
    let cluster = Cluster::start(&Plan { nodes: 2, users: 2 * DRAINED, ..args.plan() }).await;
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    cluster.simulators.exchange().restart_coverage();
    let place = cluster.follower().await;
    let name = cluster.nodes[place].name.clone();
    let users = cluster.owners().await.get(&name).map_or(0, Vec::len);
    let begun = Instant::now();
    cluster.command(1 - place, &["node", "drain", &name, "--wait", "--deadline", "180s"]);
    let took = begun.elapsed();
    cluster.delivered(250).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let coverage = cluster.simulators.exchange().coverage(GAP);
    let mut outcome = Outcome::new(format!(
        "{users} users in {:.1} s, lost {}, doubled {}, repeated {}, longest without a stream {:.2} s",
        took.as_secs_f64(),
        verdict.lost_count,
        verdict.doubled,
        verdict.repeats,
        coverage.longest_ms as f64 / 1_000.0,
    ));
    outcome.demand(took <= Duration::from_secs(60), "it is empty within 60 s");
    outcome.demand(verdict.lost_count == 0, "nothing is lost");
    outcome.demand(coverage.over == 0, &format!("no mailbox without an open stream for more than 2 s: {:?}", coverage.worst.first()));
    outcome
}
