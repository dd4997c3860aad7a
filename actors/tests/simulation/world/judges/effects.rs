//! I3 and I8: nothing begins after the gate, every push has its row, nobody sends for a mailbox that another owner stamped, nobody is pushed to after removal.

use std::collections::{BTreeMap, BTreeSet};

use postrider_actors::ids::{EventKey, MailboxId, Session};

use super::Finding;
use crate::world::World;
use crate::world::history::{Entry, What};
use crate::world::scheduler::{Micros, SECOND};

#[derive(Default)]
struct Effects {
    /// By session: until when effects may begin, on its own clock.
    gates: BTreeMap<Session, i64>,
    closed: BTreeSet<Session>,
    rows: BTreeSet<(MailboxId, EventKey)>,
    stamps: BTreeMap<MailboxId, (Session, Micros)>,
    /// Whom a mailbox was given to in a tail that was lost: until its gate closes or its next heartbeat is answered, it cannot know that it lost it.
    lost: BTreeMap<MailboxId, Session>,
}

/// Reads the history.
pub fn judge(world: &World, findings: &mut Vec<Finding>) {
    let mut effects = Effects::default();
    for entry in world.history.entries() {
        effects.read(entry, findings);
    }
    removed(world, findings);
}

impl Effects {
    fn read(&mut self, entry: &Entry, findings: &mut Vec<Finding>) {
        match &entry.what {
            What::GateOpened(until) => {
                let gate = self.gates.entry(entry.session).or_insert(i64::MIN);
                *gate = (*gate).max(*until);
                // Its heartbeat was answered, and said what is its own.
                self.lost.retain(|_, session| *session != entry.session);
            }
            What::Suspended => drop(self.gates.remove(&entry.session)),
            What::GateClosed => drop(self.closed.insert(entry.session)),
            What::Stamped { mailboxes, .. } => {
                self.stamps.extend(mailboxes.iter().map(|mailbox| (*mailbox, (entry.session, entry.at))));
            }
            What::Promoted { tables_of, .. } => {
                let stamps = std::mem::take(&mut self.stamps).into_iter();
                self.lost = stamps.filter(|(_, (_, at))| at > tables_of).map(|(mailbox, (session, _))| (mailbox, session)).collect();
            }
            What::Committed { mailbox, rows, .. } => self.rows.extend(rows.iter().map(|(_, event)| (*mailbox, *event))),
            What::CommitBegan { mono, .. } => self.gate(entry, *mono, "a commit", findings),
            What::SendBegan { mono, mailbox, events, .. } => {
                self.gate(entry, *mono, "a push", findings);
                for event in events.iter().filter(|event| !self.rows.contains(&(*mailbox, **event))) {
                    let text = format!("mailbox {mailbox}: {event:?} was pushed and no row of it was ever committed");
                    findings.push(Finding::new("effects", entry.at, text));
                }
                let owner = self.stamps.get(mailbox).map(|(owner, _)| owner).filter(|owner| **owner != entry.session);
                if let Some(owner) = owner.filter(|_| self.lost.get(mailbox) != Some(&entry.session)) {
                    let text = format!("mailbox {mailbox}: pushed by {} after {owner} had stamped it", entry.session);
                    findings.push(Finding::new("effects", entry.at, text));
                }
            }
            _ => {}
        }
    }

    fn gate(&self, entry: &Entry, mono: i64, what: &str, findings: &mut Vec<Finding>) {
        let until = self.gates.get(&entry.session).copied().unwrap_or(i64::MIN);
        if mono >= until || self.closed.contains(&entry.session) {
            let late = mono.saturating_sub(until.max(0));
            let text = format!("{what} began {late} µs after the gate of {} (machine {:?})", entry.session, entry.node);
            findings.push(Finding::new("gate", entry.at, text));
        }
    }
}

/// A device is read right before it is pushed to: what begins long after its removal was not.
fn removed(world: &World, findings: &mut Vec<Finding>) {
    let removed: BTreeMap<&str, i64> = world.ledger.removed.iter().map(|(token, at)| (token.as_str(), *at)).collect();
    for send in &world.provider.sends {
        if let Some(at) = removed.get(send.token.as_str()).filter(|at| send.began > **at + 15 * SECOND)
            && !world.ledger.tail_lost(*at, send.began)
        {
            let text = format!("pushed {} s after the device was removed", (send.began - at) / SECOND);
            findings.push(Finding::new("effects", send.began, text));
        }
    }
}
