//! What a heartbeat says: whether effects may begin, what is ours, whether the database is still the one we own under.

use super::{Effect, Ended, Node, Step};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Beat, History, Manner, ShardSeen};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// How a heartbeat's database compares with the one that this session owns under.
enum Past {
    Same,
    /// It was promoted: its last seconds may be lost.
    Grew,
    /// It is another one, or older.
    Foreign,
}

impl Node {
    pub(super) fn beaten(
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
                match self.past(&beat.history) {
                    Past::Same => self.ours(sent, beat, settings, effects),
                    Past::Grew => self.promoted(&beat.history, effects),
                    Past::Foreign => effects.push(Effect::Suspend),
                }
            }
            Ok(None) => self.end(Ended::Replaced, effects),
            // The gate closes by itself; subscriptions are kept.
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.next_at = self.next_at.max(now + settings.heartbeat / 10);
                // It would be no use to act until the deadline: what answers is not what we own under.
                if matches!(error, StoreError::Unusable(_)) {
                    effects.push(Effect::Suspend);
                }
            }
        }
    }

    fn past(&self, history: &History) -> Past {
        match &self.membership {
            Some(membership) if membership.history == *history => Past::Same,
            Some(membership) if membership.history.system_id == history.system_id && membership.history.timeline < history.timeline => {
                Past::Grew
            }
            _ => Past::Foreign,
        }
    }

    fn ours(&mut self, sent: Monotonic, beat: Beat, settings: &Settings, effects: &mut Vec<Effect>) {
        if sent < self.fresh_from {
            return;
        }
        self.follow(beat.state);
        // Shards without users need nobody who is ready for them: they are released, even if nobody else is there.
        if self.state == NodeState::Draining && beat.state == NodeState::Draining && beat.users == 0 && self.shares() {
            return self.end(Ended::Drained, effects);
        }
        let shards = self.begun(sent, beat.shards);
        self.moves.seen(sent, &shards, effects);
        // Ownership first: what the gate lets out is to meet the newest epochs.
        effects.push(Effect::Shards(shards, beat.incoming));
        // From the moment of sending: the others' timers began no later.
        effects.push(Effect::Open(sent + (settings.observe_dead - settings.margin), beat.sending_allowed));
    }

    /// The shards that may be worked on. After a promotion that lost its tail the table may give us a shard that went to another node in the lost tail. That
    /// node acts until its gate closes, or until its first heartbeat that the promoted database answers: at most T after ours. A shard that was
    /// ours all the time has no such rival.
    fn begun(&mut self, sent: Monotonic, shards: Vec<ShardSeen>) -> Vec<ShardSeen> {
        let all = sent >= self.begins_from;
        let held = |seen: &ShardSeen| self.held.contains(&seen.shard) && !self.moves.may_have_gone(seen.shard);
        let begun: Vec<ShardSeen> = shards.into_iter().filter(|seen| all || held(seen)).collect();
        self.moves.forget_others(&begun);
        self.held = begun.iter().map(|seen| seen.shard).collect();
        begun
    }

    /// Takes over where the row says we stand; what we began ourselves is not undone by a heartbeat that was under way.
    fn follow(&mut self, state: NodeState) {
        match (self.state, state) {
            (NodeState::Joining, NodeState::Joining) if self.entering == Step::Idle => self.entering = Step::Due,
            (NodeState::Joining, NodeState::Good) => self.state = NodeState::Good,
            // A promotion lost that we became GOOD. Where the heartbeat was under way while we did, entering again changes nothing.
            (NodeState::Good | NodeState::Draining, NodeState::Joining) if self.entering == Step::Idle && !self.leaves => {
                self.entering = Step::Due
            }
            // It lost that an operator wanted us to drain: he sees it, and says so again.
            (NodeState::Draining, NodeState::Good) if !self.leaves => self.state = NodeState::Good,
            (_, NodeState::Draining) => self.state = NodeState::Draining,
            _ => {}
        }
    }

    /// Whether the database is one that many nodes share.
    #[must_use]
    pub fn shares(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.manner == Manner::Shared)
    }

    /// The database was promoted. What we know may be ahead of a table that lost its tail: all that is ours takes new epochs, under which nothing that was
    /// begun before matches a row, and until they are known nothing begins.
    fn promoted(&mut self, history: &History, effects: &mut Vec<Effect>) {
        effects.push(Effect::Suspend);
        if self.reclaiming == Step::Idle {
            self.reclaiming = Step::Due;
            self.promoted = history.timeline;
        }
    }

    pub(super) fn reclaimed(&mut self, now: Monotonic, done: bool, settings: &Settings) {
        self.reclaiming = Step::Idle;
        // If it was not done, the next heartbeat finds the timeline grown again.
        if let Some(membership) = self.membership.as_mut().filter(|_| done) {
            membership.history.timeline = self.promoted;
            self.fresh_from = now;
            self.begins_from = now + settings.observe_dead;
            self.next_at = self.next_at.min(now);
        }
    }
}
