//! I4 and I13: every mail to be announced has a row with a verdict that is true; nothing waits for ever.

use postrider_actors::ports::delivery_store::Settled;

use super::Finding;
use super::expected::{Expected, expected};
use crate::world::World;

/// Reads the tables at the end.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    for expected in expected(world) {
        if let Some((judge, text)) = verdict(world, &expected) {
            let Expected { mail, mailbox, device, .. } = expected;
            let at = format!("came at {:.3} s", mail.at as f64 / 1e6);
            findings.push(Finding::new(
                judge,
                mail.at,
                format!("mailbox {mailbox}, device {device}: {:?}, which {at}, {text}", mail.event),
            ));
        }
    }
}

fn verdict(world: &World, expected: &Expected<'_>) -> Option<(&'static str, String)> {
    let Some((id, row)) = &expected.row else {
        return (!expected.counted).then(|| ("loss", "has no row".into()));
    };
    let reason = row.reason.as_deref().unwrap_or_default();
    match row.settled {
        None => Some(("stranded", format!("is PENDING as row {id} (attempts {}, {reason}, due at {:?})", row.attempts, row.next_at))),
        Some(Settled::Sent) if expected.taken.is_none() => Some(("loss", format!("is SENT as row {id} and no provider took it"))),
        Some(Settled::Sent) => None,
        Some(Settled::Dead) => {
            let refused =
                reason == "PayloadTooLarge" && world.provider.sends.iter().any(|send| send.refused && send.mailbox == expected.mailbox);
            let gone = matches!(reason, "Unregistered" | "device_gone") && !world.provider.gone.is_empty();
            (!refused && !gone).then(|| ("loss", format!("is DEAD as row {id} of {reason}")))
        }
        Some(Settled::Superseded) => Some(("loss", format!("is SUPERSEDED as row {id} of {reason}, and nobody touched it"))),
    }
}
