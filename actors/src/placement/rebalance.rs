//! Moves for balance: from the fullest node to the emptiest, one shard at a time, as long as each makes the whole more even.
//!
//! A move lowers the potential `sum of w * (L / w - mean)^2`: the shard taken weighs at most `gap / (w_from + w_to)`, with
//! `gap = L_from * w_to - L_to * w_from`; more would overshoot. So it ends, and no node becomes fuller than the one that gave.

use super::board::{Board, Measure, Room};
use super::plan::{Lists, Move, Plan, Why};
use super::view::{Params, Shard};
use crate::time::Monotonic;

/// How many of the emptiest nodes are tried before the fullest is passed over.
const COLDEST: usize = 8;

/// Spreads users, within the budgets, and then shards without users, in bulk.
pub fn rebalance(board: &mut Board<'_>, plan: &mut Plan, lists: &Lists<'_>, params: &Params, now: Monotonic) {
    for measure in [Measure::Load, Measure::Count] {
        Round::new(board, lists, measure, params, now).run(board, plan);
    }
}

struct Round<'a> {
    measure: Measure,
    params: &'a Params,
    now: Monotonic,
    /// Sum of loads and of weights of all receivers: their mean as a fraction.
    mean: (u128, u128),
    /// By place: what may leave, the lightest first.
    movable: Vec<Vec<&'a Shard>>,
    /// Places from which nothing more can be moved.
    passed_over: Vec<bool>,
}

impl<'a> Round<'a> {
    fn new(board: &Board<'_>, lists: &Lists<'a>, measure: Measure, params: &'a Params, now: Monotonic) -> Self {
        let places = board.receivers().iter().max().map_or(0, |last| last + 1);
        let mut movable: Vec<Vec<&Shard>> = vec![Vec::new(); places];
        for (shard, owner) in &lists.settled {
            let rests = measure == Measure::Load && now < shard.rests_until;
            if Measure::of(shard) == measure && !rests && *owner < places {
                movable[*owner].push(shard);
            }
        }
        movable.iter_mut().for_each(|shards| shards.sort_unstable_by_key(|shard| (shard.load, std::cmp::Reverse(shard.id))));
        Self { measure, params, now, mean: board.totals(measure), movable, passed_over: vec![false; places] }
    }

    fn run(mut self, board: &mut Board<'_>, plan: &mut Plan) {
        while let Some(hot) = self.hottest(board) {
            let cold = self.coldest(board, hot);
            let Some(&coldest) = cold.first() else { return };
            if !self.is_hot(board, hot) && !self.is_cold(board, coldest) {
                return;
            }
            let found = cold.into_iter().find_map(|cold| Some((cold, self.pick(board, hot, cold)?)));
            let Some((cold, position)) = found else {
                self.passed_over[hot] = true;
                continue;
            };
            let shard = self.movable[hot].remove(position);
            board.give_up(hot, shard);
            board.arrive(cold, shard);
            plan.moves.push(Move::planned(shard, board.node(cold).session, Why::Balance));
        }
    }

    fn hottest(&self, board: &Board<'_>) -> Option<usize> {
        let left = board.receivers().iter().copied().filter(|place| !self.passed_over[*place]);
        left.max_by(|a, b| board.compare(*a, *b, self.measure, 0).then_with(|| b.cmp(a)))
    }

    /// The emptiest receivers that may be sent more, the emptiest first.
    fn coldest(&self, board: &Board<'_>, hot: usize) -> Vec<usize> {
        let smallest = self.movable[hot].first();
        let open = |place: usize| {
            place != hot
                && smallest.is_none_or(|shard| self.measure == Measure::Count || board.within(place, shard, self.params.move_budget))
        };
        let mut cold: Vec<usize> = board.receivers().iter().copied().filter(|place| open(*place)).collect();
        let order = |a: &usize, b: &usize| board.compare(*a, *b, self.measure, 0).then_with(|| a.cmp(b));
        if cold.len() > COLDEST {
            cold.select_nth_unstable_by(COLDEST, order);
            cold.truncate(COLDEST);
        }
        cold.sort_unstable_by(order);
        cold
    }

    /// The heaviest shard that may go from the one to the other.
    fn pick(&self, board: &Board<'_>, hot: usize, cold: usize) -> Option<usize> {
        if !self.is_hot(board, hot) && !self.is_cold(board, cold) {
            return None;
        }
        let (from, to) = (u128::from(board.node(hot).weight), u128::from(board.node(cold).weight));
        let (fuller, emptier) = (u128::from(board.value(hot, self.measure)) * to, u128::from(board.value(cold, self.measure)) * from);
        let most = fuller.checked_sub(emptier)? / (from + to);
        let shards = &self.movable[hot];
        let light_enough = shards.partition_point(|shard| u128::from(self.measure.size(shard)) <= most);
        shards[..light_enough].iter().rposition(|shard| {
            let shunned = self.now < shard.rests_until && shard.avoids == Some(board.node(cold).session);
            let within = self.measure == Measure::Count || board.within(cold, shard, self.params.move_budget);
            !shunned && within && board.suits(cold, shard) && board.fits(cold, shard, Room::Capacity)
        })
    }

    /// Whether the node is above the mean by more than is let be.
    fn is_hot(&self, board: &Board<'_>, place: usize) -> bool {
        let (value, mean) = self.beside_mean(board, place);
        value * 100 > mean * u128::from(100 + self.params.delta_percent)
    }

    /// Whether the node is below the mean by more than is let be.
    fn is_cold(&self, board: &Board<'_>, place: usize) -> bool {
        let (value, mean) = self.beside_mean(board, place);
        value * 100 < mean * u128::from(100_u32.saturating_sub(self.params.delta_percent))
    }

    /// What the node weighs, and what it would at the mean, both on one scale.
    fn beside_mean(&self, board: &Board<'_>, place: usize) -> (u128, u128) {
        let (load, weights) = self.mean;
        (u128::from(board.value(place, self.measure)) * weights, load * u128::from(board.node(place).weight))
    }
}
