//! I6 and I9: failures move only what belonged to somebody dead, and nobody is judged dead because the database stood still.

use postrider_actors::snapshot::NodeState;

use super::Finding;
use crate::world::World;
use crate::world::history::What;
use crate::world::scheduler::SECOND;

/// Reads the history.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    let patience = world.settings.observe_dead.as_micros() as i64;
    for entry in world.history.entries() {
        match &entry.what {
            What::Bad { session, silent, rests } => {
                let credit = 2 * world.settings.heartbeat.as_micros() as i64;
                let away = world.ledger.database_away(entry.at - silent, entry.at, rests, credit);
                // Clocks run up to 5 % fast.
                let counted = silent - away;
                if counted < patience * 94 / 100 - SECOND / 10 {
                    let text = format!("{session} was judged BAD after {counted} µs of silence while the database answered");
                    findings.push(Finding::new("accuracy", entry.at, text));
                }
            }
            What::Owner { shard, from: Some(from), standing: Some(NodeState::Good), to, reason, users, .. }
                // A shard without users needs no hand-over.
                if *to != Some(*from) && reason != "hand_over" && *users > 0 =>
            {
                let text = format!("shard {shard} was taken from {from}, which is GOOD ({reason})");
                findings.push(Finding::new("moves", entry.at, text));
            }
            _ => {}
        }
    }
}
