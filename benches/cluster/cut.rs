//! Nodes that live and cannot act: they stand still, or the way to the database is cut.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::proxy::Passage;
use crate::cluster::{Cluster, LONG, audit};
use crate::{Args, Outcome};

const CUT: Duration = Duration::from_secs(30);
/// A pause this short costs nobody his place.
const HARMLESS: Duration = Duration::from_secs(5);

/// A node stands still and goes on.
pub async fn stop(args: &Args, lasting: Duration) -> Outcome {
    let mut cluster = Cluster::start(&args.plan()).await;
    audit::install(cluster.server(), &cluster.database.name).await;
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    let place = cluster.follower().await;
    let before = cluster.owners().await;
    let users = before[&cluster.nodes[place].name].clone();
    let pid = cluster.nodes[place].process();
    pid.stop();
    let stopped = Instant::now();
    users.iter().for_each(|user| cluster.deliver(user));
    tokio::time::sleep_until((stopped + lasting).into()).await;
    let continued = Instant::now();
    cluster.nodes[place].process().signal(Signal::CONT);
    let all = cluster.pushed_again(&users, stopped, LONG).await;
    users.iter().for_each(|user| cluster.deliver(user));
    let again = cluster.pushed_again(&users, continued, LONG).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let last = cluster.last_again(&users, stopped);
    let (moved, _) = cluster.moved(&before, &[]).await;
    let late = cluster.simulators.apple().pushes_from(&cluster.nodes[place].apple.ports(), continued).len();
    let violations = audit::violations(&audit::lines(cluster.server(), &cluster.database.name).await);
    let (doubled, repeats) = (verdict.doubled, verdict.repeats);
    let mut outcome = Outcome::new(format!(
        "last of its {} users pushed {last:.1} s after it stopped, lost {}, doubled {doubled}, repeated {repeats}, moved {moved}, pushed by it after it went on {late}, stale commits {}",
        users.len(),
        verdict.lost_count,
        violations.len(),
    ));
    outcome.demand(all && again && verdict.lost_count == 0, "nothing is lost");
    outcome.demand(violations.is_empty(), &format!("one authority at a time: {:?}", violations.first()));
    if lasting <= HARMLESS {
        outcome.demand(moved == 0, "nobody moves");
    } else {
        outcome.demand(moved == users.len(), "its users move, and nobody else");
        outcome.demand(late == 0, "it pushes nothing of what was taken over");
    }
    outcome
}

/// A node does not reach the database for a while.
pub async fn cut(args: &Args, passage: Passage) -> Outcome {
    let cluster = Cluster::start(&args.plan()).await;
    audit::install(cluster.server(), &cluster.database.name).await;
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    let place = cluster.follower().await;
    let before = cluster.owners().await;
    let users = before[&cluster.nodes[place].name].clone();
    let at = Instant::now();
    cluster.nodes[place].set_database(passage);
    users.iter().for_each(|user| cluster.deliver(user));
    let all = cluster.pushed_again(&users, at, LONG).await;
    tokio::time::sleep_until((at + CUT).into()).await;
    // The gate closed T - margin after the last heartbeat that was answered; what was under way then took a moment to arrive.
    let late = cluster.simulators.apple().pushes_from(&cluster.nodes[place].apple.ports(), at + Duration::from_secs(7)).len();
    cluster.nodes[place].set_database(Passage::OPEN);
    cluster.delivered(250).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let last = cluster.last_again(&users, at);
    let (moved, _) = cluster.moved(&before, &[]).await;
    let violations = audit::violations(&audit::lines(cluster.server(), &cluster.database.name).await);
    let mut outcome = Outcome::new(format!(
        "last of its {} users pushed {last:.1} s after the cut, lost {}, doubled {}, repeated {}, moved {moved}, pushed by it after the gate {late}",
        users.len(),
        verdict.lost_count,
        verdict.doubled,
        verdict.repeats,
    ));
    outcome.demand(all && verdict.lost_count == 0, "nothing is lost");
    outcome.demand(last < 20.0, "the last is pushed again within 20 s");
    outcome.demand(moved == users.len(), "its users move, and nobody else");
    outcome.demand(late == 0, "it keeps silent");
    outcome.demand(violations.is_empty(), &format!("one authority at a time: {:?}", violations.first()));
    outcome
}
