//! The state machine of a node: when it joins, beats, may act, what it does about moves and promotions, and when it is over.

mod beating;
mod joining;

use std::collections::BTreeSet;

use crate::delivery::retry::Chance;
use crate::ids::{Fence, Session, ShardId};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Beat, History, Incoming, Joined, Manner, ShardSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::{Monotonic, Timestamp};

use super::moves::Moves;
use super::rival::Rival;

/// What a node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The answer to [`Effect::Join`], and what this machine's wall clock showed when it came.
    Joined(Timestamp, Result<Joined, StoreError>),
    /// The answer to [`Effect::Enter`].
    Entered(Result<bool, StoreError>),
    /// The answer to a heartbeat that was sent at that moment.
    Beaten(Monotonic, Result<Option<Beat>, StoreError>),
    /// The answer to [`Effect::Reclaim`].
    Reclaimed(Result<(), StoreError>),
    /// A shard that is planned to become ours is warmed up.
    Ready(ShardId),
    /// [`Effect::SayReady`] was carried out, or was not: the next heartbeat shows it.
    SaidReady,
    /// A shard of ours is at rest under that epoch and may go to its receiver.
    Offered(ShardId, Fence),
    /// The answer to [`Effect::HandOver`]: those of them that went.
    HandedOver(Vec<(ShardId, Fence)>, Result<Vec<ShardId>, StoreError>),
    /// The answer to [`Effect::Retake`].
    Retaken(Vec<ShardId>, Result<(), StoreError>),
    /// End: nothing new is begun.
    Drain,
    /// The time of [`Node::due`] came.
    Alarm,
}

/// What a node wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Join with the session of this process; with the session and heartbeat of a dead one under our name, in its place.
    Join(Option<(Session, i64)>),
    /// Become GOOD.
    Enter,
    /// Send a heartbeat.
    Beat,
    /// Effects may begin until then; whether pushes may is in the second place.
    Open(Monotonic, bool),
    /// No effect begins until the next `Open`; subscriptions are kept.
    Suspend,
    /// These shards are ours and those are to become ours; others are not (any more).
    Shards(Vec<ShardSeen>, Vec<Incoming>),
    /// The database was promoted: take new epochs for all that is ours.
    Reclaim,
    /// Say that these shards are warmed up.
    SayReady(Vec<ShardId>),
    /// Hand these shards over to their receivers.
    HandOver(Vec<(ShardId, Fence)>),
    /// It is not known whether these shards went: take new epochs for those that did not, so that they cannot go any more.
    Retake(Vec<ShardId>),
    /// These shards went: their subscriptions may end.
    Given(Vec<ShardId>),
    /// These shards did not go: work on them goes on.
    Kept(Vec<ShardId>),
    /// Over for this session: close the gate for ever, stop all shards.
    End(Ended),
}

/// Why a node's session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Another process took its place, or the others judged it dead.
    Replaced,
    /// It was told to drain and owns nothing any more.
    Drained,
    /// The database cannot be used until a person helps.
    Unusable(String),
    /// The core was stopped, or its root failed, which is a bug.
    Stopped,
}

/// What a session joined; outlives a restart of the node's actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Whether one node owns everything or many share.
    pub manner: Manner,
    /// The database's history as far as this session owns under it.
    pub history: History,
}

/// A step that the store has to be asked for once it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Idle,
    Due,
    Asked,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    state: NodeState,
    membership: Option<Membership>,
    /// A join or a heartbeat is under way.
    asking: bool,
    asked_at: Monotonic,
    next_at: Monotonic,
    failures: u32,
    /// Who else goes by our name.
    rival: Option<Rival>,
    /// Whom to replace.
    replaces: Option<(Session, i64)>,
    entering: Step,
    reclaiming: Step,
    /// The timeline to be reclaimed under.
    promoted: u32,
    /// Heartbeats that were sent before this say nothing about ownership.
    fresh_from: Monotonic,
    /// The shards that the last heartbeat before a promotion gave us, and those that were begun since.
    held: BTreeSet<ShardId>,
    /// This process is to end: that it drains is its own decision.
    leaves: bool,
    /// After a promotion: no other shard is begun before this.
    begins_from: Monotonic,
    moves: Moves,
    chance: Chance,
}

impl Node {
    /// A node before it joins; with a membership when its session joined already (its actor was restarted).
    #[must_use]
    pub fn new(seed: u64, membership: Option<Membership>) -> Self {
        let state = match &membership {
            // It may have failed before it entered: the next heartbeat says where its row stands.
            Some(membership) if membership.manner == Manner::Shared => NodeState::Joining,
            Some(_) => NodeState::Good,
            None => NodeState::Joining,
        };
        Self {
            state,
            membership,
            asking: false,
            asked_at: Monotonic(0),
            next_at: Monotonic(0),
            failures: 0,
            rival: None,
            replaces: None,
            entering: Step::Idle,
            reclaiming: Step::Idle,
            promoted: 0,
            fresh_from: Monotonic(0),
            held: BTreeSet::new(),
            leaves: false,
            begins_from: Monotonic(0),
            moves: Moves::default(),
            chance: Chance::new(seed),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.state
    }

    /// What it joined, once it did.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// When it acts by itself next.
    #[must_use]
    pub fn due(&self) -> Monotonic {
        if self.asking || self.over() { Monotonic::NEVER } else { self.next_at }
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, now: Monotonic, input: Input, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.over() {
            return effects;
        }
        match input {
            Input::Joined(wall, answer) => self.joined(now, wall, answer, settings, &mut effects),
            Input::Entered(answer) => self.entered(now, answer, &mut effects),
            Input::Beaten(sent, answer) => self.beaten(now, sent, answer, settings, &mut effects),
            Input::Reclaimed(answer) => self.reclaimed(now, answer.is_ok(), settings),
            Input::Ready(shard) => self.moves.ready(shard),
            Input::SaidReady => self.moves.said(),
            Input::Offered(shard, epoch) => self.moves.offered(shard, epoch),
            Input::HandedOver(offered, answer) => self.moves.handed_over(offered, answer, &mut effects),
            Input::Retaken(shards, answer) => self.moves.retaken(now, &shards, answer.is_ok()),
            Input::Drain => {
                self.leaves = true;
                if self.state == NodeState::Good {
                    self.state = NodeState::Draining;
                }
            }
            Input::Alarm => {}
        }
        if !self.over() {
            self.advance(now, &mut effects);
        }
        effects
    }

    fn advance(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if self.entering == Step::Due {
            self.entering = Step::Asked;
            effects.push(Effect::Enter);
        }
        if self.reclaiming == Step::Due {
            self.reclaiming = Step::Asked;
            effects.push(Effect::Reclaim);
        }
        self.moves.advance(effects);
        if !self.asking && now >= self.next_at {
            self.asking = true;
            self.asked_at = now;
            effects.push(if self.membership.is_none() { Effect::Join(self.replaces) } else { Effect::Beat });
        }
    }

    fn over(&self) -> bool {
        matches!(self.state, NodeState::Bad | NodeState::Left)
    }

    fn end(&mut self, why: Ended, effects: &mut Vec<Effect>) {
        self.state = if why == Ended::Drained { NodeState::Left } else { NodeState::Bad };
        effects.push(Effect::End(why));
    }
}
