//! Whom a call makes wait, and for whom it waits.

use std::time::{Duration, Instant};

use postrider_actors::ids::{NodeId, Session, ShardId};
use postrider_actors::ports::cluster_store::PlanCommit;
use postrider_actors::ports::{ClusterStore as _, DeliveryStore as _};
use postrider_actors::testing::conformance::Fixture as _;
use postrider_actors::testing::conformance::members::{assign, lead, member, plan, view};
use postrider_actors::testing::conformance::world::World;
use sqlx::{Connection as _, PgConnection};

use crate::away::{database_of, waiting};
use crate::fixture::Postgres;
use crate::postgres::Server;

async fn run(connection: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(connection).await.map(drop)
}

#[tokio::test]
async fn no_heartbeat_waits_for_a_plan_that_stands_still() {
    let store = Postgres.store().await;
    let (server, name) = (Server::shared(), database_of(&store));
    member(&store, "a", 1).await;
    member(&store, "b", 2).await;
    lead(&store, 1).await;
    let seen = view(&store).await;
    let plan = PlanCommit { assigns: vec![assign(&seen, ShardId(0), 1), assign(&seen, ShardId(1), 2)], ..plan(&seen, 1) };
    let mut other = server.connect(&name).await;
    run(&mut other, "BEGIN; SELECT 1 FROM shard WHERE shard_id = 1 FOR UPDATE".into()).await.unwrap();
    let beats = async {
        waiting(server, &name).await;
        let began = Instant::now();
        for (node, session) in [("a", 1), ("b", 2)] {
            store.beat(&NodeId(node.into()), Session(session), 0).await.unwrap().expect("it lives");
        }
        let took = began.elapsed();
        run(&mut other, "COMMIT".into()).await.unwrap();
        took
    };
    let (committed, took) = tokio::join!(store.plan_commit(&plan), beats);
    assert!(committed.unwrap().is_some());
    assert!(took < Duration::from_millis(700), "they waited for the plan: {took:?}");
}

#[tokio::test]
async fn an_adoption_waits_for_a_retry_that_is_being_planned() {
    let world = World::new(&Postgres).await;
    let (server, name) = (Server::shared(), database_of(&world.store));
    let row = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    let mut other = server.connect(&name).await;
    run(&mut other, format!("BEGIN; SELECT 1 FROM delivery WHERE id = {} FOR UPDATE", row.0)).await.unwrap();
    let stamped = async {
        waiting(server, &name).await;
        let mut successor = server.connect(&name).await;
        let stamp = format!("SET lock_timeout = 200; UPDATE mailbox SET fence = fence + 1 WHERE mailbox_id = {}", world.mailbox.0);
        let stamped = run(&mut successor, stamp).await;
        run(&mut other, "COMMIT".into()).await.unwrap();
        successor.close().await.unwrap();
        stamped
    };
    let retries = [world.retry(row)];
    let (planned, stamped) = tokio::join!(world.store.schedule(&retries), stamped);
    planned.unwrap();
    let refused = stamped.expect_err("the former owner's write would come after the stamp");
    assert_eq!(refused.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(), Some("55P03"), "{refused}");
}

#[tokio::test]
async fn nodes_that_are_over_for_long_are_forgotten_when_another_joins() {
    let store = Postgres.store().await;
    let (server, name) = (Server::shared(), database_of(&store));
    for (node, session) in [("old", 1), ("recent", 2), ("owner", 3)] {
        member(&store, node, session).await;
    }
    store.leave(&NodeId("old".into()), Session(1)).await.unwrap();
    store.leave(&NodeId("recent".into()), Session(2)).await.unwrap();
    server.sql(&name, "UPDATE node SET hb_at = 0 WHERE node_id <> 'recent'").await;
    server.sql(&name, "UPDATE node SET state = 'BAD' WHERE node_id = 'owner'").await;
    server.sql(&name, "UPDATE shard SET owner_session = 3 WHERE shard_id = 0").await;
    member(&store, "new", 4).await;
    let nodes: Vec<String> = view(&store).await.nodes.iter().map(|row| row.node.0.to_string()).collect();
    assert_eq!(nodes, ["new", "owner", "recent"]);
}
