//! How fast a planning round is at a million users: the first assignment, the failure of a node, its return; and how evenly it ends.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use postrider_actors::ids::{NodeId, Session, ShardId};
use postrider_actors::placement::plan::{Move, Plan, Step, plan};
use postrider_actors::placement::rendezvous;
use postrider_actors::placement::view::{Features, Node, Params, Shard};
use postrider_actors::snapshot::NodeState;
use postrider_actors::time::Monotonic;

const USERS: u32 = 1_000_000;
const NODES: i64 = 112;
const CAP: u32 = 10_000;

#[derive(Clone)]
struct Cluster {
    nodes: Vec<Node>,
    shards: Vec<Shard>,
}

impl Cluster {
    fn new(shards: u16) -> Self {
        let mut loads = vec![0; usize::from(shards)];
        let mut state = 1_u64;
        for _ in 0..USERS {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            loads[(state >> 33) as usize % usize::from(shards)] += 1;
        }
        let node = |session: i64| Node {
            session: Session(session),
            key: rendezvous::key(&NodeId(format!("node-{session}").into())),
            state: NodeState::Good,
            weight: 1,
            cap: CAP,
            features: Features::default(),
        };
        let shard = |(id, load): (u16, u32)| Shard {
            id: ShardId(id),
            load,
            needs: Features::default(),
            owner: None,
            target: None,
            rests_until: Monotonic(0),
            avoids: None,
        };
        Self { nodes: (1..=NODES).map(node).collect(), shards: (0..).zip(loads).map(shard).collect() }
    }

    fn plan(&self) -> Plan {
        plan(&self.nodes, &self.shards, &Params::default(), Monotonic(0))
    }

    fn apply(&mut self, plan: &Plan) {
        for step in &plan.moves {
            if let Step::Assign(to) | Step::HandOver(to) = step.step {
                self.shards[usize::from(step.shard.0)].owner = Some(to);
            }
        }
    }

    fn settle(&mut self) -> (u64, u32) {
        let (mut load, mut rounds) = (0, 0);
        loop {
            let plan = self.plan();
            if plan.moves.is_empty() {
                return (load, rounds);
            }
            load += moved(&plan);
            rounds += 1;
            self.apply(&plan);
        }
    }

    fn load(&self, session: Session) -> u64 {
        self.shards.iter().filter(|shard| shard.owner == Some(session)).map(|shard| u64::from(shard.load)).sum()
    }

    /// The fullest good node against the mean of them.
    fn evenness(&self) -> f64 {
        let good = self.nodes.iter().filter(|node| node.state == NodeState::Good);
        let loads: Vec<u64> = good.map(|node| self.load(node.session)).collect();
        *loads.iter().max().expect("there are nodes") as f64 * loads.len() as f64 / loads.iter().sum::<u64>() as f64
    }
}

fn moved(plan: &Plan) -> u64 {
    plan.moves.iter().map(|Move { load, .. }| u64::from(*load)).sum()
}

fn placement(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("placement");
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    for shards in [4096, 16384] {
        let initial = Cluster::new(shards);
        let mut settled = initial.clone();
        let (first, _) = settled.settle();
        println!("{shards} shards, initial: {first} users placed, max/mean {:.3}", settled.evenness());
        let mut failed = settled.clone();
        failed.nodes[0].state = NodeState::Bad;
        let orphans = failed.load(Session(1));
        let failover = failed.plan();
        let mut after = failed.clone();
        after.apply(&failover);
        println!("{shards} shards, failover: {orphans} orphans, {} moved, max/mean {:.3}", moved(&failover), after.evenness());
        after.nodes[0] = Node { session: Session(1001), state: NodeState::Good, ..after.nodes[0] };
        let mut rejoined = after.clone();
        let (back, rounds) = rejoined.settle();
        println!(
            "{shards} shards, rejoin: {back} moved in {rounds} rounds, {} at the node, max/mean {:.3}",
            rejoined.load(Session(1001)),
            rejoined.evenness()
        );
        for (name, cluster) in [("initial", &initial), ("at_rest", &settled), ("failover", &failed), ("rejoin", &after)] {
            group.bench_function(format!("{name}/{shards}_shards"), |bench| {
                bench.iter_batched(|| (), |()| black_box(cluster.plan()), BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, placement);
criterion_main!(benches);
