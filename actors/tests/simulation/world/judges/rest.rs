//! I12: at rest nodes ask the database and users do not, but for the sync that each has once in a while.

use super::Finding;
use crate::world::World;
use crate::world::run::REST;
use crate::world::scheduler::SECOND;

/// Statements of a node in a second: a heartbeat and a look, each up to a tenth early on a clock that is up to a twentieth fast, and the sweep.
const OF_A_NODE: f64 = (1.0 / 0.9 + 1.0 / 0.9 + 0.2) * 1.05;
/// Statements of a sync that finds nothing: the row, and what is written behind.
const OF_A_SYNC: f64 = 2.0;

/// Reads how many statements there were in the last minute.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    let (users, waiting) = world.db.store.read(|model| {
        let waiting = model.deliveries.values().filter(|row| row.settled.is_none()).count();
        (model.mailboxes.len(), waiting)
    });
    // Rows that wait are not at rest: a device that is gone and alone on its channel is tried until they expire.
    if waiting > 0 {
        return;
    }
    let seconds = (REST / SECOND) as f64;
    let nodes = world.machines.len() as f64 * OF_A_NODE * seconds;
    let syncs = users as f64 * OF_A_SYNC * (seconds / world.settings.reconcile.as_secs_f64() / 0.9).ceil();
    let most = nodes + syncs;
    let were = world.statements_at_rest as f64;
    if std::env::var("POSTRIDER_REST").is_ok() {
        println!("rest {:.3} nodes {} users {users} statements {were} most {most:.0}", were / most, world.machines.len());
    }
    if were > most {
        let text =
            format!("{were} statements in the last {seconds} s, at most {most:.0} by {} nodes and {users} users", world.machines.len());
        findings.push(Finding::new("rest", world.now, text));
    }
}
