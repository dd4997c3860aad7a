//! How long each other node's heartbeat stood still, counted so that no trouble between us and the database is held against a node (invariant I9).
//!
//! Time counts only between two looks that both succeeded, over one connection, at one timeline, with none that failed between them; from the answer to the
//! first to the sending of the second, and at most two heartbeat periods for each. A stalled database, a pause of our own and a promotion count for nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::Session;
use crate::ports::cluster_store::{ClusterView, History, NodeSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// What is known about the heartbeats of others.
#[derive(Debug, Default)]
pub struct Observer {
    peers: BTreeMap<Session, Peer>,
    /// The last look, unless one failed since.
    last: Option<(Monotonic, u64)>,
    history: Option<History>,
    /// Nothing counts before: the others may be on their way to another host of the database.
    muted_until: Monotonic,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    hb_seq: i64,
    still: Duration,
}

/// Whether a node of that state is to beat.
#[must_use]
pub fn beats(state: NodeState) -> bool {
    matches!(state, NodeState::Joining | NodeState::Good | NodeState::Draining)
}

impl Observer {
    /// A look that was sent and answered at those moments.
    pub fn seen(&mut self, sent: Monotonic, answered: Monotonic, view: &ClusterView, settings: &Settings) {
        let credit = match self.last {
            Some((last, link)) if link == view.link && sent >= self.muted_until => sent.since(last).min(settings.heartbeat * 2),
            _ => Duration::ZERO,
        };
        let same = self.history.as_ref().is_none_or(|history| *history == view.history);
        if !same {
            self.muted_until = answered + settings.observe_dead;
        }
        // Counters of two histories that are equal by chance prove no stand-still.
        let before = if same { std::mem::take(&mut self.peers) } else { BTreeMap::new() };
        let live = view.nodes.iter().filter(|row| beats(row.state));
        self.peers = live
            .map(|row| {
                let still =
                    before.get(&row.session).filter(|peer| peer.hb_seq == row.hb_seq).map_or(Duration::ZERO, |peer| peer.still + credit);
                (row.session, Peer { hb_seq: row.hb_seq, still })
            })
            .collect();
        self.last = Some((answered, view.link));
        self.history = Some(view.history.clone());
    }

    /// A look failed.
    pub fn failed(&mut self) {
        self.last = None;
    }

    /// How long the node's heartbeat is known to have stood still; zero for one that is not observed.
    #[must_use]
    pub fn still(&self, session: Session) -> Duration {
        self.peers.get(&session).map_or(Duration::ZERO, |peer| peer.still)
    }

    /// Whether the node is dead: it stood still for T.
    #[must_use]
    pub fn is_dead(&self, session: Session, settings: &Settings) -> bool {
        self.still(session) >= settings.observe_dead
    }

    /// Whether the node has been silent for so long that nothing should be entrusted to it.
    #[must_use]
    pub fn is_silent(&self, session: Session, settings: &Settings) -> bool {
        self.still(session) >= settings.observe_dead / 2
    }

    /// The rows of nodes that are to be judged dead, except our own. One that joins owns nothing and may be busy looking around: it is given ten times T.
    pub fn dead<'v>(&self, view: &'v ClusterView, me: Session, settings: &Settings) -> Vec<&'v NodeSeen> {
        let patience = |state| settings.observe_dead * if state == NodeState::Joining { 10 } else { 1 };
        view.nodes.iter().filter(|row| row.session != me && beats(row.state) && self.still(row.session) >= patience(row.state)).collect()
    }
}
