//! Mails a second through the whole pipeline: many mailboxes get mail as fast as it is announced, at the node and at the bare client in turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use postrider_loadtest::driver::progress_bar;
use postrider_loadtest::simulators::Simulators;

use crate::bare::{Beside, mail};
use crate::child::Child;
use crate::report::{Report, Target};

/// Mails on their way at a time, and calls that either contestant has under way at the mail server.
const IN_FLIGHT: usize = 32;
/// A round that takes longer is given up.
const DEADLINE: Duration = Duration::from_secs(120);

/// Rounds in turns, and their medians.
pub async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (users, mails, rounds) = if quick { (200, 500, 1) } else { (2_000, 4_000, 15) };
    let simulators = super::world(Duration::ZERO).await?;
    let settings = format!("[core]\nwindow = \"0s\"\n[ews]\ncalls = {IN_FLIGHT}\n");
    let child = Child::start(&simulators, &settings).await?;
    let fleet = child.watch(users).await?;
    let beside = Beside::start(users).await?;
    let users: Arc<[String]> = fleet.users.into();
    let bar = progress_bar("rounds");
    bar.set_length(2 * (rounds as u64 + 1));
    let (mut node, mut bare) = (Vec::new(), Vec::new());
    // The first round of each warms it up.
    let mut worked = Vec::new();
    for round in 0..=rounds {
        let before = [child.work()?, crate::child::own_work()];
        // On the runtime's own threads, as the bare client's workers: waking another thread for each mail would be charged to the node.
        let one = tokio::spawn(node_round(Arc::clone(&simulators), Arc::clone(&users), mails)).await??;
        bar.inc(1);
        let between = [child.work()?, crate::child::own_work()];
        let other = bare_round(&beside, mails).await?;
        bar.inc(1);
        if round > 0 {
            let micros = |span: Duration| span.as_secs_f64() * 1e6 / mails as f64;
            worked.push([between[0] - before[0], between[1] - before[1], crate::child::own_work() - between[1]].map(micros));
            node.push(one);
            bare.push(other);
        }
    }
    bar.finish_and_clear();
    let verdict = simulators.ledger().judge();
    anyhow::ensure!(verdict.is_clean(), "the node's books are not clean:\n{verdict}");
    let (node, bare) = (median(node), median(bare));
    let names = ["processor time of a mail, node", "the same, its simulators", "the same, bare client and simulators"];
    for (place, name) in names.into_iter().enumerate() {
        let work = median(worked.iter().map(|worked| worked[place]).collect());
        report.add(name, work, "us", None);
    }
    report.add("throughput, node", node, "mails/s", None);
    report.add("throughput, bare client", bare, "mails/s", None);
    report.add("throughput, ratio", node / bare, "", Some(Target::AtLeast(0.5)));
    Ok(())
}

/// Delivers the next mail as soon as one was announced, always to the mailbox that has been quiet for longest.
async fn node_round(simulators: Arc<Simulators>, users: Arc<[String]>, mails: usize) -> anyhow::Result<f64> {
    let (begin, before) = (Instant::now(), simulators.ledger().announced());
    let (mut delivered, mut announced) = (0, 0);
    while announced < mails {
        while delivered < mails && delivered < announced + IN_FLIGHT {
            simulators.world().deliver(&users[delivered % users.len()], mail())?;
            delivered += 1;
        }
        let more = simulators.ledger().announced_beyond(before + announced as u64);
        let left = DEADLINE.saturating_sub(begin.elapsed());
        let more = tokio::time::timeout(left, more).await.with_context(|| format!("{announced} of {mails} mails were announced"))?;
        announced = (more - before) as usize;
    }
    Ok(mails as f64 / begin.elapsed().as_secs_f64())
}

async fn bare_round(beside: &Arc<Beside>, mails: usize) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (beside, next) = (Arc::clone(beside), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= mails {
                    return Ok(());
                }
                beside.announce_one(number).await?;
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        let ended: anyhow::Result<()> = ended?;
        ended?;
    }
    Ok(mails as f64 / begin.elapsed().as_secs_f64())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
