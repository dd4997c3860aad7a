//! Clauses of the port to delivery rows after they were committed.

use std::time::Duration;

use super::Fixture;
use super::world::{ANNA, START, World, beat, device, event, register, tenant};
use crate::ids::{DeliveryId, Session, Smtp};
use crate::ports::delivery_store::{DeliveryStore as _, Mark, Retry, Settled};
use crate::ports::mailbox_store::NewDelivery;
use crate::ports::{ClusterStore as _, MailboxStore as _, RegistryStore as _};
use crate::time::Timestamp;

fn mark(id: DeliveryId, settled: Settled, reason: &str) -> Mark {
    Mark { id, settled, reason: reason.into() }
}

/// Contract (1): each way to end is noted with its reason, the row is no longer PENDING.
pub async fn a_verdict_settles_a_row(f: &impl Fixture) {
    let world = World::new(f).await;
    let rows = world.commit(0, vec![world.row(1), world.row(2), world.row(3), world.row(4)]).await.inserted;
    let marks = [
        mark(rows[0].id, Settled::Sent, "accepted"),
        mark(rows[1].id, Settled::Dead, "expired"),
        mark(rows[2].id, Settled::Superseded, "read"),
    ];
    world.store.mark(&marks).await.unwrap();
    let pending = world.pending().await;
    assert_eq!(pending.iter().map(|row| row.id).collect::<Vec<_>>(), [rows[3].id]);
    let list = world.store.delivery_list(world.mailbox, 10).await.unwrap();
    let seen: Vec<_> = list.iter().map(|row| (row.state.as_str(), row.reason.as_deref(), row.settled_at.is_some())).collect();
    let expected =
        [("PENDING", None, false), ("SUPERSEDED", Some("read"), true), ("DEAD", Some("expired"), true), ("SENT", Some("accepted"), true)];
    assert_eq!(seen, expected);
}

/// Contract (1): a row is settled once; a verdict that comes second, or about nothing, changes nothing.
pub async fn a_row_is_settled_once(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    world.store.mark(&[mark(id, Settled::Sent, "accepted")]).await.unwrap();
    world.store.mark(&[mark(id, Settled::Dead, "gone"), mark(DeliveryId(i64::MAX), Settled::Dead, "gone")]).await.unwrap();
    world.store.mark(&[]).await.unwrap();
    let row = &world.store.delivery_list(world.mailbox, 1).await.unwrap()[0];
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("SENT", Some("accepted")));
}

/// Contract (1): a verdict needs no authority: it is marked after somebody else took over.
pub async fn a_verdict_needs_no_fence(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    let next = world.replaced(2).await;
    world.store.mark(&[mark(id, Settled::Sent, "accepted")]).await.unwrap();
    assert!(world.store.pending(world.mailbox, next).await.unwrap().is_empty());
}

/// A settled row still stands for its event: the mail is not announced again.
pub async fn a_settled_row_keeps_its_event(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    world.store.mark(&[mark(id, Settled::Sent, "accepted")]).await.unwrap();
    assert!(world.commit(1, vec![world.row(1)]).await.inserted.is_empty());
}

/// Contract (2): a retry counts the try, and only the owner plans it.
pub async fn a_retry_is_fenced(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    let later = START + Duration::from_secs(900);
    let retry = Retry { next_at: later, reason: "503".into(), ..world.retry(id) };
    world.store.schedule(std::slice::from_ref(&retry)).await.unwrap();
    let row = world.pending().await.remove(0);
    assert_eq!((row.attempts, row.next_at, row.refused), (1, later, true));
    let next = world.replaced(2).await;
    let stale = Retry { next_at: Timestamp::NEVER, ..retry.clone() };
    world.store.schedule(&[stale]).await.unwrap();
    let row = world.store.pending(world.mailbox, next).await.unwrap().remove(0);
    assert_eq!((row.attempts, row.next_at), (1, later));
    world.store.schedule(&[Retry { authority: next, ..retry }]).await.unwrap();
    assert_eq!(world.store.pending(world.mailbox, next).await.unwrap()[0].attempts, 2);
    assert_eq!(world.store.delivery_list(world.mailbox, 1).await.unwrap()[0].reason.as_deref(), Some("503"));
}

/// A try that begins is noted before it is sent: with what it is sent, and that it may be taken; its end is counted, and says what is known of all tries.
pub async fn a_try_is_noted_when_it_begins_and_when_it_ends(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    let seen = async || {
        let row = world.pending().await.remove(0);
        (row.group, row.attempts, row.refused)
    };
    let begins = Retry { group: event(7), ended: false, refused: false, ..world.retry(id) };
    for (retry, expected) in [
        (world.retry(id), (event(2), 1, true)),
        (begins.clone(), (event(7), 1, false)),
        (Retry { refused: true, ended: true, ..begins.clone() }, (event(7), 2, true)),
        (begins.clone(), (event(7), 2, false)),
        (Retry { ended: true, ..begins }, (event(7), 3, false)),
    ] {
        world.store.schedule(&[retry]).await.unwrap();
        assert_eq!(seen().await, expected);
    }
}

/// A settled row is not planned again.
pub async fn a_settled_row_is_not_scheduled(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    world.store.mark(&[mark(id, Settled::Sent, "accepted")]).await.unwrap();
    world.store.schedule(&[world.retry(id)]).await.unwrap();
    let row = &world.store.delivery_list(world.mailbox, 1).await.unwrap()[0];
    assert_eq!((row.state.as_str(), row.attempts), ("SENT", 0));
}

/// Contract (3): what is due is found whatever fence it was committed under, for the session that owns the shard now and no other.
pub async fn stranded_rows_are_found_whatever_their_fence(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(10)]).await;
    let due = START + Duration::from_secs(10);
    let stranded = async |session: i64, now: Timestamp| world.store.stranded(Session(session), now, 10).await.unwrap();
    assert_eq!(stranded(1, due).await, [world.mailbox]);
    assert!(stranded(1, due - Duration::from_micros(1)).await.is_empty());
    world.replaced(2).await;
    assert_eq!(stranded(2, due).await, [world.mailbox]);
    assert!(stranded(1, due).await.is_empty());
}

/// The longest due come first, each mailbox once, at most as many as asked for; settled rows are not due.
pub async fn the_longest_due_are_found_first(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut mailboxes = Vec::new();
    for n in [30, 20, 10] {
        let smtp = format!("user{n}@example.com");
        let (mailbox, shard) = register(&world.store, &smtp, "phone", &smtp, START).await;
        let authority = super::world::authority(&world.store, 1, shard).await;
        world.store.shard_adopt(shard, authority).await.unwrap().unwrap();
        let (device, generation) = device(&world.store, &smtp, "phone").await.unwrap();
        let row = |n: i64| NewDelivery { device, generation, ..world.row(n) };
        let mut entry = world.entry(0, vec![row(n), row(n + 1)]);
        (entry.mailbox, entry.authority) = (mailbox, authority);
        let inserted = world.store.sync_state_commit(&[entry]).await.unwrap().inserted;
        mailboxes.push((mailbox, inserted));
    }
    let now = START + Duration::from_secs(3600);
    let found = world.store.stranded(Session(1), now, 10).await.unwrap();
    assert_eq!(found, [mailboxes[2].0, mailboxes[1].0, mailboxes[0].0]);
    assert_eq!(world.store.stranded(Session(1), now, 2).await.unwrap(), found[..2]);
    let marks: Vec<_> = mailboxes[2].1.iter().map(|row| mark(row.id, Settled::Sent, "accepted")).collect();
    world.store.mark(&marks).await.unwrap();
    assert_eq!(world.store.stranded(Session(1), now, 10).await.unwrap(), found[1..]);
}

/// Settled rows go in steps; PENDING rows stay however old they are.
pub async fn retention_goes_in_steps(f: &impl Fixture) {
    let world = World::new(f).await;
    let rows = world.commit(0, (1..=7).map(|n| world.row(n)).collect()).await.inserted;
    let marks: Vec<_> = rows[..5].iter().map(|row| mark(row.id, Settled::Sent, "accepted")).collect();
    world.store.mark(&marks).await.unwrap();
    assert_eq!(world.store.retain(Timestamp(0), 10).await.unwrap(), 0);
    assert_eq!(world.store.retain(Timestamp::NEVER, 3).await.unwrap(), 3);
    assert_eq!(world.store.retain(Timestamp::NEVER, 3).await.unwrap(), 2);
    assert_eq!(world.store.retain(Timestamp::NEVER, 3).await.unwrap(), 0);
    assert_eq!(world.pending().await.len(), 2);
    assert_eq!(world.store.delivery_list(world.mailbox, 10).await.unwrap().len(), 2);
}

/// Contract (4): who was overtaken finds nothing to send, and his successor finds what he left, whatever its fence.
pub async fn rows_are_read_by_the_owner_of_their_mailbox(f: &impl Fixture) {
    let world = World::new(f).await;
    let id = world.commit(0, vec![world.row(1)]).await.inserted[0].id;
    assert_eq!(world.pending().await.len(), 1);
    let next = world.replaced(2).await;
    assert!(world.pending().await.is_empty());
    let found = world.store.pending(world.mailbox, next).await.unwrap();
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
}

/// PENDING rows are read oldest first, 1,024 at most.
pub async fn pending_rows_are_bounded(f: &impl Fixture) {
    let world = World::new(f).await;
    let rows = world.commit(0, (0..1100).map(|n| world.row(n)).collect()).await.inserted;
    assert_eq!(rows.len(), 1100);
    let pending = world.pending().await;
    assert_eq!(pending.iter().map(|row| row.event).collect::<Vec<_>>(), (0..1024).map(event).collect::<Vec<_>>());
}

/// A thousand marks and a thousand retries are one call each.
pub async fn a_thousand_rows_are_one_call(f: &impl Fixture) {
    let world = World::new(f).await;
    let rows = world.commit(0, (0..1000).map(|n| world.row(n)).collect()).await.inserted;
    world.store.schedule(&rows.iter().map(|row| world.retry(row.id)).collect::<Vec<_>>()).await.unwrap();
    assert!(world.pending().await.iter().all(|row| row.attempts == 1));
    let marks: Vec<_> = rows.iter().map(|row| mark(row.id, Settled::Sent, "accepted")).collect();
    world.store.mark(&marks).await.unwrap();
    assert!(world.pending().await.is_empty());
}

/// The administrator's list names the device while it exists, newest row first, at most as many as asked for.
pub async fn the_list_of_rows_is_newest_first(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1), world.row(2), world.row(3)]).await;
    let list = world.store.delivery_list(world.mailbox, 2).await.unwrap();
    assert_eq!(list.iter().map(|row| row.event.clone()).collect::<Vec<_>>(), [event(3).short(), event(2).short()]);
    assert_eq!((list[0].device.as_deref(), list[0].kind, list[0].count), (Some("phone"), "mail", 1));
    world.store.device_remove(&tenant(), &Smtp::new(ANNA), "phone").await.unwrap().unwrap();
    let list = world.store.delivery_list(world.mailbox, 2).await.unwrap();
    assert_eq!((list[0].device.as_deref(), list[0].state.as_str()), (None, "DEAD"));
    beat(&world.store, 1).await;
}
