//! Whom a call makes wait, and for whom it waits.

use std::time::{Duration, Instant};

use postrider_actors::ids::{NodeId, Session, ShardId};
use postrider_actors::ports::cluster_store::{Depth, PlanCommit};
use postrider_actors::ports::{ClusterStore as _, DeliveryStore as _, RegistryStore as _};
use postrider_actors::testing::conformance::Fixture as _;
use postrider_actors::testing::conformance::members::{assign, lead, member, plan, view};
use postrider_actors::testing::conformance::world::World;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection, Row as _};

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

/// The processes of the server that work for the store, those aside whose last statement has this in it.
async fn others_than(server: &Server, database: &str, statement: &str) -> Vec<i32> {
    let mut connection = server.connect("postgres").await;
    let text = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'postrider' AND query NOT LIKE '%{statement}%'"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn no_heartbeat_waits_for_looks_and_reads_that_stand_still() {
    let store = Postgres.store().await;
    let (server, name) = (Server::shared(), database_of(&store));
    member(&store, "a", 1).await;
    let node = NodeId("a".into());
    let beat = async || store.beat(&node, Session(1), 0).await.unwrap().expect("it lives");
    // Each has its connection.
    let _ = tokio::join!(view(&store), store.view_for_people(Depth::Shards), store.key_list());
    beat().await;
    let pids = others_than(server, &name, "WITH beat").await;
    assert!(pids.len() >= 2, "looks and reads have connections of their own: {pids:?}");
    let signal = |signal| pids.iter().for_each(|pid| kill_process(Pid::from_raw(*pid).unwrap(), signal).unwrap());
    signal(Signal::STOP);
    let beats = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            beat().await;
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let (look, read, slowest) = tokio::join!(store.view(Depth::Nodes), store.view_for_people(Depth::Shards), beats);
    signal(Signal::CONT);
    assert!(slowest < Duration::from_millis(700), "they waited for others: {slowest:?}");
    assert!(look.is_err() && read.is_err(), "both stood still: {look:?} {read:?}");
}

#[tokio::test]
async fn what_people_ask_leaves_room_for_mail() {
    let world = World::new(&Postgres).await;
    let (server, name) = (Server::shared(), database_of(&world.store));
    let mut other = server.connect(&name).await;
    run(&mut other, "BEGIN; LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE".into()).await.unwrap();
    let asked = futures_util::future::join_all((0..20).map(|_| world.store.key_list()));
    let mail = async {
        waiting(server, &name).await;
        let began = Instant::now();
        world.commit(0, vec![world.row(1)]).await;
        let took = began.elapsed();
        run(&mut other, "COMMIT".into()).await.unwrap();
        took
    };
    let (answers, took) = tokio::join!(asked, mail);
    assert!(took < Duration::from_millis(700), "the mail waited for people: {took:?}");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
