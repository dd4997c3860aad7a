//! How nodes of the suite join, lead and come to own shards, in either manner.

use super::Store;
use super::world::{LONG, join, node};
use crate::ids::{NodeId, Session, ShardId};
use crate::ports::cluster_store::{Assign, ClusterView, Depth, Join, Joined, Manner, NodeSeen, PlanCommit, Reason, ShardView};

/// A joining node of that name.
#[must_use]
pub fn named(name: &str, session: i64) -> Join {
    Join { node: NodeId(name.into()), ..join(session, LONG) }
}

/// Joins with a session, past a former one of the suite's node, and comes to own all shards.
pub async fn own_all(store: &impl Store, session: i64) {
    let mut newcomer = join(session, LONG);
    let mut joined = store.join(&newcomer).await.unwrap();
    if let Joined::Occupied { session, hb_seq } = joined {
        newcomer.replaces = Some((session, hb_seq));
        joined = store.join(&newcomer).await.unwrap();
    }
    match joined {
        Joined::Done { manner: Manner::Embedded, .. } => {}
        Joined::Done { manner: Manner::Shared, .. } => {
            assert!(store.enter(&node(), Session(session)).await.unwrap());
            lead(store, session).await;
            assign_all(store, session, session).await;
        }
        occupied => panic!("still occupied: {occupied:?}"),
    }
}

/// A node that joined and may own shards of a shared database.
pub async fn member(store: &impl Store, name: &str, session: i64) {
    let joined = store.join(&named(name, session)).await.unwrap();
    assert!(matches!(joined, Joined::Done { manner: Manner::Shared, .. }), "{joined:?}");
    assert!(store.enter(&NodeId(name.into()), Session(session)).await.unwrap());
}

/// Takes leadership, whoever has it.
pub async fn lead(store: &impl Store, session: i64) {
    let seen = view(store).await.leader;
    assert!(store.lead(Session(session), seen).await.unwrap());
}

/// Everything.
pub async fn view(store: &impl Store) -> ClusterView {
    store.view(Depth::Shards).await.unwrap()
}

/// A shard of a view.
#[must_use]
pub fn shard_of(view: &ClusterView, shard: ShardId) -> &ShardView {
    view.shards.iter().find(|row| row.shard == shard).expect("the shard is there")
}

/// A node of a view.
#[must_use]
pub fn node_of<'a>(view: &'a ClusterView, name: &str) -> &'a NodeSeen {
    view.nodes.iter().find(|row| &*row.node.0 == name).expect("the node is there")
}

/// An empty plan of a leader that saw this view.
#[must_use]
pub fn plan(view: &ClusterView, by: i64) -> PlanCommit {
    PlanCommit { by: Session(by), assign_ver: view.assign_ver, victims: Vec::new(), assigns: Vec::new(), retargets: Vec::new() }
}

/// One shard to one owner, as the view has it.
#[must_use]
pub fn assign(view: &ClusterView, shard: ShardId, to: i64) -> Assign {
    Assign { shard, epoch: shard_of(view, shard).epoch, to: Some(Session(to)), reason: Reason::Unowned }
}

/// A leader gives all shards to one session.
pub async fn assign_all(store: &impl Store, by: i64, to: i64) {
    let view = view(store).await;
    let mut plan = plan(&view, by);
    let all = |row: &ShardView| Assign { shard: row.shard, epoch: row.epoch, to: Some(Session(to)), reason: Reason::Unowned };
    plan.assigns = view.shards.iter().map(all).collect();
    assert!(store.plan_commit(&plan).await.unwrap().is_some());
}

/// A leader gives one shard to one session.
pub async fn give(store: &impl Store, by: i64, shard: ShardId, to: i64) {
    let view = view(store).await;
    let plan = PlanCommit { assigns: vec![assign(&view, shard, to)], ..plan(&view, by) };
    assert!(store.plan_commit(&plan).await.unwrap().is_some());
}
