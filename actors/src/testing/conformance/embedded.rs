//! Clauses of an embedded database: whoever joins owns all shards, past a lock that the operating system keeps.

use std::time::Duration;

use super::Fixture;
use super::world::{LONG, SOON, beat, join, node};
use crate::ids::{Fence, Session};
use crate::ports::ClusterStore as _;
use crate::ports::error::StoreError;

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took longer than {SOON:?}"),
    }
}

/// Joining gives all shards to the session, under one epoch.
pub async fn joining_owns_all_shards(f: &impl Fixture) {
    let store = f.store().await;
    store.join(&join(1, LONG)).await.unwrap();
    let seen = beat(&store, 1).await;
    assert!(!seen.shards.is_empty());
    assert!(seen.shards.iter().all(|shard| shard.epoch == seen.shards[0].epoch && shard.epoch > Fence(0)));
    let numbers: std::collections::BTreeSet<u16> = seen.shards.iter().map(|seen| seen.shard.0).collect();
    assert_eq!(numbers.len(), seen.shards.len());
}

/// The lock is free because its holder died: taken over at once.
pub async fn a_dead_process_is_succeeded_at_once(f: &impl Fixture) {
    let first = f.store().await;
    first.join(&join(1, LONG)).await.unwrap();
    let second = f.process(&first).await;
    f.kill(first).await;
    soon("joining after a death", second.join(&join(2, LONG))).await.unwrap();
    beat(&second, 2).await;
}

/// The lock is held by a process that stands still: taken over after `patience`.
pub async fn a_process_that_stands_still_is_succeeded_after_patience(f: &impl Fixture) {
    let first = f.store().await;
    first.join(&join(1, LONG)).await.unwrap();
    let second = f.process(&first).await;
    soon("joining past one that stands still", second.join(&join(2, Duration::from_millis(300)))).await.unwrap();
    beat(&second, 2).await;
    assert_eq!(first.beat(&node(), Session(1), 0).await.unwrap(), None);
    beat(&second, 2).await;
}

/// The lock is held by a live process: its heartbeat ends, it lets go, and the newcomer need not wait for `patience`.
pub async fn a_live_process_lets_go_when_its_heartbeat_ends(f: &impl Fixture) {
    let first = f.store().await;
    first.join(&join(1, LONG)).await.unwrap();
    let second = f.process(&first).await;
    let going = async {
        while first.beat(&node(), Session(1), 0).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let newcomer = join(2, LONG);
    let (joined, ()) = soon("the hand-over", async { tokio::join!(second.join(&newcomer), going) }).await;
    joined.unwrap();
    beat(&second, 2).await;
}

/// A process that was put out does not come back while its successor is alive, and does once that one left.
pub async fn an_evicted_process_waits_for_its_successor_to_go(f: &impl Fixture) {
    let first = f.store().await;
    first.join(&join(1, LONG)).await.unwrap();
    let second = f.process(&first).await;
    second.join(&join(2, Duration::from_millis(200))).await.unwrap();
    assert_eq!(first.beat(&node(), Session(1), 0).await.unwrap(), None);
    beat(&second, 2).await;
    let refused = soon("coming back", first.join(&join(3, Duration::from_millis(300)))).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    beat(&second, 2).await;
    second.leave(&node(), Session(2)).await.unwrap();
    soon("coming back after it left", first.join(&join(4, LONG))).await.unwrap();
    beat(&first, 4).await;
}

/// A join that is dropped while it waits leaves nothing half done: the former owner comes back.
pub async fn a_dropped_join_leaves_nothing_half_done(f: &impl Fixture) {
    let first = f.store().await;
    first.join(&join(1, LONG)).await.unwrap();
    let second = f.process(&first).await;
    let newcomer = join(2, LONG);
    let dropped = tokio::time::timeout(Duration::from_millis(400), second.join(&newcomer)).await;
    assert!(dropped.is_err(), "it did not wait for the live owner");
    assert_eq!(first.beat(&node(), Session(1), 0).await.unwrap(), None);
    soon("coming back", first.join(&join(3, Duration::from_millis(300)))).await.unwrap();
    beat(&first, 3).await;
}

/// Leaving clears the owner and gives the lock back; the session is over.
pub async fn leaving_lets_everything_go(f: &impl Fixture) {
    let first = f.store().await;
    first.join(&join(1, LONG)).await.unwrap();
    first.leave(&node(), Session(1)).await.unwrap();
    assert_eq!(first.beat(&node(), Session(1), 0).await.unwrap(), None);
    let second = f.process(&first).await;
    soon("joining after a leave", second.join(&join(2, LONG))).await.unwrap();
    first.leave(&node(), Session(1)).await.unwrap();
    beat(&second, 2).await;
}
