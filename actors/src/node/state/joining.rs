//! Joining: whether the name is free, whether the clock is right, and becoming GOOD.

use std::time::Duration;

use super::{Effect, Ended, Membership, Node, Step};
use crate::delivery::retry::backoff;
use crate::node::rival::{Judgement, Rival};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Joined, Manner};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::{Monotonic, Timestamp};

/// How far this machine's wall clock may be from the database's.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

impl Node {
    pub(super) fn joined(
        &mut self,
        now: Monotonic,
        wall: Timestamp,
        answer: Result<Joined, StoreError>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        self.asking = false;
        self.replaces = None;
        match answer {
            Ok(Joined::Done { history, now: theirs, manner }) => {
                self.failures = 0;
                self.next_at = now;
                self.membership = Some(Membership { manner, history });
                if manner == Manner::Embedded {
                    self.state = NodeState::Good;
                } else if let Some(why) = clock_is_off(wall, theirs) {
                    self.end(Ended::Unusable(why), effects);
                } else {
                    self.entering = Step::Due;
                }
            }
            // It joined without hearing of it, and was judged since.
            Ok(Joined::Over) => self.end(Ended::Replaced, effects),
            Ok(Joined::Occupied { session, hb_seq }) => {
                self.failures = 0;
                self.next_at = now + self.chance.around(settings.heartbeat);
                let asked = self.asked_at;
                let judgement = match &mut self.rival {
                    Some(rival) => rival.look(asked, now, session, hb_seq, settings),
                    None => {
                        self.rival = Some(Rival::seen(now, session, hb_seq));
                        Judgement::Watch
                    }
                };
                match judgement {
                    Judgement::Watch => {}
                    Judgement::Dead(session, hb_seq) => {
                        self.replaces = Some((session, hb_seq));
                        self.next_at = now;
                    }
                    Judgement::Lives => self.end(Ended::Unusable(TWO_OF_ONE_NAME.into()), effects),
                }
            }
            Err(StoreError::Unusable(why)) => self.end(Ended::Unusable(why), effects),
            Err(_) => {
                self.rival.iter_mut().for_each(Rival::blind);
                self.failures = self.failures.saturating_add(1);
                self.next_at = now + backoff(self.failures, settings.retry_base, settings.heartbeat, &mut self.chance);
            }
        }
    }

    pub(super) fn entered(&mut self, now: Monotonic, answer: Result<bool, StoreError>, effects: &mut Vec<Effect>) {
        self.entering = Step::Idle;
        match answer {
            Ok(true) if self.state == NodeState::Joining => {
                self.state = NodeState::Good;
                self.next_at = self.next_at.min(now);
            }
            Ok(true) => {}
            Ok(false) => self.end(Ended::Replaced, effects),
            // Asked again with the next heartbeat that is answered.
            Err(_) => {}
        }
    }
}

const TWO_OF_ONE_NAME: &str = "another process runs under this node's name on the same database, and its heartbeat moves: every node needs a \
     `node.name` of its own; change one of them, or stop the other process, and start again";

/// What is wrong with the clock, and what to do.
fn clock_is_off(ours: Timestamp, theirs: Timestamp) -> Option<String> {
    let (off, side) = if ours > theirs { (ours.since(theirs), "ahead of") } else { (theirs.since(ours), "behind") };
    (off > CLOCK_TOLERANCE).then(|| {
        format!(
            "this machine's clock is {} s {side} the database's; more than {} s is not accepted, because what is shown on a lock screen and what \
             expires is decided by it: set the clock (NTP) and start again",
            off.as_secs(),
            CLOCK_TOLERANCE.as_secs()
        )
    })
}
