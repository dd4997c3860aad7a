//! First mail after quiet: hint on the wire to push on the wire, beside the bare client's own way from a mail to its push.

use std::sync::Arc;
use std::time::Duration;

use postrider_loadtest::driver::progress_bar;
use postrider_loadtest::world::World;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use crate::bare::{Beside, mail};
use crate::child::Child;
use crate::report::{Report, Target};

/// How long the last pushes may take.
const SETTLE: Duration = Duration::from_secs(30);
/// The product's window.
const WINDOW: Duration = Duration::from_secs(3);

/// Mails arrive at both at the same time, each at the same rate, so that both meet the same machine.
pub async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (users, rate, mails) = if quick { (100, 20.0, 100) } else { (1_000, 20.0, 1_200) };
    let simulators = super::world(WINDOW).await?;
    let child = Child::start(&simulators, "").await?;
    let fleet = child.watch(users).await?;
    let beside = Beside::start(users).await?;
    let bar = progress_bar("mails");
    bar.set_length(mails as u64);
    let (world, addresses) = (Arc::clone(simulators.world()), fleet.users.clone());
    let to_node = arrive(mails, users, rate, |user| {
        bar.inc(1);
        let world: &World = &world;
        // The mailbox was made when its phone was registered.
        let _ = world.deliver(&addresses[user], mail());
    });
    let mut answers = tokio::task::JoinSet::new();
    let to_bare = arrive(mails, users, rate, |user| {
        let beside = Arc::clone(&beside);
        answers.spawn(async move { beside.announce_one(user).await });
    });
    tokio::join!(to_node, to_bare);
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    bar.finish_and_clear();
    let node = simulators.ledger().verdict(SETTLE).await;
    anyhow::ensure!(node.is_clean(), "the node's books are not clean:\n{node}");
    let bare = beside.simulators.ledger().judge();
    report.add("latency, node, p50", node.from_hint.p50_ms, "ms", Some(Target::Aim(15.0)));
    report.add("latency, node, p99", node.from_hint.p99_ms, "ms", Some(Target::Aim(75.0)));
    report.add("latency, bare client, p50", bare.from_delivery.p50_ms, "ms", None);
    report.add("latency, bare client, p99", bare.from_delivery.p99_ms, "ms", None);
    let ratio = node.from_hint.p50_ms / bare.from_delivery.p50_ms;
    report.add("latency, ratio of medians", ratio, "", Some(Target::AtMost(3.0)));
    Ok(())
}

/// Mails at random times; each user gets the next one when all others had one, long after the window.
async fn arrive(mails: usize, users: usize, rate: f64, mut deliver: impl FnMut(usize)) {
    let mut order: Vec<usize> = (0..users).collect();
    order.shuffle(&mut rand::rng());
    let mut due = Instant::now();
    for number in 0..mails {
        // Time between two events of a Poisson process.
        due += Duration::from_secs_f64(-(1.0 - rand::random::<f64>()).ln() / rate);
        tokio::time::sleep_until(due).await;
        deliver(order[number % users]);
    }
}
