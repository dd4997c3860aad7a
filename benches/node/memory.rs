//! Resident memory of the node per watched mailbox: what the mailboxes beyond the first thousand cost, idle and after a mail each.

use std::time::Duration;

use anyhow::ensure;
use postrider_loadtest::driver::progress_bar;

use crate::bare::mail;
use crate::child::Child;
use crate::report::{Report, Target};

/// Mails a second while each mailbox gets one.
const RATE: u32 = 200;
/// How long the last pushes may take.
const SETTLE: Duration = Duration::from_secs(60);

/// A node's resident memory in KB.
struct Resident {
    idle: f64,
    after_mail: f64,
}

/// Two nodes, one after the other.
pub async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (few, many) = if quick { (200, 1_000) } else { (1_000, 10_000) };
    let small = resident(few).await?;
    let large = resident(many).await?;
    let each = |large: f64, small: f64| (large - small) / (many - few) as f64;
    report.add("memory, node with the fewer mailboxes, idle", small.idle / 1024.0, "MB", None);
    report.add("memory, node with the more mailboxes, idle", large.idle / 1024.0, "MB", None);
    report.add("memory, per mailbox, idle", each(large.idle, small.idle), "KB", Some(Target::AtMost(12.0)));
    let after_mail = each(large.after_mail, small.after_mail);
    report.add("memory, per mailbox, after a mail each", after_mail, "KB", Some(Target::AtMost(16.0)));
    Ok(())
}

async fn resident(users: usize) -> anyhow::Result<Resident> {
    let simulators = super::world(Duration::from_secs(3)).await?;
    let child = Child::start(&simulators, "").await?;
    let fleet = child.watch(users).await?;
    let idle = child.settled_kb().await?;
    let bar = progress_bar("mails");
    bar.set_length(users as u64);
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    for user in &fleet.users {
        pace.tick().await;
        simulators.world().deliver(user, mail())?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let verdict = simulators.ledger().verdict(SETTLE).await;
    ensure!(verdict.is_clean(), "the node's books are not clean:\n{verdict}");
    let after_mail = child.settled_kb().await?;
    Ok(Resident { idle, after_mail })
}
