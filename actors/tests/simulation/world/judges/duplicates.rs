//! I5: a mail is pushed again only where its row could not be marked, the tail was lost, or the answer never came; and then with the same ids.

use std::collections::BTreeMap;

use postrider_actors::ids::{DeviceId, EventKey, MailboxId};

use super::Finding;
use crate::world::World;
use crate::world::history::What;
use crate::world::provider::Send;
use crate::world::scheduler::SECOND;

/// Reads what the provider took.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    let mut taken: BTreeMap<(MailboxId, Option<DeviceId>, &str, EventKey), Vec<&Send>> = BTreeMap::new();
    for send in world.provider.sends.iter().filter(|send| send.accepted.is_some()) {
        for event in &send.events {
            let token = if send.device.is_some() { "" } else { send.token.as_str() };
            taken.entry((send.mailbox, send.device, token, *event)).or_default().push(send);
        }
    }
    for ((mailbox, device, _, event), sends) in taken {
        for pair in sends.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            let about = format!("mailbox {mailbox}, device {device:?}: {event:?} was taken twice");
            if !excused(world, first, second) {
                findings.push(Finding::new("duplicates", second.began, format!("{about}, without an excuse")));
            }
            if first.id != second.id && !world.ledger.tail_lost(0, second.began) {
                findings.push(Finding::new("duplicates", second.began, format!("{about}, under two ids")));
            }
        }
    }
}

fn excused(world: &World, first: &Send, second: &Send) -> bool {
    let from = first.accepted.unwrap_or(first.began);
    let answer_lost = !first.known_taken || first.heard.is_none_or(|heard| heard > second.began);
    // The row may have been lost with the tail before it was sent at all, and found again after.
    let tail_lost = world.ledger.tail_lost(from - 180 * SECOND, second.began);
    let troubled = world.ledger.troubles.iter().any(|trouble| {
        let here = trouble.node == Some(first.node) || trouble.what.starts_with("database");
        here && trouble.from <= second.began && trouble.to + 8 * SECOND >= from
    });
    let entries = world.history.entries();
    let since = entries.partition_point(|entry| entry.at < from);
    // A node hears that marks were not written as late as its patience ends.
    let until = second.began + 7 * SECOND;
    let unmarked = entries[since..].iter().take_while(|entry| entry.at <= until).any(|entry| {
        let here = entry.node == Some(first.node);
        // One that ended before its patience did never heard that they were not.
        let patience = first.heard.map_or(second.began, |heard| heard + 7 * SECOND).max(second.began);
        let ended = matches!(entry.what, What::Killed | What::Ended(_) | What::Paused) && entry.at <= patience;
        here && (ended || matches!(entry.what, What::MarkFailed))
    });
    answer_lost || tail_lost || troubled || unmarked
}
