//! Servers that go away, come back, are cut off, stand still or are promoted.

use postrider::store::PostgresStore;
use postrider_actors::ids::{NodeId, Session};
use postrider_actors::ports::cluster_store::{Beat, Depth};
use postrider_actors::ports::{ClusterStore as _, MailboxStore as _, StoreError};
use postrider_actors::testing::conformance::members::{give, lead, member, shard_of, view};
use postrider_actors::testing::conformance::world::{SOON, World, node};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Row as _;

use crate::fixture::{Postgres, open, options, url};
use crate::postgres::Server;

/// Beats until the heartbeat is answered.
async fn beaten(store: &PostgresStore, name: &NodeId, session: i64) -> Beat {
    let answered = async {
        loop {
            if let Ok(answer) = store.beat(name, Session(session), 0).await {
                return answer.expect("the session lives");
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(3 * SOON, answered).await.expect("the database comes back")
}

/// The processes of the server that work for a database, those of the test's own connections aside.
async fn backends(server: &Server, database: &str, where_: &str) -> Vec<i32> {
    let mut connection = server.connect("postgres").await;
    let text = format!("SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'postrider' {where_}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until a statement of the database's users waits for a lock.
pub async fn waiting(server: &Server, database: &str) -> i32 {
    let found = async {
        loop {
            if let Some(pid) = backends(server, database, "AND wait_event_type = 'Lock'").await.pop() {
                return pid;
            }
        }
    };
    tokio::time::timeout(SOON, found).await.expect("it waits for the lock")
}

pub fn database_of(store: &PostgresStore) -> String {
    url(store.name()).database
}

#[tokio::test]
async fn a_batch_waits_for_an_adoption_and_then_does_not_match() {
    let world = World::new(&Postgres).await;
    let (server, name) = (Server::shared(), database_of(&world.store));
    let mut successor = server.connect(&name).await;
    let stamp = format!("BEGIN; UPDATE mailbox SET fence = fence + 1 WHERE mailbox_id = {}", world.mailbox.0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(stamp)).execute(&mut successor).await.unwrap();
    let batch = [world.entry(0, vec![world.row(1)])];
    let adopted = async {
        waiting(server, &name).await;
        sqlx::raw_sql("COMMIT").execute(&mut successor).await.unwrap();
    };
    let (committed, ()) = tokio::join!(world.store.sync_state_commit(&batch), adopted);
    assert_eq!(committed.unwrap(), Default::default(), "it waited, and then neither matched nor inserted");
}

#[tokio::test]
async fn a_lock_that_is_not_granted_is_asked_for_again() {
    let world = World::new(&Postgres).await;
    let (server, name) = (Server::shared(), database_of(&world.store));
    let mut other = server.connect(&name).await;
    let hold = format!("BEGIN; SELECT 1 FROM mailbox WHERE mailbox_id = {} FOR UPDATE", world.mailbox.0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut other).await.unwrap();
    let batch = [world.entry(0, vec![world.row(1)])];
    let released = async {
        let first = waiting(server, &name).await;
        // Another process of the server: the first gave up after its second.
        while waiting(server, &name).await == first {}
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    };
    let (committed, ()) = tokio::join!(world.store.sync_state_commit(&batch), released);
    assert_eq!(committed.unwrap().inserted.len(), 1);
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_is_of_unknown_outcome() {
    let world = World::new(&Postgres).await;
    let (server, name) = (Server::shared(), database_of(&world.store));
    let mut other = server.connect(&name).await;
    let hold = format!("BEGIN; SELECT 1 FROM mailbox WHERE mailbox_id = {} FOR UPDATE", world.mailbox.0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut other).await.unwrap();
    let batch = [world.entry(0, vec![world.row(1)])];
    let cut = async {
        let pid = waiting(server, &name).await;
        server.sql("postgres", &format!("SELECT pg_terminate_backend({pid})")).await;
    };
    let (committed, ()) = tokio::join!(world.store.sync_state_commit(&batch), cut);
    assert!(matches!(committed, Err(StoreError::OutcomeUnknown(_))), "{committed:?}");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(world.commit(0, vec![world.row(1)]).await.inserted.len(), 1, "the next call has a connection of its own");
}

#[tokio::test]
async fn connections_that_were_cut_are_replaced_and_the_link_s_number_grows() {
    let world = World::new(&Postgres).await;
    let before = world.store.view(Depth::Nodes).await.unwrap().link;
    for pid in backends(Server::shared(), &database_of(&world.store), "").await {
        Server::shared().sql("postgres", &format!("SELECT pg_terminate_backend({pid})")).await;
    }
    assert_eq!(world.seq().await, 0, "a reading call finds another connection by itself");
    beaten(&world.store, &node(), 1).await;
    let cut = world.store.view(Depth::Nodes).await;
    assert!(matches!(cut, Err(StoreError::Unavailable(_))), "looks had a connection of their own: {cut:?}");
    assert!(world.store.view(Depth::Nodes).await.unwrap().link > before);
}

#[tokio::test]
async fn a_server_that_stands_still_makes_no_call_wait_for_ever() {
    let server = Server::new();
    let store = open(&server.database().await).await;
    member(&store, "a", 1).await;
    beaten(&store, &NodeId("a".into()), 1).await;
    let name = database_of(&store);
    let pids = backends(&server, &name, "").await;
    let signal = |signal| pids.iter().for_each(|pid| kill_process(Pid::from_raw(*pid).unwrap(), signal).unwrap());
    signal(Signal::STOP);
    let node = NodeId("a".into());
    let begun = std::time::Instant::now();
    let (beat, enter) = tokio::join!(store.beat(&node, Session(1), 0), store.enter(&node, Session(1)));
    assert!(matches!(beat, Err(StoreError::OutcomeUnknown(_))), "{beat:?}");
    assert!(matches!(enter, Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))), "{enter:?}");
    assert!(begun.elapsed() < SOON);
    signal(Signal::CONT);
    beaten(&store, &node, 1).await;
}

#[tokio::test]
async fn a_killed_server_that_comes_back_goes_on_with_the_same_session() {
    let server = Server::new();
    let store = open(&server.database().await).await;
    member(&store, "a", 1).await;
    let node = NodeId("a".into());
    let before = beaten(&store, &node, 1).await;
    server.kill();
    let refused = store.beat(&node, Session(1), 0).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))), "{refused:?}");
    let refused = store.enter(&node, Session(1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    server.start();
    let after = beaten(&store, &node, 1).await;
    assert!(after.hb_seq > before.hb_seq && after.history == before.history);
    assert!(store.enter(&node, Session(1)).await.unwrap());
}

#[tokio::test]
async fn a_promoted_standby_is_found_with_its_new_timeline() {
    let primary = Server::new();
    let database = primary.database().await;
    let first = open(&database).await;
    member(&first, "a", 1).await;
    lead(&first, 1).await;
    give(&first, 1, postrider_actors::ids::ShardId(0), 1).await;
    first.close().await;
    let standby = primary.standby("standby");
    let both = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}", standby.port(), primary.port(), database.name);
    let store = PostgresStore::open(&url(&both), options()).await.unwrap();
    let node = NodeId("a".into());
    let before = beaten(&store, &node, 1).await;
    primary.kill();
    standby.promote();
    let after = beaten(&store, &node, 1).await;
    assert_eq!((before.history.timeline, after.history.timeline), (1, 2));
    assert_eq!(after.history.system_id, before.history.system_id);
    store.reclaim(Session(1), None).await.unwrap();
    let shard = shard_of(&view(&store).await, postrider_actors::ids::ShardId(0)).clone();
    assert_eq!(shard.epoch.0 >> 40, 2, "the epoch has the new timeline in it");
    // The former primary comes back: it is neither used by whoever saw the new one, nor preferred by a newcomer, and alone it is refused.
    primary.start();
    beaten(&store, &node, 1).await;
    let newcomer = PostgresStore::open(&url(&both), options()).await.unwrap();
    assert_eq!(newcomer.view(Depth::Leader).await.unwrap().history.timeline, 2);
    standby.kill();
    let refused = store.view(Depth::Leader).await;
    let again = store.view(Depth::Leader).await;
    assert!(matches!((&refused, &again), (Err(_), Err(StoreError::Unavailable(text))) if text.contains("older")), "{again:?}");
    standby.start();
    beaten(&store, &node, 1).await;
}

#[tokio::test]
async fn a_standby_that_is_promoted_beside_its_primary_is_followed_before_anybody_is_judged() {
    let primary = Server::new();
    let database = primary.database().await;
    let first = open(&database).await;
    member(&first, "a", 1).await;
    first.close().await;
    let standby = primary.standby("standby");
    let both = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}", primary.port(), standby.port(), database.name);
    let store = PostgresStore::open(&url(&both), options()).await.unwrap();
    let node = NodeId("a".into());
    assert_eq!(beaten(&store, &node, 1).await.history.timeline, 1);
    standby.promote();
    let followed = async { while beaten(&store, &node, 1).await.history.timeline < 2 {} };
    tokio::time::timeout(SOON, followed).await.expect("it leaves the former primary, which still takes writes");
    assert!(!store.enter(&NodeId("b".into()), Session(2)).await.unwrap(), "other calls go there too");
    assert!(backends(&primary, &database.name, "AND state <> 'idle'").await.is_empty());
}

#[tokio::test]
async fn a_primary_that_takes_no_writes_for_a_while_is_waited_for() {
    let server = Server::new();
    let database = server.database().await;
    let store = open(&database).await;
    member(&store, "a", 1).await;
    server.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on").await;
    server.stop();
    server.start();
    let mut refused = store.enter(&NodeId("a".into()), Session(1)).await;
    if refused.is_ok() {
        refused = store.enter(&NodeId("a".into()), Session(1)).await;
    }
    assert!(matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains("takes no writes")), "{refused:?}");
    let newcomer = PostgresStore::open(&url(&database.url), options()).await.map(drop);
    assert!(matches!(&newcomer, Err(StoreError::Unusable(_))), "whoever never saw it take writes is told: {newcomer:?}");
}
