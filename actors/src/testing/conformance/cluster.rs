//! Clauses of the port to membership and ownership that hold in either manner.

use super::Fixture;
use super::members::own_all;
use super::world::{ANNA, START, World, authority, beat, change_seq, node, phone, register, tenant};
use crate::ids::{Authority, Fence, Session, ShardId, Smtp};
use crate::ports::{ClusterStore as _, MailboxStore as _, RegistryStore as _};

/// Heartbeats count up, and the first allows sending.
pub async fn heartbeats_count_up(f: &impl Fixture) {
    let store = f.store().await;
    own_all(&store, 1).await;
    let first = beat(&store, 1).await;
    let second = beat(&store, 1).await;
    assert_eq!(second.hb_seq, first.hb_seq + 1);
    assert_eq!(second.assign_ver, first.assign_ver);
    assert!(first.sending_allowed);
}

/// A heartbeat of a session that never joined is not answered.
pub async fn an_unknown_session_gets_nothing(f: &impl Fixture) {
    let store = f.store().await;
    assert_eq!(store.beat(&node(), Session(1), 0).await.unwrap(), None);
    own_all(&store, 1).await;
    assert_eq!(store.beat(&node(), Session(2), 0).await.unwrap(), None);
    beat(&store, 1).await;
}

/// Contract (3): a replaced session gets nothing, for ever.
pub async fn a_replaced_session_gets_nothing_for_ever(f: &impl Fixture) {
    let world = World::new(f).await;
    world.replaced(2).await;
    for _ in 0..3 {
        assert_eq!(world.store.beat(&node(), Session(1), 0).await.unwrap(), None);
        assert_eq!(world.store.shard_adopt(world.shard, world.authority).await.unwrap(), None);
        assert_eq!(world.store.shard_reload(world.shard, world.authority).await.unwrap(), None);
        beat(&world.store, 2).await;
    }
}

/// Invariant I2: each change of ownership raises the epoch and `assign_ver`.
pub async fn epochs_only_grow(f: &impl Fixture) {
    let store = f.store().await;
    let mut last = (0, Fence(0));
    for session in 1..4 {
        own_all(&store, session).await;
        let seen = beat(&store, session).await;
        assert!(seen.assign_ver > last.0 && seen.shards[0].epoch > last.1);
        last = (seen.assign_ver, seen.shards[0].epoch);
    }
    store.leave(&node(), Session(3)).await.unwrap();
    own_all(&store, 4).await;
    assert!(beat(&store, 4).await.shards[0].epoch > last.1);
}

/// Only the shard's owner under its epoch adopts it.
pub async fn adoption_asks_for_epoch_and_session(f: &impl Fixture) {
    let world = World::new(f).await;
    let Authority { fence, session } = world.authority;
    for (fence, session) in [(Fence(fence.0 + 1), session), (Fence(fence.0 - 1), session), (fence, Session(session.0 + 1))] {
        assert_eq!(world.store.shard_adopt(world.shard, Authority { fence, session }).await.unwrap(), None);
    }
    assert_eq!(world.store.shard_adopt(ShardId(u16::MAX), world.authority).await.unwrap(), None);
    assert_eq!(world.seq().await, 0);
}

/// Adoption stamps and loads; before it nothing can be read or written under the authority.
pub async fn adoption_stamps_and_loads(f: &impl Fixture) {
    let store = f.store().await;
    own_all(&store, 1).await;
    let (mailbox, shard) = register(&store, ANNA, "phone", "t", START).await;
    let authority = authority(&store, 1, shard).await;
    assert_eq!(store.mailbox_load(mailbox, authority).await.unwrap(), None);
    assert!(!store.subscription_set(mailbox, authority, None).await.unwrap());
    let adopted = store.shard_adopt(shard, authority).await.unwrap().unwrap();
    assert_eq!(adopted.change_seq, change_seq(&store, 1, shard).await);
    let [owned] = &adopted.mailboxes[..] else { panic!("one mailbox: {adopted:?}") };
    assert_eq!((owned.mailbox.id, &owned.mailbox.tenant, owned.mailbox.smtp.as_str()), (mailbox, &tenant(), ANNA));
    assert!(!owned.seeded && !owned.badge_dirty && !owned.pending);
    let loaded = store.mailbox_load(mailbox, authority).await.unwrap().unwrap();
    assert_eq!((loaded.sync_state, loaded.sync_seq.0, loaded.seeded, loaded.watch_since), (None, 0, false, START));
}

/// Adoption tells what the mailbox brings along: its flags and whether it has PENDING rows.
pub async fn adoption_tells_flags(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut entry = world.entry(0, vec![world.row(1)]);
    entry.badge_dirty = true;
    world.store.sync_state_commit(&[entry]).await.unwrap();
    let adopted = world.store.shard_reload(world.shard, world.authority).await.unwrap().unwrap();
    let owned = &adopted.mailboxes[0];
    assert!(owned.seeded && owned.badge_dirty && owned.pending);
    assert_eq!(owned.announced_until, START);
}

/// Contract (4): after the adoption nothing commits under an older authority.
pub async fn an_adoption_shuts_the_former_owner_out(f: &impl Fixture) {
    let world = World::new(f).await;
    let new = world.replaced(2).await;
    assert_eq!(world.commit(0, vec![world.row(1)]).await, Default::default());
    assert!(!world.store.subscription_set(world.mailbox, world.authority, None).await.unwrap());
    assert_eq!(world.store.mailbox_load(world.mailbox, world.authority).await.unwrap(), None);
    let loaded = world.store.mailbox_load(world.mailbox, new).await.unwrap().unwrap();
    assert_eq!((loaded.sync_seq.0, loaded.sync_state), (0, None));
    assert!(world.pending().await.is_empty());
}

/// Contract (5): adding, removing, the first and the last device move `change_seq`; a second device does not.
pub async fn membership_moves_the_change_seq(f: &impl Fixture) {
    let world = World::new(f).await;
    let store = &world.store;
    let mut last = change_seq(store, 1, world.shard).await;
    let mut moved = async |what: &str, expected: bool| {
        let seq = change_seq(store, 1, world.shard).await;
        assert_eq!(seq > last, expected, "{what}");
        last = seq;
    };
    register(store, ANNA, "tablet", "t2", START).await;
    moved("a second device", false).await;
    let anna = Smtp::new(ANNA);
    store.device_remove(&tenant(), &anna, "tablet").await.unwrap().unwrap();
    moved("one of two removed", false).await;
    store.device_remove(&tenant(), &anna, "phone").await.unwrap().unwrap();
    moved("the last device removed", true).await;
    register(store, ANNA, "phone", "t1", START).await;
    moved("the first device", true).await;
    store.mailbox_remove(&tenant(), &anna).await.unwrap().unwrap();
    moved("the mailbox removed", true).await;
    store.mailbox_add(&tenant(), &anna, START).await.unwrap();
    moved("the mailbox added", true).await;
}

/// A mailbox without devices is not watched, but stamped.
pub async fn only_mailboxes_with_devices_are_watched(f: &impl Fixture) {
    let world = World::new(f).await;
    world.store.device_remove(&tenant(), &Smtp::new(ANNA), "phone").await.unwrap().unwrap();
    let adopted = world.store.shard_reload(world.shard, world.authority).await.unwrap().unwrap();
    assert!(adopted.mailboxes.is_empty());
    assert!(world.store.mailbox_load(world.mailbox, world.authority).await.unwrap().is_some());
}

/// A mailbox that is added while its shard is adopted is in the adoption, or `change_seq` tells of it afterwards; and then a reload finds it.
pub async fn a_mailbox_added_during_adoption_is_seen(f: &impl Fixture) {
    let store = f.store().await;
    own_all(&store, 1).await;
    for n in 0..20 {
        let smtp = format!("user{n}@example.com");
        let (_, view_shard) = {
            let (view, _) = store.mailbox_add(&tenant(), &Smtp::new(&smtp), START).await.unwrap();
            store.mailbox_remove(&tenant(), &Smtp::new(&smtp)).await.unwrap();
            (view.mailbox, view.shard)
        };
        let authority = authority(&store, 1, view_shard).await;
        let phone = phone(&smtp, "phone", &format!("t{n}"));
        let (adopted, registered) = tokio::join!(store.shard_adopt(view_shard, authority), store.device_register(&phone, START));
        registered.unwrap();
        let adopted = adopted.unwrap().unwrap();
        let has = |mailboxes: &[crate::ports::cluster_store::OwnedMailbox]| mailboxes.iter().any(|m| m.mailbox.smtp.as_str() == smtp);
        let told = change_seq(&store, 1, view_shard).await > adopted.change_seq;
        assert!(has(&adopted.mailboxes) || told, "{smtp} would never be watched");
        let again = store.shard_reload(view_shard, authority).await.unwrap().unwrap();
        assert!(has(&again.mailboxes));
        let owned = again.mailboxes.iter().find(|m| m.mailbox.smtp.as_str() == smtp).unwrap();
        assert!(store.mailbox_load(owned.mailbox.id, authority).await.unwrap().is_some(), "the reload stamps it");
    }
}

/// The switch that pauses sending is told by the next heartbeat.
pub async fn the_pause_switch_reaches_the_heartbeat(f: &impl Fixture) {
    let store = f.store().await;
    own_all(&store, 1).await;
    for allowed in [false, true] {
        store.sending_allow(allowed).await.unwrap();
        assert_eq!(beat(&store, 1).await.sending_allowed, allowed);
    }
}

/// Mailboxes come with the recently active first.
pub async fn adoption_lists_the_recently_active_first(f: &impl Fixture) {
    let world = World::new(f).await;
    let shards = u16::try_from(beat(&world.store, 1).await.shards.len()).unwrap();
    let addresses = (0..).map(|n| Smtp::new(&format!("u{n}@example.com"))).filter(|smtp| ShardId::of_address(smtp, shards) == world.shard);
    let mut beside = Vec::new();
    for smtp in addresses.take(3) {
        beside.push(register(&world.store, smtp.as_str(), "phone", smtp.as_str(), START).await.0);
    }
    world.store.shard_reload(world.shard, world.authority).await.unwrap().unwrap();
    let mut entry = world.entry(0, vec![]);
    entry.mailbox = beside[1];
    world.store.sync_state_commit(&[entry]).await.unwrap();
    let listed = world.store.shard_reload(world.shard, world.authority).await.unwrap().unwrap().mailboxes;
    let ids: Vec<_> = listed.iter().map(|owned| owned.mailbox.id).collect();
    assert_eq!(ids, [beside[1], world.mailbox, beside[0], beside[2]]);
}
