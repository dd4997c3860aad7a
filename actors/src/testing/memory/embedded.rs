//! Joining in memory in the manner of the embedded database: whoever comes later takes everything over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::cluster::{node_row, reassign};
use super::{MemoryStore, Model, NodeRow};
use crate::ids::Session;
use crate::ports::cluster_store::{Join, Reason};
use crate::ports::error::StoreError;
use crate::snapshot::NodeState;
use crate::time::Timestamp;

const POLL: Duration = Duration::from_millis(50);

enum Step {
    Done,
    Wait,
    Refused(&'static str),
}

/// Who else is there: his session and heartbeat, to see whether he moves.
fn rival(model: &Model) -> Option<(Session, i64)> {
    let live = |row: &&NodeRow| matches!(row.state, NodeState::Good | NodeState::Joining | NodeState::Draining);
    model.nodes.values().find(live).map(|row| (row.session, row.hb_seq))
}

impl MemoryStore {
    pub(super) async fn join_embedded(&self, join: &Join) -> Result<(), StoreError> {
        let mut announced = false;
        let mut waited = Duration::ZERO;
        let seen = self.read(rival);
        loop {
            match self.join_step(join, &mut announced, waited, seen) {
                Step::Done => return Ok(()),
                Step::Refused(why) => return Err(StoreError::Unavailable(why.into())),
                Step::Wait => {
                    tokio::time::sleep(POLL).await;
                    waited += POLL;
                }
            }
        }
    }

    /// A heartbeat of this process was not answered: somebody else announced himself or took over: let go, so that he need not wait.
    pub(super) fn let_go(&self, model: &mut Model, session: Session) {
        if self.session.load(Ordering::Relaxed) == session.0 {
            self.evicted.store(true, Ordering::Relaxed);
            self.unlock(model);
        }
    }

    /// A heartbeat takes the lock if it is free.
    pub(super) fn relock(&self, model: &mut Model) {
        if model.lock.is_none() {
            model.lock = Some(self.process);
            model.owner_locked = true;
        }
    }

    /// The session left: its lock is given back, and a free lock means that everything is free.
    pub(super) fn farewell(&self, model: &mut Model, session: Session, owned: bool) {
        model.owner_locked |= owned;
        if self.session.load(Ordering::Relaxed) == session.0 {
            self.unlock(model);
        }
    }

    fn join_step(&self, join: &Join, announced: &mut bool, waited: Duration, seen: Option<(Session, i64)>) -> Step {
        let now = self.shared.clock.now();
        let mut model = self.model();
        let model = &mut *model;
        let free = model.lock.is_none_or(|holder| holder == self.process);
        if *announced && model.nodes.get(&join.node).is_none_or(|row| row.session != join.session) {
            return Step::Refused("another process announced itself meanwhile");
        }
        let claimed = rival(model).is_some_and(|(session, _)| {
            session != join.session && model.nodes.values().any(|row| row.session == session && row.state == NodeState::Joining)
        });
        let evicted = self.evicted.load(Ordering::Relaxed) || (claimed && model.lock == Some(self.process));
        let dead = free && model.owner_locked && !(evicted && claimed);
        if dead || (waited >= join.patience && (*announced || free)) {
            announce(model, join, NodeState::Good, now);
            let all: Vec<_> = model.shards.keys().copied().collect();
            reassign(model, &all, join.session, |_| Some(join.session), Reason::TakeOver, now);
            if free {
                model.lock = Some(self.process);
            }
            model.owner_locked = free;
            self.evicted.store(false, Ordering::Relaxed);
            self.session.store(join.session.0, Ordering::Relaxed);
            return Step::Done;
        }
        if evicted {
            return if rival(model) != seen || waited >= join.patience {
                Step::Refused("another process has taken the database over and is alive")
            } else {
                Step::Wait
            };
        }
        if !*announced {
            announce(model, join, NodeState::Joining, now);
            *announced = true;
        }
        Step::Wait
    }
}

/// Writes the session down, so that nobody else's heartbeat goes on.
fn announce(model: &mut Model, join: &Join, state: NodeState, now: Timestamp) {
    for row in model.nodes.values_mut().filter(|row| row.state != NodeState::Left) {
        row.state = NodeState::Bad;
    }
    model.nodes.insert(join.node.clone(), node_row(join, state, now));
}
