//! The plan of a round: which shards are given to whom at once, which are to be handed over, and which nobody has room for.
//!
//! Pure and of integers only, so that every planner decides the same. Shards stay where they are unless their owner is gone, drains or cannot have
//! them; only when nothing of that kind is to be done are they moved for balance. Larger shards come first.

use super::board::Board;
use super::forced;
use super::rebalance;
use super::view::{Node, Params, Shard, Target};
use crate::ids::{Session, ShardId};
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// What is done with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It belongs to that node from this commit on.
    Assign(Session),
    /// It is to be handed over to that node.
    HandOver(Session),
    /// The hand-over under way is given up.
    Cancel,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nobody owned it.
    Orphan,
    /// Its owner drains.
    Drain,
    /// Its owner lacks a feature that it needs.
    Features,
    /// For balance.
    Balance,
    /// The node it was on its way to cannot have it any more.
    TargetLost,
    /// The node it was on its way to was not ready in time.
    NotReady,
    /// Its owner did not release it in time.
    NotReleased,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// About which shard.
    pub shard: ShardId,
    /// Its users.
    pub load: u32,
    /// Who owns it in the table, alive or not.
    pub from: Option<Session>,
    /// What is done.
    pub step: Step,
    /// Why.
    pub why: Why,
}

impl Move {
    /// The decision about a shard.
    #[must_use]
    pub fn new(shard: &Shard, step: Step, why: Why) -> Self {
        Self { shard: shard.id, load: shard.load, from: shard.owner, step, why }
    }

    /// Gives a shard to a live receiver: a shard without users at once, any other by a hand-over.
    #[must_use]
    pub fn planned(shard: &Shard, to: Session, why: Why) -> Self {
        Self::new(shard, if shard.load == 0 { Step::Assign(to) } else { Step::HandOver(to) }, why)
    }
}

/// All decisions of a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At most one a shard.
    pub moves: Vec<Move>,
    /// Shards that need an owner and that nobody has room or features for.
    pub unplaced: Vec<ShardId>,
    /// Shards of draining nodes that nobody has room or features for: the drain stands still.
    pub stuck: Vec<ShardId>,
}

/// Shards by what is to be done with them.
#[derive(Debug, Default)]
pub struct Lists<'a> {
    /// On their way to a live node while their owner is gone, with that node's place.
    pub expected: Vec<(&'a Shard, usize)>,
    /// Owned by nobody alive.
    pub orphans: Vec<&'a Shard>,
    /// Owned by a node that drains.
    pub draining: Vec<&'a Shard>,
    /// Owned by a node that lacks a feature.
    pub misplaced: Vec<&'a Shard>,
    /// Well where they are, with the owner's place.
    pub settled: Vec<(&'a Shard, usize)>,
    /// Whether a hand-over that had to be is still under way.
    pub busy: bool,
}

/// Decides a round. `now` is on the clock that the shards' times were taken from.
#[must_use]
pub fn plan(nodes: &[Node], shards: &[Shard], params: &Params, now: Monotonic) -> Plan {
    let (mut board, mut plan, mut lists) = (Board::new(nodes, params), Plan::default(), Lists::default());
    for shard in shards {
        sort(&mut board, &mut plan, &mut lists, shard, params, now);
    }
    forced::place(&mut board, &mut plan, &mut lists);
    forced::hand_over(&mut board, &mut plan, &mut lists, params, now);
    if params.rebalance && plan.moves.is_empty() && !lists.busy {
        rebalance::rebalance(&mut board, &mut plan, &lists, params, now);
    }
    plan
}

/// Finds out what is to be done with a shard and enters it into the accounts.
fn sort<'a>(board: &mut Board<'_>, plan: &mut Plan, lists: &mut Lists<'a>, shard: &'a Shard, params: &Params, now: Monotonic) {
    let owner = shard.owner.and_then(|session| board.find(session));
    let state = owner.map_or(NodeState::Left, |place| board.node(place).state);
    let Some(owner) = owner.filter(|_| matches!(state, NodeState::Good | NodeState::Draining)) else {
        let heir = shard.target.and_then(|target| board.find(target.session)).filter(|place| board.suits(*place, shard));
        match heir {
            Some(heir) => lists.expected.push((shard, heir)),
            None => lists.orphans.push(shard),
        }
        return;
    };
    let well = board.suits(owner, shard);
    if let Some(target) = shard.target {
        let heir = board.find(target.session).filter(|heir| *heir != owner && board.suits(*heir, shard));
        let failed = match heir {
            None => Some(Why::TargetLost),
            Some(_) => overdue(target, params, now),
        };
        match (heir, failed) {
            (Some(heir), None) => {
                board.leave(owner, shard);
                board.arrive(heir, shard);
                lists.busy |= !well;
            }
            (_, failed) => {
                board.keep(owner, shard);
                plan.moves.push(Move::new(shard, Step::Cancel, failed.unwrap_or(Why::TargetLost)));
            }
        }
        return;
    }
    board.keep(owner, shard);
    if state == NodeState::Draining {
        lists.draining.push(shard);
    } else if well {
        lists.settled.push((shard, owner));
    } else {
        lists.misplaced.push(shard);
    }
}

/// Why a hand-over is given up, if it took too long.
fn overdue(target: Target, params: &Params, now: Monotonic) -> Option<Why> {
    match target.ready_since {
        Some(ready) if now.since(ready) > params.release_within => Some(Why::NotReleased),
        None if now.since(target.since) > params.ready_within => Some(Why::NotReady),
        _ => None,
    }
}
