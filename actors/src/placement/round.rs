//! One planning round: from what a leader saw to what it wants committed.

use std::collections::BTreeSet;

use super::memory::Memory;
use super::observe::{Observer, beats};
use super::plan::{Plan, Step, Why, plan};
use super::rendezvous;
use super::view::{Features, Node, Shard};
use crate::ids::{Session, ShardId};
use crate::ports::cluster_store::{Assign, ClusterView, Features as Names, NodeSeen, PlanCommit, Reason, Retarget, ShardView, Victim};
use crate::settings::Settings;
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// What a round is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// Who leads.
    pub me: Session,
    /// What was seen, shards included.
    pub view: &'a ClusterView,
    /// What is remembered.
    pub memory: &'a Memory,
    /// Who is silent.
    pub observer: &'a Observer,
    /// Who is judged BAD in this round.
    pub victims: &'a [Session],
    /// Whether membership was quiet for long enough to move shards for balance.
    pub quiet: bool,
    /// When.
    pub now: Monotonic,
    /// The settings.
    pub settings: &'a Settings,
}

/// Which nodes are given nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wary {
    /// Those that have been silent for a while: they may be dying along with the victims.
    OfSilent,
    /// Only those that are dead and not judged.
    OfDead,
}

impl Round<'_> {
    /// The plan, and what is to be committed for it, if anything.
    #[must_use]
    pub fn decide(&self) -> (Plan, Option<PlanCommit>) {
        let mut plan = self.plan(Wary::OfSilent);
        if !plan.unplaced.is_empty() {
            plan = self.plan(Wary::OfDead);
        }
        let commit = self.commit(&plan);
        let something = !(commit.victims.is_empty() && commit.assigns.is_empty() && commit.retargets.is_empty());
        (plan, something.then_some(commit))
    }

    fn plan(&self, wary: Wary) -> Plan {
        let bits = Bits::of(self.view);
        let nodes: Vec<Node> = self.view.nodes.iter().map(|row| self.node(row, wary, &bits)).collect();
        let shards: Vec<Shard> = self.view.shards.iter().map(|row| self.shard(row, &bits)).collect();
        let silent = self.view.nodes.iter().any(|row| row.session != self.me && self.observer.is_silent(row.session, self.settings));
        plan(&nodes, &shards, &self.settings.placement.params(self.quiet && !silent), self.now)
    }

    fn node(&self, row: &NodeSeen, wary: Wary, bits: &Bits<'_>) -> Node {
        let doubted = row.session != self.me
            && match wary {
                Wary::OfSilent => self.observer.is_silent(row.session, self.settings),
                Wary::OfDead => self.observer.is_dead(row.session, self.settings),
            };
        Node {
            session: row.session,
            key: rendezvous::key(&row.node),
            state: if self.victims.contains(&row.session) { NodeState::Bad } else { row.state },
            weight: if doubted { 0 } else { row.weight },
            cap: row.max_users,
            features: bits.had(&row.features),
        }
    }

    fn shard(&self, row: &ShardView, bits: &Bits<'_>) -> Shard {
        let known = self.memory.of(row.shard);
        Shard {
            id: row.shard,
            load: row.users,
            needs: bits.needed(&row.requires),
            owner: row.owner,
            target: known.target,
            rests_until: known.rests_until,
            avoids: known.avoids,
        }
    }

    fn commit(&self, plan: &Plan) -> PlanCommit {
        let rows = self.view.nodes.iter().filter(|row| self.victims.contains(&row.session));
        let mut commit = PlanCommit {
            by: self.me,
            assign_ver: self.view.assign_ver,
            victims: rows.map(|row| Victim { session: row.session, hb_seq: row.hb_seq }).collect(),
            assigns: Vec::new(),
            retargets: Vec::new(),
        };
        for step in &plan.moves {
            let Some(row) = self.row(step.shard) else { continue };
            let (shard, epoch, reason) = (row.shard, row.epoch, self.reason(step.why, row.owner));
            match step.step {
                Step::Assign(to) => commit.assigns.push(Assign { shard, epoch, to: Some(to), reason }),
                Step::HandOver(to) => commit.retargets.push(Retarget { shard, epoch, target: Some(to), reason }),
                Step::Cancel => commit.retargets.push(Retarget { shard, epoch, target: None, reason }),
            }
        }
        // The table shall not name an owner that is none.
        for row in plan.unplaced.iter().filter_map(|shard| self.row(*shard)) {
            if row.owner.is_some() && !self.lives(row.owner) {
                let reason = self.reason(Why::Orphan, row.owner);
                commit.assigns.push(Assign { shard: row.shard, epoch: row.epoch, to: None, reason });
            }
        }
        commit
    }

    fn row(&self, shard: ShardId) -> Option<&ShardView> {
        let found = self.view.shards.binary_search_by_key(&shard, |row| row.shard).ok()?;
        self.view.shards.get(found)
    }

    fn lives(&self, session: Option<Session>) -> bool {
        self.view.nodes.iter().any(|row| Some(row.session) == session && beats(row.state) && !self.victims.contains(&row.session))
    }

    fn reason(&self, why: Why, owner: Option<Session>) -> Reason {
        let judged = |row: &NodeSeen| row.state == NodeState::Bad || self.victims.contains(&row.session);
        match why {
            Why::Orphan => match owner {
                None => Reason::Unowned,
                Some(owner) if self.view.nodes.iter().any(|row| row.session == owner && judged(row)) => Reason::Failed,
                Some(_) => Reason::Gone,
            },
            Why::Drain => Reason::Drain,
            Why::Features => Reason::Ineligible,
            Why::Balance => Reason::Rebalance,
            Why::TargetLost | Why::NotReady | Why::NotReleased => Reason::Cancelled,
        }
    }
}

/// The requirements that occur, each a bit. The 64th stands for all that are beyond 63, together.
struct Bits<'a>(Vec<&'a Names>);

impl<'a> Bits<'a> {
    fn of(view: &'a ClusterView) -> Self {
        let none = Names::default();
        let distinct: BTreeSet<&Names> = view.shards.iter().map(|row| &row.requires).filter(|names| **names != none).collect();
        Self(distinct.into_iter().collect())
    }

    fn bit(place: usize) -> u64 {
        1 << place.min(63)
    }

    fn needed(&self, names: &Names) -> Features {
        Features(self.0.iter().position(|known| *known == names).map_or(0, Self::bit))
    }

    fn had(&self, names: &Names) -> Features {
        let lacking =
            self.0.iter().enumerate().filter(|(_, needed)| !names.cover(needed)).fold(0, |bits, (place, _)| bits | Self::bit(place));
        Features(!lacking)
    }
}
