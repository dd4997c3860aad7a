//! What holds for every cluster, P1 to P9: each shard is decided about once, nothing moves without need, nobody overflows, it comes to rest evenly.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::placement::plan::Why;

/// Weights are 1 to 4: sums of squares over them are whole in twelfths.
const TWELVE: i128 = 12;
/// Clusters that a run looks at, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 1_500;

const STATES: [NodeState; 6] = [NodeState::Good, NodeState::Good, NodeState::Good, NodeState::Draining, NodeState::Bad, NodeState::Joining];

fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if asked { ProptestConfig::default().cases } else { CASES }, ..ProptestConfig::default() }
}

prop_compose! {
    fn any_node()(state in 0..STATES.len(), weight in 1..5_u32, cap in 0..120_u32, features in 0..4_u64) -> Node {
        Node { state: STATES[state], weight, features: Features(features | 1), ..node(0, cap) }
    }
}

prop_compose! {
    fn any_shard(nodes: usize)(
        load in prop_oneof![2 => Just(0_u32), 6 => 1..9_u32, 1 => 10..60_u32],
        needs in prop_oneof![9 => Just(0_u64), 3 => Just(1), 1 => Just(2)],
        owner in prop_oneof![6 => (0..nodes + 1).prop_map(Some), 1 => Just(None)],
        target in prop_oneof![8 => Just(None), 1 => (0..nodes + 1, 80..101_i64, prop::option::of(90..101_i64)).prop_map(Some)],
        rest in prop_oneof![5 => Just(0_i64), 1 => 90..120_i64],
        avoids in prop_oneof![9 => Just(None), 1 => (0..nodes).prop_map(Some)],
    ) -> Shard {
        let at = |second: i64| Monotonic(second * 1_000_000);
        let session = |place: usize| i64::try_from(place).unwrap();
        Shard {
            needs: Features(needs),
            target: target.and_then(|(to, since, ready)| under_way(session(to), at(since), ready.map(at))),
            rests_until: at(rest),
            avoids: avoids.map(|place| Session(session(place))),
            ..shard(0, load, owner.map(session))
        }
    }
}

prop_compose! {
    fn any_cluster()(count in 1..9_usize)(
        nodes in prop::collection::vec(any_node(), count),
        shards in prop::collection::vec(any_shard(count), 0..40),
        move_budget in 1..40_u32,
        drain_budget in 1..40_u32,
    ) -> Cluster {
        // Sessions 0 to count - 1 exist, owner and target may also be the one after them, which is gone.
        let nodes = (0..).zip(nodes).map(|(session, row)| Node { key: node(session, 0).key, session: Session(session), ..row }).collect();
        let shards = (0..).zip(shards).map(|(id, shard)| Shard { id: ShardId(id), ..shard }).collect();
        let params = Params { move_budget, drain_budget, ..Params::default() };
        Cluster { nodes, shards, params, now: Monotonic(100_000_000) }
    }
}

impl Cluster {
    fn find(&self, session: Option<Session>) -> Option<&Node> {
        self.nodes.iter().find(|node| Some(node.session) == session)
    }

    fn suits(&self, session: Option<Session>, shard: &Shard) -> bool {
        self.find(session).is_some_and(|node| node.state == NodeState::Good && node.features.cover(shard.needs))
    }

    fn alive(&self, session: Option<Session>) -> bool {
        self.find(session).is_some_and(|node| matches!(node.state, NodeState::Good | NodeState::Draining))
    }

    /// Where a shard will be when what is under way has arrived.
    fn heading(&self, shard: &Shard) -> Option<Session> {
        shard.target.map(|target| target.session).filter(|session| self.suits(Some(*session), shard)).or(shard.owner)
    }

    /// Sum of squares over weights of the good nodes, in twelfths: of users, and of shards without users.
    fn potentials(&self) -> (i128, i128) {
        let mut sums: BTreeMap<Session, (i128, i128)> = BTreeMap::new();
        for shard in &self.shards {
            if let Some(node) = self.find(self.heading(shard)).filter(|node| node.state == NodeState::Good) {
                let sum = sums.entry(node.session).or_default();
                sum.0 += i128::from(shard.load);
                sum.1 += i128::from(shard.load == 0);
            }
        }
        let square = |node: &Node, value: i128| value * value * TWELVE / i128::from(node.weight);
        sums.iter()
            .filter_map(|(session, sum)| Some((self.find(Some(*session))?, sum)))
            .fold((0, 0), |(a, b), (node, sum)| (a + square(node, sum.0), b + square(node, sum.1)))
    }

    /// P1, P2, P3, P7, P8 for one round.
    fn check(&self, plan: &Plan) -> Result<(), TestCaseError> {
        self.check_decisions(plan)?;
        self.check_receivers(plan)
    }

    fn check_decisions(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let decided: BTreeMap<ShardId, &Move> = plan.moves.iter().map(|step| (step.shard, step)).collect();
        prop_assert_eq!(decided.len(), plan.moves.len(), "one decision a shard");
        let forced = plan.moves.iter().any(|step| step.why != Why::Balance);
        for shard in &self.shards {
            let (step, unplaced) = (decided.get(&shard.id), plan.unplaced.contains(&shard.id));
            prop_assert!(!(unplaced && step.is_some()), "placed and unplaced: {:?}", shard);
            if !self.alive(shard.owner) {
                prop_assert!(unplaced || step.is_some_and(|step| matches!(step.step, Step::Assign(_))), "forgotten: {:?}", shard);
            }
            let Some(step) = step else { continue };
            prop_assert_eq!((step.from, step.load), (shard.owner, shard.load));
            let well = self.suits(shard.owner, shard);
            prop_assert_eq!(step.why == Why::Orphan, !self.alive(shard.owner));
            match step.step {
                Step::Cancel => prop_assert!(shard.target.is_some()),
                Step::Assign(to) | Step::HandOver(to) => {
                    prop_assert!(self.suits(Some(to), shard), "state and features of the receiver");
                    prop_assert!(!(forced && well), "a shard that is well moved in a round of need: {:?}", step);
                    prop_assert!(shard.owner != Some(to));
                    prop_assert_eq!(matches!(step.step, Step::Assign(_)), shard.load == 0 || !self.alive(shard.owner));
                    prop_assert!(shard.load == 0 || step.why != Why::Balance || self.now >= shard.rests_until, "it rests");
                }
            }
        }
        Ok(())
    }

    fn check_receivers(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let budget = self.params.move_budget.max(self.params.drain_budget);
        for node in &self.nodes {
            let at = |session: Option<Session>| session == Some(node.session);
            let cancelled = |shard: &Shard| plan.moves.iter().any(|step| step.shard == shard.id && step.step == Step::Cancel);
            let sum = |loads: &mut dyn Iterator<Item = u32>| loads.map(u64::from).sum::<u64>();
            let given = |step: &&Move| matches!(step.step, Step::Assign(to) | Step::HandOver(to) if to == node.session) && step.load > 0;
            let handed = |step: &&Move| step.step == Step::HandOver(node.session);
            let under_way =
                |shard: &&Shard| at(shard.target.map(|t| t.session)) && self.alive(shard.owner) && !cancelled(shard) && !at(shard.owner);
            let mut loads: Vec<u32> = self.shards.iter().filter(under_way).map(|shard| shard.load).collect();
            let own = sum(&mut self.shards.iter().filter(|shard| at(shard.owner)).map(|shard| shard.load));
            if plan.moves.iter().any(|step| given(&step)) {
                let held = own + sum(&mut loads.iter().copied()) + sum(&mut plan.moves.iter().filter(given).map(|step| step.load));
                prop_assert!(held * 100 <= u64::from(node.cap) * 110, "{:?} is given more than it may hold: {}", node, held);
            }
            let before = loads.len();
            loads.extend(plan.moves.iter().filter(handed).map(|step| step.load));
            if loads.len() > before && loads.iter().filter(|load| **load > 0).count() > 1 {
                prop_assert!(sum(&mut loads.iter().copied()) <= u64::from(budget), "{:?}: {:?} at once", node, loads);
            }
        }
        Ok(())
    }

    /// P9: no shard could go from a fuller to an emptier node and make the whole more even, where one of them is out of bounds.
    fn check_even(&self) -> Result<(), TestCaseError> {
        let good: Vec<&Node> = self.nodes.iter().filter(|node| node.state == NodeState::Good).collect();
        let load = |node: &Node| u128::from(self.load(node.session.0));
        let total: u128 = good.iter().map(|node| load(node)).sum();
        let weights: u128 = good.iter().map(|node| u128::from(node.weight)).sum();
        for (hot, cold) in good.iter().flat_map(|hot| good.iter().map(move |cold| (*hot, *cold))) {
            let (w_hot, w_cold) = (u128::from(hot.weight), u128::from(cold.weight));
            let out = load(hot) * weights * 100 > total * w_hot * 105 || load(cold) * weights * 100 < total * w_cold * 95;
            let gap = (load(hot) * w_cold).saturating_sub(load(cold) * w_hot);
            for shard in self.shards.iter().filter(|shard| out && shard.owner == Some(hot.session) && shard.load > 0) {
                let blocked = !self.suits(Some(cold.session), shard) || load(cold) + u128::from(shard.load) > u128::from(cold.cap);
                prop_assert!(blocked || u128::from(shard.load) * (w_hot + w_cold) > gap, "{:?} could go to {:?}", shard, cold);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_plan_decides_once_about_a_shard_moves_only_what_must_be_and_fills_nobody_beyond_his_bounds(cluster in any_cluster()) {
        let plan = cluster.plan();
        cluster.check(&plan)?;
        let mut shuffled = cluster.clone();
        shuffled.nodes.reverse();
        let mut again = shuffled.plan();
        let mut first = plan;
        for plan in [&mut first, &mut again] {
            plan.moves.sort_by_key(|step| step.shard);
        }
        prop_assert_eq!(first, again, "the order in which nodes are listed decides nothing");
    }

    #[test]
    fn plans_come_to_rest_evenly_and_moves_for_balance_only_make_it_more_even(mut cluster in any_cluster()) {
        let mut rounds = 0;
        loop {
            let plan = cluster.plan();
            cluster.check(&plan)?;
            if plan.moves.is_empty() && rounds > 0 {
                break;
            }
            let (before, balance) = (cluster.potentials(), plan.moves.iter().all(|step| step.why == Why::Balance));
            cluster.apply(&plan);
            // What is under way arrives; what rests has rested.
            for place in 0..cluster.shards.len() {
                let heading = cluster.heading(&cluster.shards[place]);
                let shard = &mut cluster.shards[place];
                *shard = Shard { owner: heading, target: None, rests_until: Monotonic(0), ..*shard };
            }
            let after = cluster.potentials();
            if balance && !plan.moves.is_empty() {
                prop_assert!(after.0 <= before.0 && after.1 <= before.1 && after != before, "{:?} then {:?}", before, after);
            }
            rounds += 1;
            prop_assert!(rounds < 200, "no fixpoint");
        }
        if cluster.shards.iter().all(|shard| cluster.suits(shard.owner, shard)) {
            cluster.check_even()?;
        }
    }
}
