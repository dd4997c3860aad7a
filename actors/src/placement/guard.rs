//! The mass guard (invariant I10): when many nodes seem to die together, it is rather we who see badly; they are given time and asked directly.

use std::collections::BTreeMap;

use super::observe::{Observer, beats};
use crate::ids::{NodeId, Session};
use crate::ports::cluster_store::{ClusterView, NodeSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// What is known about losses.
#[derive(Debug, Default)]
pub struct Guard {
    /// When each node was last seen well.
    well: BTreeMap<NodeId, Monotonic>,
    /// The dead that are not judged yet.
    held: BTreeMap<Session, Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    since: Monotonic,
    probe: Probe,
    /// It answered when it was asked last.
    lives: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// It is to be asked.
    Due,
    /// It was asked.
    UnderWay,
    /// It answered then.
    Answered(Monotonic),
    /// It did not answer.
    Failed,
}

/// What may be done about the dead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// They may be judged BAD.
    pub released: Vec<Session>,
    /// They are doubted.
    pub held: Vec<Session>,
    /// They are to be asked directly.
    pub ask: Vec<Session>,
}

impl Guard {
    /// Takes note of who is well. Every look at all nodes counts, whoever leads.
    pub fn seen(&mut self, now: Monotonic, view: &ClusterView, observer: &Observer, settings: &Settings) {
        for row in &view.nodes {
            if row.state == NodeState::Left {
                // It went as it should.
                self.well.remove(&row.node);
            } else if is_well(row, observer, settings) && row.state != NodeState::Joining {
                self.well.insert(row.node.clone(), now);
            }
        }
        let window = settings.placement.guard_window;
        let doubted = |node: &NodeId| view.nodes.iter().any(|row| row.node == *node && self.held.contains_key(&row.session));
        self.well.retain(|node, last| now.since(*last) <= window || doubted(node));
    }

    /// Judges the dead of a look that [`Guard::seen`] was told of.
    /// Nobody is to be asked while `asking`: answers are still out.
    pub fn judge(
        &mut self,
        now: Monotonic,
        view: &ClusterView,
        dead: &[&NodeSeen],
        asking: bool,
        observer: &Observer,
        settings: &Settings,
    ) -> Judgement {
        let lost = self.lost(view, observer, settings);
        let many = lost >= 2 && lost * 100 > self.well.len() * settings.placement.guard_percent as usize;
        let before = std::mem::take(&mut self.held);
        let mut judgement = Judgement::default();
        for session in dead.iter().map(|row| row.session) {
            let known = before.get(&session).copied();
            // Who answered lives, however few are lost by then.
            if !many && !known.is_some_and(|held| held.lives) {
                judgement.released.push(session);
                continue;
            }
            let mut held = known.unwrap_or(Held { since: now, probe: Probe::Due, lives: false });
            if let Probe::Answered(at) = held.probe
                && now.since(at) >= settings.observe_dead
            {
                held.probe = Probe::Due;
            }
            let waited = now.since(held.since) >= settings.observe_dead * 2;
            if waited && held.probe == Probe::Due && !asking {
                held.probe = Probe::UnderWay;
                judgement.ask.push(session);
            }
            if held.probe == Probe::Failed {
                judgement.released.push(session)
            } else {
                judgement.held.push(session)
            }
            self.held.insert(session, held);
        }
        judgement
    }

    /// How a node that was asked directly answered, if it did.
    pub fn probed(&mut self, now: Monotonic, session: Session, answered: bool) {
        if let Some(held) = self.held.get_mut(&session) {
            held.lives = answered;
            held.probe = if answered { Probe::Answered(now) } else { Probe::Failed };
        }
    }

    /// How many of the nodes that were well within the window are not: judged, gone, dead, or silent and about to be.
    fn lost(&self, view: &ClusterView, observer: &Observer, settings: &Settings) -> usize {
        let well = |node: &NodeId| view.nodes.iter().any(|row| row.node == *node && is_well(row, observer, settings));
        self.well.keys().filter(|node| !well(node)).count()
    }
}

fn is_well(row: &NodeSeen, observer: &Observer, settings: &Settings) -> bool {
    beats(row.state) && !observer.is_silent(row.session, settings)
}
