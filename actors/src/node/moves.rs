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
    /// Offered in a call of which nobody knows what came: since when. The next heartbeat that began later knows.
    doubtful: BTreeMap<ShardId, (Fence, Monotonic)>,
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
    pub fn handed_over(
        &mut self,
        now: Monotonic,
        offered: Vec<(ShardId, Fence)>,
        answer: Result<Vec<ShardId>, StoreError>,
        effects: &mut Vec<Effect>,
    ) {
        self.giving = false;
        match answer {
            Ok(given) => {
                let kept = offered.into_iter().map(|(shard, _)| shard).filter(|shard| !given.contains(shard)).collect();
                tell(given, kept, effects);
            }
            Err(StoreError::OutcomeUnknown(_)) => self.doubtful.extend(offered.into_iter().map(|(shard, epoch)| (shard, (epoch, now)))),
            Err(_) => tell(Vec::new(), offered.into_iter().map(|(shard, _)| shard).collect(), effects),
        }
    }

    /// A heartbeat that was sent at `sent` says what is ours.
    pub fn seen(&mut self, sent: Monotonic, ours: &[ShardSeen], effects: &mut Vec<Effect>) {
        if self.doubtful.is_empty() {
            return;
        }
        let epochs: BTreeMap<ShardId, Fence> = ours.iter().map(|seen| (seen.shard, seen.epoch)).collect();
        let known: Vec<(ShardId, Fence)> =
            self.doubtful.iter().filter(|(_, (_, since))| *since <= sent).map(|(shard, (epoch, _))| (*shard, *epoch)).collect();
        self.doubtful.retain(|_, (_, since)| *since > sent);
        let (kept, given): (Vec<_>, Vec<_>) = known.into_iter().partition(|(shard, epoch)| epochs.get(shard) == Some(epoch));
        let names = |pairs: Vec<(ShardId, Fence)>| pairs.into_iter().map(|(shard, _)| shard).collect();
        tell(names(given), names(kept), effects);
    }

    /// Begins the calls that can be begun.
    pub fn advance(&mut self, effects: &mut Vec<Effect>) {
        if !self.saying && !self.ready.is_empty() {
            self.saying = true;
            effects.push(Effect::SayReady(std::iter::from_fn(|| self.ready.pop_first()).take(MOST).collect()));
        }
        if !self.giving && !self.offers.is_empty() {
            self.giving = true;
            effects.push(Effect::HandOver(std::iter::from_fn(|| self.offers.pop_first()).take(MOST).collect()));
        }
    }
}

fn tell(given: Vec<ShardId>, kept: Vec<ShardId>, effects: &mut Vec<Effect>) {
    if !given.is_empty() {
        effects.push(Effect::Given(given));
    }
    if !kept.is_empty() {
        effects.push(Effect::Kept(kept));
    }
}
