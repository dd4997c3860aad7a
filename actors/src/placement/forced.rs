//! Moves that must be: shards that nobody owns, shards of nodes that drain, shards whose owner lacks a feature.

use std::cmp::Reverse;

use super::board::{Board, Measure, Room};
use super::plan::{Lists, Move, Plan, Step, Why};
use super::view::{Params, Shard};
use crate::time::Monotonic;

/// Places what nobody owns: with the node it was on its way to, else where it makes the least full node; into the overflow only where nothing else is left.
pub fn place(board: &mut Board<'_>, plan: &mut Plan, lists: &mut Lists<'_>) {
    lists.expected.sort_by_key(|(shard, _)| largest_first(shard));
    for (shard, heir) in std::mem::take(&mut lists.expected) {
        if board.fits(heir, shard, Room::Overflow) {
            assign(board, plan, shard, heir);
        } else {
            lists.orphans.push(shard);
        }
    }
    lists.orphans.sort_by_key(|shard| largest_first(shard));
    for shard in &lists.orphans {
        let best = |room| board.best(shard, |place| board.fits(place, shard, room));
        match best(Room::Capacity).or_else(|| best(Room::Overflow)) {
            Some(place) => assign(board, plan, shard, place),
            None => plan.unplaced.push(shard.id),
        }
    }
}

fn assign(board: &mut Board<'_>, plan: &mut Plan, shard: &Shard, place: usize) {
    board.keep(place, shard);
    plan.moves.push(Move::new(shard, Step::Assign(board.node(place).session), Why::Orphan));
}

/// Plans hand-overs from owners that are alive and may not keep what they have, as far as the receivers' budgets go.
///
/// Where the best receiver has no budget left, another takes the shard only if that leaves it at or below the mean of the end: what would make it
/// fuller would soon move again, so it waits. An empty node beside full ones is thus sent everything, and each user moves once.
pub fn hand_over(board: &mut Board<'_>, plan: &mut Plan, lists: &mut Lists<'_>, params: &Params, now: Monotonic) {
    let (load, weights) = board.totals(Measure::Load);
    let to_come: u128 = lists.draining.iter().map(|shard| u128::from(shard.load)).sum();
    let round = Round { params, now, mean: (load + to_come, weights) };
    for (shards, why) in [(&mut lists.misplaced, Why::Features), (&mut lists.draining, Why::Drain)] {
        shards.sort_by_key(|shard| largest_first(shard));
        for shard in shards.iter() {
            lists.busy |= round.hand_over(board, plan, shard, why);
        }
    }
}

struct Round<'a> {
    params: &'a Params,
    now: Monotonic,
    /// What receivers weigh when all drains are over, as a fraction.
    mean: (u128, u128),
}

impl Round<'_> {
    /// Whether the shard is on its way or will be.
    fn hand_over(&self, board: &mut Board<'_>, plan: &mut Plan, shard: &Shard, why: Why) -> bool {
        let room = |room| self.best(board, shard, room).map(|best| (best, room));
        let found = room(Room::Capacity).or_else(|| room(Room::Overflow).filter(|_| why == Why::Features));
        let Some((best, room)) = found else {
            if why == Why::Drain {
                plan.stuck.push(shard.id)
            } else {
                plan.unplaced.push(shard.id)
            }
            return false;
        };
        let within = |place: usize| shard.load == 0 || board.within(place, shard, self.params.drain_budget);
        let other = |place: usize| within(place) && board.fits(place, shard, room) && self.ends_below_mean(board, place, shard);
        let place = if within(best) { Some(best) } else { board.best(shard, |place| other(place) && !self.shuns(board, place, shard)) };
        if let Some(place) = place {
            if let Some(owner) = shard.owner.and_then(|session| board.find(session)) {
                board.give_up(owner, shard);
            }
            board.arrive(place, shard);
            plan.moves.push(Move::planned(shard, board.node(place).session, why));
        }
        true
    }

    /// The best receiver, whatever its budget; one where a hand-over of the shard just failed only if there is no other.
    fn best(&self, board: &Board<'_>, shard: &Shard, room: Room) -> Option<usize> {
        let fits = |place: usize| board.fits(place, shard, room);
        board.best(shard, |place| fits(place) && !self.shuns(board, place, shard)).or_else(|| board.best(shard, fits))
    }

    fn shuns(&self, board: &Board<'_>, place: usize, shard: &Shard) -> bool {
        self.now < shard.rests_until && shard.avoids == Some(board.node(place).session)
    }

    fn ends_below_mean(&self, board: &Board<'_>, place: usize, shard: &Shard) -> bool {
        let (load, weights) = self.mean;
        let full = u128::from(board.value(place, Measure::Load) + u64::from(shard.load));
        full * weights <= load * u128::from(board.node(place).weight)
    }
}

/// The order in which shards are placed.
pub fn largest_first(shard: &Shard) -> (Reverse<u32>, u16) {
    (Reverse(shard.load), shard.id.0)
}
