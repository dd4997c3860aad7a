//! What healthy mailboxes notice of one mailbox's or one phone's trouble: first mail after quiet, with the trouble beside it and without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use postrider_loadtest::driver::progress_bar;
use postrider_loadtest::exchange::RequestFault;
use postrider_loadtest::fleet::FleetPhone;
use postrider_loadtest::simulators::Simulators;

use crate::bare::mail;
use crate::child::Child;
use crate::report::{Report, Target};

/// Between two mails to one mailbox: longer than the product's window of 3 s, so that each is a first mail after quiet.
const PAUSE: Duration = Duration::from_secs(5);
/// A mail that was not pushed after so long counts as this late.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often it is looked whether a push came; the books know the moment itself.
const LOOK: Duration = Duration::from_millis(50);
/// What the rule allows: the 99th percentile beside the trouble, as a multiple of the undisturbed one.
const ALLOWED: f64 = 2.0;

/// What troubles the others.
struct Scene {
    /// The figure's name.
    name: &'static str,
    /// Mailboxes in all.
    users: usize,
    /// Of these, so many are troubled.
    troubled: usize,
    /// Makes the trouble.
    begin: fn(&Simulators, &[FleetPhone]),
}

/// The troubles, and whom they must not reach.
const SCENES: &[Scene] = &[
    Scene { name: "503 for 6 of 60 mailboxes", users: 60, troubled: 6, begin: unavailable },
    Scene { name: "503 for 10 of 14 mailboxes", users: 14, troubled: 10, begin: unavailable },
];

/// Each scene twice, each time with a node and a world of its own: undisturbed, and with the trouble beside it.
pub async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 2 } else { 12 };
    for scene in SCENES {
        let undisturbed = run(scene, rounds, false).await?;
        let beside = run(scene, rounds, true).await?;
        report.add(scene.name, beside / undisturbed, "of the undisturbed p99", Some(Target::AtMost(ALLOWED)));
        eprintln!("  p99 {:.1} ms, undisturbed {:.1} ms", beside * 1e3, undisturbed * 1e3);
    }
    Ok(())
}

/// The 99th percentile, in seconds, of hint to push over the healthy mailboxes.
async fn run(scene: &Scene, rounds: usize, trouble: bool) -> anyhow::Result<f64> {
    let simulators = super::world(Duration::from_secs(3)).await?;
    let child = Child::start(&simulators, "").await?;
    let fleet = child.watch(scene.users).await?;
    let (troubled, healthy) = fleet.phones.split_at(scene.troubled);
    if trouble {
        (scene.begin)(&simulators, troubled);
    }
    let bar = progress_bar(if trouble { "beside" } else { "undisturbed" });
    bar.set_length((rounds * healthy.len()) as u64);
    let mut waiting = tokio::task::JoinSet::new();
    let between = PAUSE / u32::try_from(healthy.len())?;
    for round in 0..rounds {
        for (place, phone) in healthy.iter().enumerate() {
            tokio::time::sleep(between).await;
            if let Some(bad) = troubled.get((round * healthy.len() + place) % healthy.len()) {
                simulators.world().deliver(&bad.device.mailbox, mail())?;
            }
            waiting.spawn(one(Arc::clone(&simulators), phone.device.mailbox.clone()));
            bar.inc(1);
        }
    }
    let mut took = Vec::with_capacity(rounds * healthy.len());
    while let Some(one) = waiting.join_next().await {
        took.push(one??);
    }
    bar.finish_and_clear();
    took.sort_by(f64::total_cmp);
    took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().context("no mail was delivered")
}

/// Delivers a mail and waits for its push: how long it took, in seconds.
async fn one(simulators: Arc<Simulators>, mailbox: String) -> anyhow::Result<f64> {
    let begun = Instant::now();
    simulators.world().deliver(&mailbox, mail())?;
    loop {
        if let Some(took) = simulators.ledger().pushed_again(begun, [mailbox.as_str()]).into_iter().flatten().next() {
            return Ok(took.as_secs_f64());
        }
        if begun.elapsed() > DEADLINE {
            return Ok(DEADLINE.as_secs_f64());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One database is dismounted: whatever is asked for its mailboxes is answered with 503, without a time.
fn unavailable(simulators: &Simulators, troubled: &[FleetPhone]) {
    for phone in troubled {
        simulators.exchange_faults().script(None, Some(&phone.device.mailbox), usize::MAX, RequestFault::Status(503));
    }
}
