//! Clauses of the port to mailbox rows and their commit.

use super::Fixture;
use super::world::{START, World, authority, device, event, item, register};
use crate::ids::{Authority, DeviceId, EventKey, Fence, Generation, MailboxId, Session, SyncSeq, SyncState};
use crate::ports::mail_source::SubscriptionRecord;
use crate::ports::mailbox_store::{DeliveryKind, NewDelivery};
use crate::ports::{DeliveryStore as _, MailboxStore as _, RegistryStore as _};
use crate::time::Timestamp;

/// Clause (2): a commit that matches sets state and flags and counts up.
pub async fn a_commit_moves_the_state(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut entry = world.entry(0, vec![]);
    entry.badge_dirty = true;
    entry.announced_until = Timestamp(77);
    let committed = world.store.sync_state_commit(&[entry.clone()]).await.unwrap();
    assert_eq!((committed.matched, committed.inserted), (vec![world.mailbox], vec![]));
    let loaded = world.store.mailbox_load(world.mailbox, world.authority).await.unwrap().unwrap();
    assert_eq!(loaded.sync_state, entry.sync_state);
    assert_eq!((loaded.sync_seq, loaded.seeded, loaded.badge_dirty), (SyncSeq(1), true, true));
    assert_eq!((loaded.announced_until, loaded.watch_since), (Timestamp(77), START));
}

/// Clause (2): a state of several kilobytes comes back as it was.
pub async fn a_large_state_comes_back(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut entry = world.entry(0, vec![]);
    entry.sync_state = Some(SyncState("H4sI/+=\"\\\n\u{1}é漢".repeat(2000).into()));
    world.store.sync_state_commit(&[entry.clone()]).await.unwrap();
    let loaded = world.store.mailbox_load(world.mailbox, world.authority).await.unwrap().unwrap();
    assert!(loaded.sync_state == entry.sync_state);
}

/// `None` sets the state to NULL: a refused state is gone.
pub async fn a_refused_state_becomes_null(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![]).await;
    let mut entry = world.entry(1, vec![]);
    (entry.sync_state, entry.seeded) = (None, false);
    assert_eq!(world.store.sync_state_commit(&[entry]).await.unwrap().matched, [world.mailbox]);
    let loaded = world.store.mailbox_load(world.mailbox, world.authority).await.unwrap().unwrap();
    assert_eq!((loaded.sync_state, loaded.seeded, loaded.sync_seq), (None, false, SyncSeq(2)));
}

/// Clause (2): fence, session and sync_seq must each be those of the row, and clause (3): an entry that does not match inserts nothing.
pub async fn a_stale_entry_does_nothing(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![]).await;
    let Authority { fence, session } = world.authority;
    let good = world.entry(1, vec![world.row(1)]);
    let mut stale = vec![good.clone(); 6];
    stale[0].authority.fence = Fence(fence.0 - 1);
    stale[1].authority.fence = Fence(fence.0 + 1);
    stale[2].authority.session = Session(session.0 + 1);
    stale[3].sync_seq = SyncSeq(0);
    stale[4].sync_seq = SyncSeq(2);
    stale[5].mailbox = MailboxId(i64::MAX);
    for entry in stale {
        let committed = world.store.sync_state_commit(std::slice::from_ref(&entry)).await.unwrap();
        assert_eq!(committed, Default::default(), "{entry:?}");
    }
    assert_eq!(world.seq().await, 1);
    assert!(world.pending().await.is_empty());
    assert_eq!(world.commit(1, good.rows).await.inserted.len(), 1);
}

/// An outcome that was not known: the same entry again does not match, and adds nothing.
pub async fn a_repeated_commit_does_nothing(f: &impl Fixture) {
    let world = World::new(f).await;
    assert_eq!(world.commit(0, vec![world.row(1)]).await.inserted.len(), 1);
    assert_eq!(world.commit(0, vec![world.row(1), world.row(2)]).await, Default::default());
    assert_eq!(world.pending().await.len(), 1);
}

/// Clause (4): both sets; a row that exists already is in the first set's mailbox and not in the second.
pub async fn a_row_that_exists_is_not_inserted_again(f: &impl Fixture) {
    let world = World::new(f).await;
    let first = world.commit(0, vec![world.row(1)]).await;
    let second = world.commit(1, vec![world.row(1), world.row(2)]).await;
    assert_eq!(second.matched, [world.mailbox]);
    let [inserted] = &second.inserted[..] else { panic!("one row: {second:?}") };
    assert_eq!((inserted.mailbox, inserted.device, inserted.event), (world.mailbox, world.device, event(2)));
    assert!(inserted.id > first.inserted[0].id);
}

/// Clause (3): no row for a device that is unknown or of another mailbox; the rest of the entry stands, and so does a row for a device that was
/// registered anew meanwhile.
pub async fn a_row_needs_a_device_of_that_mailbox(f: &impl Fixture) {
    let world = World::new(f).await;
    register(&world.store, "berta@example.com", "phone", "token-berta", START).await;
    let (foreign, generation) = device(&world.store, "berta@example.com", "phone").await.unwrap();
    let with = |device: DeviceId, generation: Generation| NewDelivery { device, generation, ..world.row(1) };
    let rows =
        vec![with(DeviceId(i64::MAX), world.generation), with(foreign, generation), with(world.device, Generation(world.generation.0 - 1))];
    let committed = world.commit(0, rows).await;
    let devices: Vec<DeviceId> = committed.inserted.iter().map(|row| row.device).collect();
    assert_eq!((committed.matched, devices), (vec![world.mailbox], vec![world.device]));
    assert_eq!(world.seq().await, 1);
}

/// Clause (1): a batch holds many mailboxes; those that match commit together with their rows, the others do not hinder them.
pub async fn a_batch_commits_what_matches(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut batch = Vec::new();
    let mut good = Vec::new();
    for n in 0..40 {
        let smtp = format!("user{n}@example.com");
        let (mailbox, shard) = register(&world.store, &smtp, "phone", &smtp, START).await;
        let authority = authority(&world.store, 1, shard).await;
        crate::ports::ClusterStore::shard_adopt(&world.store, shard, authority).await.unwrap().unwrap();
        let (device, generation) = device(&world.store, &smtp, "phone").await.unwrap();
        let mut entry = world.entry(0, vec![NewDelivery { device, generation, ..world.row(n) }]);
        (entry.mailbox, entry.authority) = (mailbox, authority);
        if n % 4 == 3 {
            entry.sync_seq = SyncSeq(9);
        } else {
            good.push(mailbox);
        }
        batch.push(entry);
    }
    batch.reverse();
    let committed = world.store.sync_state_commit(&batch).await.unwrap();
    let mut matched = committed.matched;
    matched.sort_unstable();
    assert_eq!(matched, good);
    let mut of: Vec<_> = committed.inserted.iter().map(|row| row.mailbox).collect();
    of.sort_unstable();
    assert_eq!(of, good);
    for entry in &batch {
        let rows = world.store.pending(entry.mailbox, entry.authority).await.unwrap();
        assert_eq!(rows.len(), usize::from(good.contains(&entry.mailbox)));
    }
}

/// An empty batch is a batch.
pub async fn an_empty_batch_is_taken(f: &impl Fixture) {
    let world = World::new(f).await;
    assert_eq!(world.store.sync_state_commit(&[]).await.unwrap(), Default::default());
}

/// What is committed is what is read to be sent.
pub async fn a_row_is_read_as_it_was_committed(f: &impl Fixture) {
    let world = World::new(f).await;
    let mail = NewDelivery { count: 3, ..world.row(1) };
    let key = EventKey::of_badge(SyncSeq(1));
    let badge = NewDelivery { event: key, group: key, kind: DeliveryKind::Badge, item: None, count: 0, ..world.row(2) };
    let ids: Vec<_> = world.commit(0, vec![mail.clone(), badge.clone()]).await.inserted.iter().map(|row| row.id).collect();
    let pending = world.pending().await;
    for ((row, new), id) in pending.iter().zip([&mail, &badge]).zip(ids) {
        assert_eq!((row.id, row.device, row.generation), (id, new.device, new.generation));
        assert_eq!((row.event, row.group, row.kind, &row.item), (new.event, new.group, new.kind, &new.item));
        assert_eq!((row.received_at, row.next_at, row.expires_at), (new.received_at, new.next_at, new.expires_at));
        assert_eq!((row.count, row.attempts, row.refused), (new.count, 0, false));
    }
    assert_eq!((pending.len(), pending[0].item.clone()), (2, Some(item(1))));
}

/// The subscription's record is kept under the authority, apart from the sync state.
pub async fn a_subscription_is_kept_for_the_successor(f: &impl Fixture) {
    let world = World::new(f).await;
    let record = SubscriptionRecord("{\"id\":\"é\"}".into());
    assert_eq!(world.store.subscription_load(world.mailbox, world.authority).await.unwrap(), None);
    assert!(world.store.subscription_set(world.mailbox, world.authority, Some(&record)).await.unwrap());
    assert_eq!(world.seq().await, 0);
    let next = world.replaced(2).await;
    assert_eq!(world.store.subscription_load(world.mailbox, world.authority).await.unwrap(), None);
    assert!(!world.store.subscription_set(world.mailbox, world.authority, None).await.unwrap());
    assert_eq!(world.store.subscription_load(world.mailbox, next).await.unwrap(), Some(record));
    assert!(world.store.subscription_set(world.mailbox, next, None).await.unwrap());
    assert_eq!(world.store.subscription_load(world.mailbox, next).await.unwrap(), None);
}

/// A removed mailbox is nobody's.
pub async fn a_removed_mailbox_matches_nothing(f: &impl Fixture) {
    let world = World::new(f).await;
    world.store.mailbox_remove(&super::world::tenant(), &crate::ids::Smtp::new(super::world::ANNA)).await.unwrap().unwrap();
    assert_eq!(world.store.mailbox_load(world.mailbox, world.authority).await.unwrap(), None);
    assert_eq!(world.commit(0, vec![world.row(1)]).await, Default::default());
}
