//! Nodes that live and cannot act: they stand still, or the way to the database is cut.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::measure::FAILED;
use crate::cluster::proxy::Passage;
use crate::cluster::{Cluster, LONG, audit};
use crate::{Args, Outcome};

const CUT: Duration = Duration::from_secs(30);
/// A pause this short costs nobody his place: the others judge after 5 to 8 s.
const HARMLESS: Duration = Duration::from_secs(5);
/// After a pause this long the others have judged.
const FATAL: Duration = Duration::from_secs(8);

/// A node stands still and goes on.
pub async fn stop(args: &Args, lasting: Duration) -> Outcome {
    let mut cluster = Cluster::start(&args.plan()).await;
    audit::install(cluster.server(), &cluster.database.name).await;
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    let place = cluster.follower().await;
    let name = cluster.nodes[place].name.clone();
    let users = cluster.owners().await.remove(&name).unwrap_or_default();
    let assigned = cluster.assigned().await;
    cluster.nodes[place].process().stop();
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
    let failed = cluster.moved_for(FAILED, assigned).await;
    let moved = failed.values().sum::<i64>();
    // What it pushes as a new session, of what it was given then, is its right.
    let renewed = cluster.first_stamp(&name).await.unwrap_or_else(Instant::now);
    let pushed = cluster.simulators.apple().pushes_from(&cluster.nodes[place].apple.ports(), continued);
    let late = if failed.is_empty() { 0 } else { pushed.iter().filter(|at| **at < renewed).count() };
    let violations = audit::violations(&audit::lines(cluster.server(), &cluster.database.name).await);
    let (doubled, repeats) = (verdict.doubled, verdict.repeats);
    let mut outcome = Outcome::new(format!(
        "last of its {} users pushed {last:.1} s after it stopped, lost {}, doubled {doubled}, repeated {repeats}, moved {moved}, pushed by it after it went on of what was taken over {late}, stale commits {}",
        users.len(),
        verdict.lost_count,
        violations.len(),
    ));
    outcome.demand(all && again && verdict.lost_count == 0, "nothing is lost");
    outcome.demand(violations.is_empty(), &format!("one authority at a time: {:?}", violations.first()));
    outcome.demand(late == 0, "it pushes nothing of what was taken over");
    let its_own = failed.get(&name) == i64::try_from(users.len()).ok().as_ref() && failed.len() == 1;
    outcome.demand(failed.is_empty() || its_own, &format!("its users move, all of them, and nobody else: {failed:?}"));
    outcome.demand(lasting > HARMLESS || failed.is_empty(), "nobody moves");
    outcome.demand(lasting < FATAL || its_own, "its users are taken over");
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
