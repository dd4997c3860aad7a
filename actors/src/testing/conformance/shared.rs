//! Clauses of a database that many nodes share: membership, leadership, plans and the moves that they begin.

use super::Fixture;
use super::members::{assign, give, lead, member, named, node_of, plan, shard_of, view};
use crate::ids::{Authority, Fence, NodeId, Session, ShardId};
use crate::ports::ClusterStore as _;
use crate::ports::cluster_store::{Assign, Beat, ClusterView, Depth, Joined, Manner, PlanCommit, Reason, Retarget, Target, Victim};
use crate::snapshot::NodeState;

const A: &str = "a";
const B: &str = "b";
const FIRST: ShardId = ShardId(0);
const SECOND: ShardId = ShardId(1);

fn id(name: &str) -> NodeId {
    NodeId(name.into())
}

async fn beat(store: &impl super::Store, name: &str, session: i64) -> Option<Beat> {
    store.beat(&id(name), Session(session), 7).await.unwrap()
}

/// Two nodes, of which `a` (session 1) leads; nobody owns anything.
async fn pair<S: super::Store>(f: &impl Fixture<Store = S>) -> S {
    let store = f.store().await;
    member(&store, A, 1).await;
    member(&store, B, 2).await;
    lead(&store, 1).await;
    store
}

/// What a look tells that no heartbeat changes.
fn lasting(mut view: ClusterView) -> ClusterView {
    view.now = crate::time::Timestamp(0);
    for node in &mut view.nodes {
        (node.hb_seq, node.hb_at, node.users) = (0, crate::time::Timestamp(0), 0);
    }
    view
}

fn retarget(view: &ClusterView, shard: ShardId, target: Option<i64>) -> Retarget {
    Retarget { shard, epoch: shard_of(view, shard).epoch, target: target.map(Session), reason: Reason::Rebalance }
}

fn victim(view: &ClusterView, name: &str) -> Victim {
    let node = node_of(view, name);
    Victim { session: node.session, hb_seq: node.hb_seq }
}

/// Plans that a shard of `a` goes to `b`; says the epoch of its present owner.
async fn move_planned(store: &impl super::Store) -> Fence {
    give(store, 1, FIRST, 1).await;
    let seen = view(store).await;
    let plan = PlanCommit { retargets: vec![retarget(&seen, FIRST, Some(2))], ..plan(&seen, 1) };
    assert!(store.plan_commit(&plan).await.unwrap().is_some());
    shard_of(&seen, FIRST).epoch
}

/// A request to join that the network held back neither sets a living session back nor brings one back that is over.
pub async fn a_late_request_to_join_changes_nothing(f: &impl Fixture) {
    let store = f.store().await;
    member(&store, A, 1).await;
    let before = beat(&store, A, 1).await.unwrap();
    assert!(matches!(store.join(&named(A, 1)).await.unwrap(), Joined::Done { .. }));
    let after = beat(&store, A, 1).await.unwrap();
    assert_eq!((after.hb_seq, after.state), (before.hb_seq + 1, NodeState::Good));
    store.leave(&id(A), Session(1)).await.unwrap();
    assert_eq!(store.join(&named(A, 1)).await.unwrap(), Joined::Over);
    assert_eq!(beat(&store, A, 1).await, None);
}

/// Joining owns nothing; entering makes a node GOOD, once and again.
pub async fn joining_owns_nothing(f: &impl Fixture) {
    let store = f.store().await;
    assert!(matches!(store.join(&named(A, 1)).await.unwrap(), Joined::Done { manner: Manner::Shared, .. }));
    let first = beat(&store, A, 1).await.unwrap();
    assert_eq!((first.state, first.shards.len(), first.incoming.len()), (NodeState::Joining, 0, 0));
    for _ in 0..2 {
        assert!(store.enter(&id(A), Session(1)).await.unwrap());
    }
    let second = beat(&store, A, 1).await.unwrap();
    assert_eq!((second.state, second.hb_seq), (NodeState::Good, first.hb_seq + 1));
    assert!(!store.enter(&id(A), Session(9)).await.unwrap() && !store.enter(&id(B), Session(1)).await.unwrap());
    let seen = view(&store).await;
    assert_eq!((node_of(&seen, A).users, &*node_of(&seen, A).version), (7, "1"));
}

/// A namesake that may be alive is told and left alone; it is replaced only at the heartbeat at which it stood still.
pub async fn a_namesake_is_replaced_where_it_stood_still(f: &impl Fixture) {
    let store = f.store().await;
    member(&store, A, 1).await;
    let Joined::Occupied { session, hb_seq } = store.join(&named(A, 2)).await.unwrap() else { panic!("it was not told") };
    assert_eq!(session, Session(1));
    assert_eq!(beat(&store, A, 2).await, None);
    let moved = beat(&store, A, 1).await.unwrap().hb_seq;
    let mut newcomer = named(A, 2);
    newcomer.replaces = Some((Session(1), hb_seq));
    assert_eq!(store.join(&newcomer).await.unwrap(), Joined::Occupied { session: Session(1), hb_seq: moved });
    newcomer.replaces = Some((Session(1), moved));
    assert!(matches!(store.join(&newcomer).await.unwrap(), Joined::Done { .. }));
    assert_eq!(beat(&store, A, 1).await, None);
    assert!(!store.enter(&id(A), Session(1)).await.unwrap() && !store.lead(Session(1), None).await.unwrap());
    assert_eq!(beat(&store, A, 2).await.unwrap().state, NodeState::Joining);
}

/// A namesake that left is replaced at once; joining again with the same session (its answer was lost) is the same joining.
pub async fn a_namesake_that_left_is_replaced_at_once(f: &impl Fixture) {
    let store = f.store().await;
    member(&store, A, 1).await;
    store.leave(&id(A), Session(1)).await.unwrap();
    assert_eq!(beat(&store, A, 1).await, None);
    for _ in 0..2 {
        assert!(matches!(store.join(&named(A, 2)).await.unwrap(), Joined::Done { .. }));
    }
    assert!(beat(&store, A, 2).await.is_some());
}

/// Leadership is taken from whoever was seen to have it, by a node that is GOOD, by one of two at a time.
pub async fn leadership_is_taken_as_it_was_seen(f: &impl Fixture) {
    let store = f.store().await;
    store.join(&named(A, 1)).await.unwrap();
    assert!(!store.lead(Session(1), None).await.unwrap(), "it is JOINING");
    store.enter(&id(A), Session(1)).await.unwrap();
    member(&store, B, 2).await;
    let (one, two) = tokio::join!(store.lead(Session(1), None), store.lead(Session(2), None));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one != two, "one of them: {one} {two}");
    let (leader, other) = if one { (1, 2) } else { (2, 1) };
    assert_eq!(store.view(Depth::Leader).await.unwrap().leader, Some(Session(leader)));
    assert!(!store.lead(Session(other), None).await.unwrap());
    assert!(store.lead(Session(other), Some(Session(leader))).await.unwrap());
    assert!(!store.lead(Session(9), Some(Session(other))).await.unwrap(), "nobody knows it");
}

/// A plan gives shards to owners, under one new epoch that heartbeats and the log tell.
pub async fn a_plan_gives_shards(f: &impl Fixture) {
    let store = pair(f).await;
    let seen = view(&store).await;
    let plan = PlanCommit { assigns: vec![assign(&seen, SECOND, 2), assign(&seen, FIRST, 1)], ..plan(&seen, 1) };
    assert_eq!(store.plan_commit(&plan).await.unwrap(), Some(seen.assign_ver + 1));
    let owner = beat(&store, A, 1).await.unwrap();
    assert_eq!(
        (owner.assign_ver, owner.shards.len(), owner.shards[0].shard, owner.shards[0].target),
        (seen.assign_ver + 1, 1, FIRST, None)
    );
    assert_eq!(owner.shards[0].epoch, Fence::new(seen.history.timeline, seen.assign_ver + 1));
    assert_eq!(beat(&store, B, 2).await.unwrap().shards[0].shard, SECOND);
    let log = store.assign_log(10).await.unwrap();
    let told: Vec<_> = log.iter().map(|line| (line.shard, line.by.clone(), line.from.clone(), line.to.clone())).collect();
    assert_eq!(told, [(Some(FIRST), Some(id(A)), None, Some(id(A))), (Some(SECOND), Some(id(A)), None, Some(id(B)))]);
    assert!(log.iter().all(|line| line.ver == seen.assign_ver + 1 && line.epoch == owner.shards[0].epoch && line.reason == "unowned"));
    assert_eq!(store.assign_log(1).await.unwrap().len(), 1);
    assert_eq!(store.plan_commit(&plan).await.unwrap(), None, "a second time it is stale");
}

/// Makes a plan stale.
type Spoil = Box<dyn Fn(&mut PlanCommit) + Send>;

/// A plan that was made under other conditions is refused as a whole.
pub async fn a_stale_plan_changes_nothing(f: &impl Fixture) {
    let store = pair(f).await;
    store.join(&named("c", 3)).await.unwrap();
    member(&store, "d", 4).await;
    store.drain(&id("d")).await.unwrap();
    give(&store, 1, FIRST, 1).await;
    let seen = view(&store).await;
    let good = PlanCommit {
        victims: vec![victim(&seen, "c")],
        assigns: vec![assign(&seen, SECOND, 1)],
        retargets: vec![retarget(&seen, FIRST, Some(2))],
        ..plan(&seen, 1)
    };
    let wrong: Vec<(&str, Spoil)> = vec![
        ("another number", Box::new(|plan| plan.assign_ver -= 1)),
        ("another leader", Box::new(|plan| plan.by = Session(2))),
        ("a victim that beat", Box::new(|plan| plan.victims[0].hb_seq -= 1)),
        ("a victim that nobody knows", Box::new(|plan| plan.victims[0].session = Session(99))),
        ("an owner that is JOINING", Box::new(|plan| plan.assigns[0].to = Some(Session(3)))),
        ("an owner that is DRAINING", Box::new(|plan| plan.assigns[0].to = Some(Session(4)))),
        ("an owner that nobody knows", Box::new(|plan| plan.assigns[0].to = Some(Session(99)))),
        ("a target that is DRAINING", Box::new(|plan| plan.retargets[0].target = Some(Session(4)))),
        ("a shard under another epoch", Box::new(|plan| plan.assigns[0].epoch.0 += 1)),
        ("a move under another epoch", Box::new(|plan| plan.retargets[0].epoch.0 -= 1)),
        ("a shard that is not there", Box::new(|plan| plan.assigns[0].shard = ShardId(u16::MAX))),
        ("a receiver that is a victim", {
            let b = victim(&seen, B);
            Box::new(move |plan| plan.victims.push(b))
        }),
    ];
    for (what, spoil) in wrong {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert_eq!(store.plan_commit(&bad).await.unwrap(), None, "{what}");
        assert_eq!(lasting(view(&store).await), lasting(seen.clone()), "{what}");
    }
    assert_eq!(store.plan_commit(&good).await.unwrap(), Some(seen.assign_ver + 1));
}

/// A node that was judged is over: no heartbeat, no adoption; what was to go to it stays where it is.
pub async fn a_judged_node_is_over(f: &impl Fixture) {
    let store = pair(f).await;
    move_planned(&store).await;
    give(&store, 1, SECOND, 2).await;
    let seen = view(&store).await;
    let held = Authority { fence: shard_of(&seen, SECOND).epoch, session: Session(2) };
    let to_a = Assign { reason: Reason::Failed, ..assign(&seen, SECOND, 1) };
    let judging = PlanCommit { victims: vec![victim(&seen, B)], assigns: vec![to_a], ..plan(&seen, 1) };
    assert!(store.plan_commit(&judging).await.unwrap().is_some());
    assert_eq!(beat(&store, B, 2).await, None);
    assert!(!store.enter(&id(B), Session(2)).await.unwrap() && !store.drain(&id(B)).await.unwrap());
    assert_eq!(store.shard_adopt(SECOND, held).await.unwrap(), None);
    assert_eq!(store.hand_over(Session(2), &[(SECOND, held.fence)]).await.unwrap(), []);
    assert_eq!(store.shard_peek(FIRST, Session(2)).await.unwrap(), None);
    let after = view(&store).await;
    assert_eq!((node_of(&after, B).state, shard_of(&after, FIRST).target), (NodeState::Bad, None));
    assert_eq!(store.assign_log(1).await.unwrap()[0].from, Some(id(B)));
    let again = PlanCommit { victims: vec![victim(&after, B)], ..plan(&after, 1) };
    assert_eq!(store.plan_commit(&again).await.unwrap(), None, "it is over already");
}

/// Contract (6): a heartbeat and the judgement of its session exclude each other, whoever comes first.
pub async fn a_heartbeat_and_a_judgement_exclude_each_other(f: &impl Fixture) {
    let store = pair(f).await;
    let other = f.process(&store).await;
    for round in 0..20 {
        let (name, session) = (format!("n{round}"), 100 + round);
        member(&other, &name, session).await;
        let seen = view(&store).await;
        let judging = PlanCommit { victims: vec![victim(&seen, &name)], ..plan(&seen, 1) };
        let node = id(&name);
        let (judged, beaten) = if round % 2 == 0 {
            tokio::join!(store.plan_commit(&judging), other.beat(&node, Session(session), 0))
        } else {
            let (beaten, judged) = tokio::join!(other.beat(&node, Session(session), 0), store.plan_commit(&judging));
            (judged, beaten)
        };
        assert!(judged.unwrap().is_some() != beaten.unwrap().is_some(), "round {round}: one of them, and not both");
    }
}

/// Of two plans that were made at one moment one is committed.
pub async fn two_plans_exclude_each_other(f: &impl Fixture) {
    let store = pair(f).await;
    let other = f.process(&store).await;
    for round in 0..10 {
        let seen = view(&store).await;
        let to = |to| PlanCommit { assigns: vec![assign(&seen, FIRST, to)], ..plan(&seen, 1) };
        let (first, second) = (to(1), to(2));
        let (one, two) = tokio::join!(store.plan_commit(&first), other.plan_commit(&second));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.is_some() != two.is_some(), "round {round}: {one:?} {two:?}");
        let owner = shard_of(&view(&store).await, FIRST).owner;
        assert_eq!(owner, Some(Session(if one.is_some() { 1 } else { 2 })));
    }
}

/// A planned move: the receiver warms up and says so, the owner hands over, under a new epoch.
pub async fn a_planned_move_is_carried_out(f: &impl Fixture) {
    let store = pair(f).await;
    let epoch = move_planned(&store).await;
    let target = |ready| Some(Target { session: Session(2), ready });
    assert_eq!(beat(&store, A, 1).await.unwrap().shards[0].target, target(false));
    let incoming = beat(&store, B, 2).await.unwrap().incoming;
    assert_eq!((incoming.len(), incoming[0].shard, incoming[0].epoch, incoming[0].ready), (1, FIRST, epoch, false));
    assert!(store.shard_peek(FIRST, Session(2)).await.unwrap().is_some());
    assert_eq!(store.shard_peek(FIRST, Session(1)).await.unwrap(), None);
    store.shards_ready(Session(1), &[FIRST]).await.unwrap();
    store.shards_ready(Session(2), &[SECOND]).await.unwrap();
    assert_eq!(store.hand_over(Session(1), &[(FIRST, epoch)]).await.unwrap(), [], "nobody waits for it");
    store.shards_ready(Session(2), &[FIRST, SECOND]).await.unwrap();
    assert_eq!(beat(&store, A, 1).await.unwrap().shards[0].target, target(true));
    assert!(beat(&store, B, 2).await.unwrap().incoming[0].ready);
    let before = view(&store).await.assign_ver;
    assert_eq!(store.hand_over(Session(1), &[(FIRST, Fence(epoch.0 - 1))]).await.unwrap(), [], "another epoch");
    assert_eq!(store.hand_over(Session(2), &[(FIRST, epoch)]).await.unwrap(), [], "not the owner");
    assert_eq!(view(&store).await.assign_ver, before, "nothing went");
    assert_eq!(store.hand_over(Session(1), &[(SECOND, epoch), (FIRST, epoch)]).await.unwrap(), [FIRST]);
    let after = view(&store).await;
    let row = shard_of(&after, FIRST);
    assert_eq!((row.owner, row.target, after.assign_ver), (Some(Session(2)), None, before + 1));
    assert!(row.epoch > epoch);
    let former = Authority { fence: epoch, session: Session(1) };
    assert_eq!(store.shard_adopt(FIRST, former).await.unwrap(), None);
    assert!(store.shard_adopt(FIRST, Authority { fence: row.epoch, session: Session(2) }).await.unwrap().is_some());
    let line = &store.assign_log(1).await.unwrap()[0];
    assert_eq!((&*line.reason, &line.from, &line.to), ("hand_over", &Some(id(A)), &Some(id(B))));
}

/// A move whose receiver is no longer GOOD does not happen, nor one that was cancelled.
pub async fn a_move_to_nobody_does_not_happen(f: &impl Fixture) {
    let store = pair(f).await;
    let epoch = move_planned(&store).await;
    store.shards_ready(Session(2), &[FIRST]).await.unwrap();
    assert!(store.drain(&id(B)).await.unwrap());
    assert_eq!(store.hand_over(Session(1), &[(FIRST, epoch)]).await.unwrap(), []);
    let seen = view(&store).await;
    let cancel = PlanCommit { retargets: vec![Retarget { reason: Reason::Cancelled, ..retarget(&seen, FIRST, None) }], ..plan(&seen, 1) };
    assert!(store.plan_commit(&cancel).await.unwrap().is_some());
    store.shards_ready(Session(2), &[FIRST]).await.unwrap();
    let after = view(&store).await;
    assert_eq!((shard_of(&after, FIRST).target, shard_of(&after, FIRST).epoch), (None, epoch));
    assert_eq!(store.assign_log(1).await.unwrap()[0].reason, "cancelled");
}

/// A hand-over and a plan that judges its receiver: one of them.
pub async fn a_hand_over_and_a_plan_exclude_each_other(f: &impl Fixture) {
    let store = pair(f).await;
    let other = f.process(&store).await;
    for round in 0..10 {
        let epoch = move_planned(&store).await;
        store.shards_ready(Session(2), &[FIRST]).await.unwrap();
        let seen = view(&store).await;
        let taking = PlanCommit { assigns: vec![assign(&seen, FIRST, 1)], ..plan(&seen, 1) };
        let going = [(FIRST, epoch)];
        let (went, planned) = tokio::join!(store.hand_over(Session(1), &going), other.plan_commit(&taking));
        let (went, planned) = (!went.unwrap().is_empty(), planned.unwrap().is_some());
        assert!(went != planned, "round {round}: one of them, and not both");
    }
}

/// After a promotion the owner takes new epochs; plans for its shards stay.
pub async fn reclaiming_takes_new_epochs(f: &impl Fixture) {
    let store = pair(f).await;
    let epoch = move_planned(&store).await;
    store.shards_ready(Session(2), &[FIRST]).await.unwrap();
    store.reclaim(Session(1), None).await.unwrap();
    let after = view(&store).await;
    let row = shard_of(&after, FIRST);
    assert_eq!((row.owner, row.target), (Some(Session(1)), Some(Target { session: Session(2), ready: true })));
    assert!(row.epoch > epoch);
    assert_eq!(store.shard_adopt(FIRST, Authority { fence: epoch, session: Session(1) }).await.unwrap(), None);
    assert_eq!(store.assign_log(1).await.unwrap()[0].reason, "reclaim");
    store.reclaim(Session(2), None).await.unwrap();
    assert_eq!(view(&store).await.assign_ver, after.assign_ver, "it owns nothing");
    // Of some: what was asked for under their former epoch does not happen any more.
    let epoch = row.epoch;
    store.reclaim(Session(1), Some(&[SECOND])).await.unwrap();
    assert_eq!(shard_of(&view(&store).await, FIRST).epoch, epoch);
    store.reclaim(Session(1), Some(&[FIRST, SECOND])).await.unwrap();
    assert!(shard_of(&view(&store).await, FIRST).epoch > epoch);
    assert_eq!(store.hand_over(Session(1), &[(FIRST, epoch)]).await.unwrap(), []);
}

/// A node that drains keeps what it has until it is taken over or leaves; leaving lets all of it go.
pub async fn a_node_drains_and_leaves(f: &impl Fixture) {
    let store = pair(f).await;
    give(&store, 1, FIRST, 2).await;
    assert!(!store.drain(&id("nobody")).await.unwrap());
    for _ in 0..2 {
        assert!(store.drain(&id(B)).await.unwrap());
    }
    let told = beat(&store, B, 2).await.unwrap();
    assert_eq!((told.state, told.shards.len()), (NodeState::Draining, 1));
    let held = Authority { fence: told.shards[0].epoch, session: Session(2) };
    assert!(store.shard_adopt(FIRST, held).await.unwrap().is_some());
    store.leave(&id(B), Session(2)).await.unwrap();
    let after = view(&store).await;
    assert_eq!((node_of(&after, B).state, shard_of(&after, FIRST).owner), (NodeState::Left, None));
    assert!(shard_of(&after, FIRST).epoch > held.fence);
    let line = &store.assign_log(1).await.unwrap()[0];
    assert_eq!((&*line.reason, &line.from, &line.to), ("leave", &Some(id(B)), &None));
    assert_eq!(store.shard_adopt(FIRST, held).await.unwrap(), None);
    assert!(!store.drain(&id(B)).await.unwrap());
    store.leave(&id(B), Session(2)).await.unwrap();
    assert_eq!(view(&store).await.assign_ver, after.assign_ver, "a second time nothing is left to let go");
}

/// A look goes as deep as it was asked for, over one connection.
pub async fn a_look_goes_as_deep_as_asked(f: &impl Fixture) {
    let store = pair(f).await;
    let names = |view: &ClusterView| view.nodes.iter().map(|node| node.node.0.to_string()).collect::<Vec<_>>();
    let leader = store.view(Depth::Leader).await.unwrap();
    assert_eq!((names(&leader), leader.shards.len()), (vec!["a".to_owned()], 0));
    let nodes = store.view(Depth::Nodes).await.unwrap();
    assert_eq!((names(&nodes), nodes.shards.len()), (vec!["a".to_owned(), "b".to_owned()], 0));
    let all = view(&store).await;
    assert!(all.shards.iter().enumerate().all(|(place, shard)| usize::from(shard.shard.0) == place) && !all.shards.is_empty());
    assert_eq!((leader.link, nodes.link), (all.link, all.link));
    assert_eq!(beat(&store, A, 1).await.unwrap().history, all.history);
}

/// A required feature is written on every shard, once.
pub async fn a_required_feature_is_on_every_shard(f: &impl Fixture) {
    let store = pair(f).await;
    let before = view(&store).await.assign_ver;
    for feature in ["graph", "ews", "graph"] {
        store.require(feature).await.unwrap();
    }
    let after = view(&store).await;
    assert!(after.shards.iter().all(|shard| shard.requires.to_string() == "ews,graph"));
    assert_eq!(after.assign_ver, before + 3);
}

/// The database that was accepted is accepted again without any harm.
pub async fn accepting_the_same_database_pauses_nothing(f: &impl Fixture) {
    let store = pair(f).await;
    let seen = view(&store).await;
    assert_eq!(store.accept_database().await.unwrap(), seen.history);
    assert!(view(&store).await.sending_allowed);
}
