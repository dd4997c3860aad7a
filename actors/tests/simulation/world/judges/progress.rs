//! I11: what is to be announced is announced soon after it came, or soon after what was in its way ended.

use postrider_actors::ports::delivery_store::Settled;

use super::Finding;
use super::expected::expected;
use crate::world::World;
use crate::world::faults::Hit;
use crate::world::ledger::Trouble;
use crate::world::scheduler::{Micros, SECOND};

/// How long a mail may take while nothing is wrong: detection, adoption, back-off, and the sweep for what was in somebody's hands.
const SOON: Micros = 60 * SECOND;

/// Reads when pushes were taken.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    let mut troubles = world.ledger.troubles.clone();
    troubles.sort_by_key(|trouble| trouble.from);
    let heard = [Hit::HintLost, Hit::StreamSilent].iter().all(|hit| !world.hits.contains_key(hit));
    let soon = if heard { SOON } else { SOON + world.settings.reconcile.as_micros() as i64 * 11 / 10 };
    for expected in expected(world) {
        let Some(taken) = expected.taken else { continue };
        // One that was refused for good was announced in no push; a later one that counts more mails than it names says nothing of it.
        if expected.row.as_ref().is_some_and(|(_, row)| row.settled == Some(Settled::Dead)) {
            continue;
        }
        let free = free_from(&troubles, expected.mail.at, soon);
        if taken > free + soon {
            let text = format!(
                "mailbox {}, device {}: {:?} came at {:.3} s, nothing was in its way from {:.3} s on, and it was pushed at {:.3} s",
                expected.mailbox,
                expected.device,
                expected.mail.event,
                expected.mail.at as f64 / 1e6,
                free as f64 / 1e6,
                taken as f64 / 1e6
            );
            findings.push(Finding::new("progress", taken, text));
        }
    }
}

/// From when on nothing was in the way of what came then, for as long as it may take.
fn free_from(troubles: &[Trouble], at: Micros, soon: Micros) -> Micros {
    troubles.iter().fold(at, |free, trouble| if trouble.from <= free + soon { free.max(trouble.to) } else { free })
}
