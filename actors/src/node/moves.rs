//! What a node has to tell the store about planned moves: shards that it warmed up, and shards that it hands over, many in one call.

use std::collections::{BTreeMap, BTreeSet};

use super::state::Effect;
use crate::ids::{Fence, ShardId};
use crate::ports::StoreError;
use crate::ports::cluster_store::ShardSeen;
use crate::time::Monotonic;

/// Most shards in one call.
const MOST: usize = 512;

/// What waits to be told. One call of each kind is under way at a time; what queued meanwhile is the next.
#[derive(Debug, Default)]
pub struct Moves {
    ready: BTreeSet<ShardId>,
    saying: bool,
    offers: BTreeMap<ShardId, Fence>,
    giving: bool,
    /// Named in a hand-over that may have been carried out: whose they are only a heartbeat says that began after it was settled.
    in_question: BTreeSet<ShardId>,
    /// Offered in a call of which nobody knows what came, and which may yet be carried out.
    doubtful: BTreeSet<ShardId>,
    retaking: bool,
    /// The last try to take them back failed; the next one follows a heartbeat that was answered.
    rests: bool,
    /// What did not go by then does not go any more; the next heartbeat that began later knows whose they are.
    retaken: BTreeMap<ShardId, Monotonic>,
}

impl Moves {
    /// A shard is warmed up.
    pub fn ready(&mut self, shard: ShardId) {
        self.ready.insert(shard);
    }

    /// A shard is at rest and may go.
    pub fn offered(&mut self, shard: ShardId, epoch: Fence) {
        self.offers.insert(shard, epoch);
    }

    /// The store was told which shards are warmed up. Should it not have heard, the next heartbeat shows it and the shard says so again.
    pub fn said(&mut self) {
        self.saying = false;
    }

    /// What came of a hand-over.
    pub fn handed_over(&mut self, offered: Vec<(ShardId, Fence)>, answer: Result<Vec<ShardId>, StoreError>, effects: &mut Vec<Effect>) {
        self.giving = false;
        match answer {
            Ok(given) => {
                let kept = offered.into_iter().map(|(shard, _)| shard).filter(|shard| !given.contains(shard)).collect();
                self.tell(given, kept, effects);
            }
            Err(StoreError::OutcomeUnknown(_)) => self.doubtful.extend(offered.into_iter().map(|(shard, _)| shard)),
            Err(_) => self.tell(Vec::new(), offered.into_iter().map(|(shard, _)| shard).collect(), effects),
        }
    }

    /// Those of these shards that had not gone have new epochs, if it was done.
    pub fn retaken(&mut self, now: Monotonic, shards: &[ShardId], done: bool) {
        self.retaking = false;
        self.rests = !done;
        if done {
            self.doubtful.retain(|shard| !shards.contains(shard));
            self.retaken.extend(shards.iter().map(|shard| (*shard, now)));
        }
    }

    /// A heartbeat that was sent at `sent` says what is ours.
    pub fn seen(&mut self, sent: Monotonic, ours: &[ShardSeen], effects: &mut Vec<Effect>) {
        self.rests = false;
        let known: Vec<ShardId> = self.retaken.extract_if(.., |_, since| *since <= sent).map(|(shard, _)| shard).collect();
        if known.is_empty() {
            return;
        }
        let owned: BTreeSet<ShardId> = ours.iter().map(|seen| seen.shard).collect();
        let (kept, given) = known.into_iter().partition(|shard| owned.contains(shard));
        self.tell(given, kept, effects);
    }

    /// Whether a hand-over of the shard may have been carried out.
    #[must_use]
    pub fn may_have_gone(&self, shard: ShardId) -> bool {
        self.in_question.contains(&shard)
    }

    /// The heartbeat does not name these shards any more: nothing is in question about the others that went.
    pub fn forget_others(&mut self, ours: &[ShardSeen]) {
        self.in_question.retain(|shard| ours.iter().any(|seen| seen.shard == *shard));
    }

    /// Begins the calls that can be begun.
    pub fn advance(&mut self, effects: &mut Vec<Effect>) {
        if !self.saying && !self.ready.is_empty() {
            self.saying = true;
            effects.push(Effect::SayReady(std::iter::from_fn(|| self.ready.pop_first()).take(MOST).collect()));
        }
        if !self.giving && !self.offers.is_empty() {
            self.giving = true;
            let offered: Vec<(ShardId, Fence)> = std::iter::from_fn(|| self.offers.pop_first()).take(MOST).collect();
            self.in_question.extend(offered.iter().map(|(shard, _)| *shard));
            effects.push(Effect::HandOver(offered));
        }
        if !self.retaking && !self.rests && !self.doubtful.is_empty() {
            self.retaking = true;
            effects.push(Effect::Retake(self.doubtful.iter().copied().take(MOST).collect()));
        }
    }

    fn tell(&mut self, given: Vec<ShardId>, kept: Vec<ShardId>, effects: &mut Vec<Effect>) {
        if !given.is_empty() {
            effects.push(Effect::Given(given));
        }
        if !kept.is_empty() {
            self.in_question.retain(|shard| !kept.contains(shard));
            effects.push(Effect::Kept(kept));
        }
    }
}
