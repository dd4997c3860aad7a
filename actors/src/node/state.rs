//! The state machine of a node: when it joins, beats, may act, and when it is over.

use crate::delivery::retry::{Chance, backoff};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Beat, Joined, ShardSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// What a node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The answer to [`Effect::Join`].
    Joined(Result<Joined, StoreError>),
    /// The answer to a heartbeat that was sent at that moment.
    Beaten(Monotonic, Result<Option<Beat>, StoreError>),
    /// Hand over and end: nothing new is begun.
    Drain,
    /// The time of [`Node::due`] came.
    Alarm,
}

/// What a node wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Join with the session of this process.
    Join,
    /// Send a heartbeat.
    Beat,
    /// Effects may begin until then; whether pushes may is in the second place.
    Open(Monotonic, bool),
    /// These shards are ours; others are not (any more).
    Shards(Vec<ShardSeen>),
    /// Over for this session: close the gate for ever, stop all shards.
    End(Ended),
}

/// Why a node's session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Another process took its place, or the others judged it dead.
    Replaced,
    /// The database cannot be used until a person helps.
    Unusable(String),
    /// The core was stopped, or its root failed, which is a bug.
    Stopped,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    state: NodeState,
    asking: bool,
    next_at: Monotonic,
    failures: u32,
    chance: Chance,
}

impl Node {
    /// A node before it joins; `joined` when its session joined already (its actor was restarted).
    #[must_use]
    pub fn new(seed: u64, joined: bool) -> Self {
        let state = if joined { NodeState::Good } else { NodeState::Joining };
        Self { state, asking: false, next_at: Monotonic(0), failures: 0, chance: Chance::new(seed) }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.state
    }

    /// When it acts by itself next.
    #[must_use]
    pub fn due(&self) -> Monotonic {
        if self.asking || self.state == NodeState::Bad { Monotonic::NEVER } else { self.next_at }
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, now: Monotonic, input: Input, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.state == NodeState::Bad {
            return effects;
        }
        match input {
            Input::Joined(answer) => self.joined(now, answer, settings, &mut effects),
            Input::Beaten(sent, answer) => self.beaten(now, sent, answer, settings, &mut effects),
            Input::Drain if self.state == NodeState::Good => self.state = NodeState::Draining,
            Input::Drain | Input::Alarm => {}
        }
        if !self.asking && self.state != NodeState::Bad && now >= self.next_at {
            self.asking = true;
            effects.push(if self.state == NodeState::Joining { Effect::Join } else { Effect::Beat });
        }
        effects
    }

    fn joined(&mut self, now: Monotonic, answer: Result<Joined, StoreError>, settings: &Settings, effects: &mut Vec<Effect>) {
        self.asking = false;
        match answer {
            Ok(Joined::Done { .. }) => {
                self.state = NodeState::Good;
                self.failures = 0;
                self.next_at = now;
            }
            Err(StoreError::Unusable(why)) => self.end(Ended::Unusable(why), effects),
            Ok(Joined::Occupied { .. }) | Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.next_at = now + backoff(self.failures, settings.retry_base, settings.heartbeat, &mut self.chance);
            }
        }
    }

    fn beaten(
        &mut self,
        now: Monotonic,
        sent: Monotonic,
        answer: Result<Option<Beat>, StoreError>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        self.asking = false;
        self.next_at = sent + self.chance.around(settings.heartbeat);
        match answer {
            Ok(Some(beat)) => {
                self.failures = 0;
                // From the moment of sending: the others' timers began no later.
                effects.push(Effect::Open(sent + (settings.observe_dead - settings.margin), beat.sending_allowed));
                effects.push(Effect::Shards(beat.shards));
            }
            Ok(None) => self.end(Ended::Replaced, effects),
            // The gate closes by itself; subscriptions are kept.
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.next_at = self.next_at.max(now + settings.heartbeat / 10);
            }
        }
    }

    fn end(&mut self, why: Ended, effects: &mut Vec<Effect>) {
        self.state = NodeState::Bad;
        effects.push(Effect::End(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::cluster_store::{History, Manner};
    use crate::time::Timestamp;

    const SECOND: i64 = 1_000_000;

    fn history() -> History {
        History { system_id: "test".into(), timeline: 0 }
    }

    fn joined() -> Joined {
        Joined::Done { history: history(), now: Timestamp(0), manner: Manner::Embedded }
    }

    fn beat() -> Beat {
        Beat {
            hb_seq: 1,
            state: NodeState::Good,
            assign_ver: 1,
            sending_allowed: true,
            now: Timestamp(0),
            history: history(),
            shards: Vec::new(),
            incoming: Vec::new(),
        }
    }

    fn good() -> Node {
        let mut node = Node::new(1, false);
        assert_eq!(node.step(Monotonic(0), Input::Alarm, &Settings::default()), [Effect::Join]);
        assert_eq!(node.step(Monotonic(0), Input::Joined(Ok(joined())), &Settings::default()), [Effect::Beat]);
        node
    }

    #[test]
    fn the_gate_opens_from_the_moment_of_sending_for_t_less_margin() {
        let mut node = good();
        let effects = node.step(Monotonic(2 * SECOND), Input::Beaten(Monotonic(SECOND), Ok(Some(beat()))), &Settings::default());
        assert_eq!(effects[0], Effect::Open(Monotonic(6 * SECOND), true));
    }

    #[test]
    fn one_beat_is_under_way_at_a_time_and_the_next_follows_after_h() {
        let (mut node, settings) = (good(), Settings::default());
        assert_eq!(node.step(Monotonic(5 * SECOND), Input::Alarm, &settings), [], "still waiting for the first");
        node.step(Monotonic(SECOND / 10), Input::Beaten(Monotonic(0), Ok(Some(beat()))), &settings);
        let due = node.due();
        assert!((9 * SECOND / 10..=11 * SECOND / 10).contains(&due.0), "{due:?}");
        assert_eq!(node.step(due, Input::Alarm, &settings), [Effect::Beat]);
    }

    #[test]
    fn a_database_away_ends_nothing_and_a_replaced_session_is_over_for_ever() {
        let (mut node, settings) = (good(), Settings::default());
        for second in 1..60 {
            let failed = Input::Beaten(Monotonic(second * SECOND), Err(StoreError::Unavailable(String::new())));
            assert_eq!(node.step(Monotonic(second * SECOND), failed, &settings), []);
            assert_eq!(node.step(node.due(), Input::Alarm, &settings), [Effect::Beat]);
        }
        assert_eq!(
            node.step(Monotonic(61 * SECOND), Input::Beaten(Monotonic(60 * SECOND), Ok(None)), &settings),
            [Effect::End(Ended::Replaced)]
        );
        assert_eq!(node.state(), NodeState::Bad);
        assert_eq!(node.step(Monotonic(62 * SECOND), Input::Beaten(Monotonic(61 * SECOND), Ok(Some(beat()))), &settings), []);
        assert_eq!(node.due(), Monotonic::NEVER);
    }

    #[test]
    fn joining_is_tried_again_unless_only_a_person_can_help() {
        let (mut node, settings) = (Node::new(1, false), Settings::default());
        node.step(Monotonic(0), Input::Alarm, &settings);
        assert_eq!(node.step(Monotonic(0), Input::Joined(Err(StoreError::Unavailable(String::new()))), &settings), []);
        assert_eq!(node.step(node.due(), Input::Alarm, &settings), [Effect::Join]);
        let full = StoreError::Unusable("disk full".into());
        assert_eq!(node.step(Monotonic(9), Input::Joined(Err(full)), &settings), [Effect::End(Ended::Unusable("disk full".into()))]);
    }
}
