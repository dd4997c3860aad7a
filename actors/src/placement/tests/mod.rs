//! Tests of placement: what the plan must hold for every cluster, and the scenarios that it was measured by.

mod acting;
mod handovers;
mod leading;
mod measured;
mod observing;
mod properties;
mod scene;

use std::time::Duration;

use super::plan::{Move, Plan, Step, plan};
use super::rendezvous;
use super::view::{Features, Node, Params, Shard, Target};
use crate::ids::{NodeId, Session, ShardId};
use crate::snapshot::NodeState;
use crate::time::Monotonic;

/// A cluster whose plans are carried out at once.
#[derive(Debug, Clone)]
struct Cluster {
    nodes: Vec<Node>,
    shards: Vec<Shard>,
    params: Params,
    now: Monotonic,
}

/// What a way to the fixpoint took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    rounds: u32,
    moved: u64,
}

impl Cluster {
    /// Good nodes of that capacity and so many users on so many shards, owned by nobody.
    fn new(nodes: i64, cap: u32, users: u32, shards: u16) -> Self {
        // Users fall on shards by chance; a fixed stream of it stands for them.
        let mut loads = vec![0; usize::from(shards)];
        for user in 0..users {
            let draw = rendezvous::draw(ShardId(u16::try_from(user % 65_521).unwrap()), u64::from(user / 65_521));
            loads[usize::try_from(draw % u64::from(shards)).unwrap()] += 1;
        }
        Self {
            nodes: (1..=nodes).map(|session| node(session, cap)).collect(),
            shards: (0..).zip(loads).map(|(id, load)| shard(id, load, None)).collect(),
            params: Params::default(),
            now: Monotonic(0),
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.nodes, &self.shards, &self.params, self.now)
    }

    /// Carries a plan out, hand-overs included.
    fn apply(&mut self, plan: &Plan) {
        for Move { shard, step, .. } in &plan.moves {
            let shard = self.shards.iter_mut().find(|row| row.id == *shard).expect("the shard exists");
            shard.target = None;
            match step {
                Step::Assign(to) | Step::HandOver(to) => shard.owner = Some(*to),
                Step::Cancel => {}
            }
        }
    }

    /// Plans and carries out until nothing is left to do.
    fn settle(&mut self) -> Way {
        let mut way = Way { rounds: 0, moved: 0 };
        loop {
            let plan = self.plan();
            if plan.moves.is_empty() {
                return way;
            }
            way.moved += moved(&plan);
            way.rounds += 1;
            assert!(way.rounds < 500, "no fixpoint: {plan:?}");
            self.apply(&plan);
        }
    }

    fn load(&self, session: i64) -> u64 {
        self.shards.iter().filter(|shard| shard.owner == Some(Session(session))).map(|shard| u64::from(shard.load)).sum()
    }

    fn set(&mut self, session: i64, state: NodeState) {
        self.nodes.iter_mut().filter(|node| node.session.0 == session).for_each(|node| node.state = state);
    }

    /// The process of a node starts again: another session, the same name.
    fn restart(&mut self, old: i64, new: i64) {
        let node = self.nodes.iter_mut().find(|node| node.session.0 == old).expect("the node exists");
        *node = Node { session: Session(new), state: NodeState::Good, ..*node };
    }

    /// The fullest good node against their mean, in thousandths.
    fn evenness(&self) -> u64 {
        let good: Vec<u64> = self.nodes.iter().filter(|node| node.state == NodeState::Good).map(|node| self.load(node.session.0)).collect();
        good.iter().max().unwrap() * 1000 * good.len() as u64 / good.iter().sum::<u64>()
    }
}

fn node(session: i64, cap: u32) -> Node {
    let key = rendezvous::key(&NodeId(format!("node-{session}").into()));
    Node { session: Session(session), key, state: NodeState::Good, weight: 1, cap, features: Features::default() }
}

fn shard(id: u16, load: u32, owner: Option<i64>) -> Shard {
    let (id, owner) = (ShardId(id), owner.map(Session));
    Shard { id, load, needs: Features::default(), owner, target: None, rests_until: Monotonic(0), avoids: None }
}

/// Load that a plan moves.
fn moved(plan: &Plan) -> u64 {
    plan.moves.iter().filter(|step| step.step != Step::Cancel).map(|step| u64::from(step.load)).sum()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn under_way(to: i64, since: Monotonic, ready_since: Option<Monotonic>) -> Option<Target> {
    Some(Target { session: Session(to), since, ready_since })
}
