//! Nodes that are killed, and how soon their users are pushed again.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::measure::Judged;
use crate::{Args, Outcome};

/// Longer than anything is promised: what comes later is measured all the same.
const DEADLINE: Duration = Duration::from_secs(90);
/// Mails that arrive before something happens.
const BEFORE: u64 = 250;
/// The guard holds for 2 T and probes; then it goes as with one.
const GUARDED: Duration = Duration::from_secs(45);

/// One of three.
pub async fn one(args: &Args, leader: bool) -> Outcome {
    let mut cluster = Cluster::start(&args.plan()).await;
    let victim = if leader { cluster.leader().await } else { cluster.follower().await };
    let judged = kill(args, &mut cluster, &[victim]).await;
    Outcome { figures: judged.to_string(), mistakes: judged.mistakes(1) }
}

/// Two of three at once.
pub async fn two(args: &Args) -> Outcome {
    let mut cluster = Cluster::start(&args.plan()).await;
    let victims = [cluster.leader().await, cluster.follower().await];
    let judged = kill(args, &mut cluster, &victims).await;
    let mut outcome = Outcome::new(judged.to_string());
    outcome.demand(judged.lost == 0, "nothing is lost");
    outcome.demand(
        judged.takeover.missing == 0 && judged.takeover.last.is_some_and(|last| last < GUARDED),
        "all are pushed again within 45 s",
    );
    outcome.demand(judged.doubled + judged.repeats <= judged.takeover.unmarked.unsigned_abs(), "no more is pushed twice than was unmarked");
    outcome.demand(judged.takeover.needless == 0, "only orphans move");
    outcome
}

async fn kill(args: &Args, cluster: &mut Cluster, victims: &[usize]) -> Judged {
    let mail = cluster.mail(args.rate);
    cluster.delivered(BEFORE).await;
    let takeover = cluster.kill_and_follow(victims, DEADLINE).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    Judged::of(takeover, &verdict)
}
