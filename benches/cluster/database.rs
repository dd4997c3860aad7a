//! The database goes away and comes back, as itself or as its standby.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, LONG, Plan, Standby, TALKATIVE};
use crate::{Args, Outcome};

const AWAY: Duration = Duration::from_secs(30);

/// It stops for half a minute.
pub async fn stop(args: &Args) -> Outcome {
    let cluster = Cluster::start(&args.plan()).await;
    let (before, subscriptions) = (cluster.owners().await, cluster.simulators.exchange().subscriptions_made());
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    cluster.servers[0].stop();
    tokio::time::sleep(AWAY).await;
    cluster.servers[0].start();
    let back = Instant::now();
    let resumed = cluster.first_push(back).await.as_secs_f64();
    cluster.delivered(250).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let subscribed = cluster.simulators.exchange().subscriptions_made() - subscriptions;
    let bad = cluster.number("SELECT count(*) FROM node WHERE state <> 'GOOD'").await;
    let moved = cluster.moved(&before, &[]).await.0;
    let (lost, doubled, repeats) = (verdict.lost_count, verdict.doubled, verdict.repeats);
    let mut outcome = Outcome::new(format!(
        "first push {resumed:.2} s after the first accepted connection, lost {lost}, doubled {doubled}, repeated {repeats}, moved {moved}, nodes not GOOD {bad}, subscribed again {subscribed}"
    ));
    outcome.demand(resumed <= 3.0, "pushes resume within 3 s");
    outcome.demand(lost == 0, "nothing is lost");
    outcome.demand(bad == 0 && moved == 0, "nobody is judged BAD, nobody moves");
    outcome.demand(subscribed == 0, "nobody subscribes again");
    outcome
}

/// The primary dies and its standby takes its place.
pub async fn promote(args: &Args, standby: Standby) -> Outcome {
    let mut cluster = Cluster::start(&Plan { standby, more: TALKATIVE, ..args.plan() }).await;
    let before = cluster.owners().await;
    let mail = cluster.mail(args.rate);
    cluster.delivered(250).await;
    let lossy = standby == Standby::Asynchronous;
    if lossy {
        cluster.servers[1].stop();
        let victim = cluster.follower().await;
        cluster.kill_and_follow(&[victim], Duration::from_secs(60)).await;
    }
    let (written, unmarked) = rows(&cluster, 0).await;
    cluster.servers[0].kill();
    let killed = Instant::now();
    let mut twice = unmarked;
    if lossy {
        cluster.servers[1].start();
        let (kept, unmarked) = rows(&cluster, 1).await;
        twice = unmarked + written - kept;
    }
    cluster.servers[1].promote();
    cluster.primary = 1;
    let promoted = Instant::now();
    cluster.fleet.users.iter().for_each(|user| cluster.deliver(user));
    let all = cluster.pushed_again(&cluster.fleet.users, promoted, LONG).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let last = cluster.last_again(&cluster.fleet.users, promoted);
    let moved = cluster.moved(&before, &[]).await.0;
    let fences = cluster.fences_of_several_processes();
    let mut outcome = Outcome::new(format!(
        "promoted after {:.1} s, last of {} users pushed {last:.1} s later, lost {}, doubled {}, repeated {} (rows lost or unmarked {twice}), moved {moved}",
        (promoted - killed).as_secs_f64(),
        cluster.fleet.users.len(),
        verdict.lost_count,
        verdict.doubled,
        verdict.repeats,
    ));
    outcome.demand(all && verdict.lost_count == 0, "nothing is lost");
    outcome.demand(fences.is_empty(), &format!("no fence and session of two processes: {fences:?}"));
    // What came between the count and the kill is a second's mail at most.
    let bound = twice.unsigned_abs() + args.rate.ceil() as u64;
    outcome.demand(verdict.doubled + verdict.repeats <= bound, "no more is pushed twice than was lost or unmarked");
    if !lossy {
        outcome.demand(moved == 0, "nobody moves");
    }
    outcome
}

/// How many delivery rows a server has, and how many of them have no verdict.
async fn rows(cluster: &Cluster, server: usize) -> (i64, i64) {
    let text = "SELECT count(*), count(*) FILTER (WHERE state = 'PENDING') FROM delivery";
    let mut connection = cluster.servers[server].connect(&cluster.database.name).await;
    sqlx::query_as(text).fetch_one(&mut connection).await.expect("it is up")
}
