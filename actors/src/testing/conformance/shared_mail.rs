//! Clauses of a database that many nodes share, where owners change while mail comes and users come and go.

use super::Fixture;
use super::members::{give, lead, member, plan, shard_of, view};
use super::world::{ANNA, START, World, device, phone, register, tenant};
use crate::ids::{Authority, Session, Smtp};
use crate::ports::cluster_store::{Assign, PlanCommit, Reason};
use crate::ports::{ClusterStore as _, DeviceStore as _, MailboxStore as _, RegistryStore as _};

/// Contract (4), both orders at once: a batch of the former owner commits before the adoption returns, or not at all.
pub async fn a_stale_batch_and_an_adoption_exclude_each_other(f: &impl Fixture) {
    let world = World::new(f).await;
    let other = f.process(&world.store).await;
    member(&other, "b", 2).await;
    let (mut owner, mut next, mut seq) = (world.authority, 2, 0);
    for round in 0..10 {
        give(&world.store, 1, world.shard, next).await;
        let epoch = shard_of(&view(&world.store).await, world.shard).epoch;
        let taken = Authority { fence: epoch, session: Session(next) };
        let batch = [crate::ports::mailbox_store::Commit { authority: owner, ..world.entry(seq, vec![world.row(round)]) }];
        let adoption = async {
            assert!(other.shard_adopt(world.shard, taken).await.unwrap().is_some());
            other.mailbox_load(world.mailbox, taken).await.unwrap().unwrap().sync_seq.0
        };
        let (committed, loaded) = tokio::join!(world.store.sync_state_commit(&batch), adoption);
        let matched = !committed.unwrap().matched.is_empty();
        assert_eq!(loaded, seq + i64::from(matched), "round {round}: what the successor read is what stays");
        assert_eq!(world.store.sync_state_commit(&batch).await.unwrap(), Default::default(), "round {round}");
        let later = other.mailbox_load(world.mailbox, taken).await.unwrap().unwrap();
        assert_eq!(later.sync_seq.0, loaded, "round {round}");
        (owner, next, seq) = (taken, if next == 2 { 1 } else { 2 }, loaded);
    }
}

/// F13: a mailbox that is removed while its shard is adopted is not in what is watched, or `change_seq` tells of it afterwards.
pub async fn a_mailbox_removed_during_adoption_is_seen(f: &impl Fixture) {
    let world = World::new(f).await;
    let other = f.process(&world.store).await;
    let anna = Smtp::new(ANNA);
    for round in 0..10 {
        let main = tenant();
        let (adopted, removed) = tokio::join!(world.store.shard_adopt(world.shard, world.authority), other.mailbox_remove(&main, &anna));
        removed.unwrap().expect("it was there");
        let adopted = adopted.unwrap().unwrap();
        let now = super::world::change_seq(&world.store, 1, world.shard).await;
        assert!(adopted.mailboxes.is_empty() || now > adopted.change_seq, "round {round}: it would be watched for ever");
        assert!(world.store.shard_reload(world.shard, world.authority).await.unwrap().unwrap().mailboxes.is_empty());
        register(&other, ANNA, "phone", "token-anna", START).await;
    }
}

/// A shard counts the mailboxes that have devices, however they come and go.
pub async fn watched_mailboxes_are_counted(f: &impl Fixture) {
    let world = World::new(f).await;
    let store = &world.store;
    let total = async || view(store).await.shards.iter().map(|shard| shard.users).sum::<u32>();
    assert_eq!(total().await, 1);
    let told = super::world::beat(store, 1).await;
    assert_eq!((told.users, told.shards[0].shard), (1, world.shard), "the heartbeat tells the owner, shards with users first");
    assert_eq!(shard_of(&view(store).await, world.shard).users, 1);
    let (anna, bob) = (Smtp::new(ANNA), Smtp::new("bob@example.com"));
    store.mailbox_add(&tenant(), &bob, START).await.unwrap();
    register(store, ANNA, "tablet", "t2", START).await;
    assert_eq!(total().await, 1, "without a device, and a second one");
    register(store, bob.as_str(), "phone", "t2", START).await;
    assert_eq!(total().await, 2, "the token went to bob, anna keeps her phone");
    register(store, bob.as_str(), "phone", "token-anna", START).await;
    assert_eq!(total().await, 1, "anna's last token went to bob");
    register(store, ANNA, "phone", "t3", START).await;
    assert_eq!(total().await, 2);
    let (gone, generation) = device(store, ANNA, "phone").await.unwrap();
    assert!(store.device_forget(gone, generation, None).await.unwrap());
    assert_eq!(total().await, 1);
    store.mailbox_remove(&tenant(), &anna).await.unwrap();
    assert_eq!(total().await, 1, "it was not watched");
    store.mailbox_remove(&tenant(), &bob).await.unwrap();
    assert_eq!(total().await, 0);
}

/// One token that several mailboxes register at one moment ends at one of them, and the counts are right.
pub async fn one_token_registered_everywhere_belongs_to_one(f: &impl Fixture) {
    let world = World::new(f).await;
    let others = [f.process(&world.store).await, f.process(&world.store).await];
    for round in 0..10 {
        let claim = |n: i64| phone(&format!("user{n}@example.com"), "phone", &format!("shared{round}"));
        let (one, two, three) = (claim(1), claim(2), claim(3));
        let (first, second, third) = tokio::join!(
            world.store.device_register(&one, START),
            others[0].device_register(&two, START),
            others[1].device_register(&three, START),
        );
        first.and(second).and(third).unwrap();
        let mut holders = 0;
        for n in 1..4 {
            holders += u32::from(device(&world.store, &format!("user{n}@example.com"), "phone").await.is_some());
        }
        let counted: u32 = view(&world.store).await.shards.iter().map(|shard| shard.users).sum();
        assert_eq!((holders, counted), (1, 2), "round {round}: one of them, and anna");
    }
}

/// A shard that was empty when the plan was made is not taken from its living owner once it has a mailbox.
pub async fn a_shard_that_filled_meanwhile_is_not_taken(f: &impl Fixture) {
    let store = f.store().await;
    member(&store, "a", 1).await;
    member(&store, "b", 2).await;
    lead(&store, 1).await;
    let (_, shard) = register(&store, ANNA, "phone", "t", START).await;
    give(&store, 1, shard, 1).await;
    let seen = view(&store).await;
    let taken = |reason| Assign { shard, epoch: shard_of(&seen, shard).epoch, to: Some(Session(2)), reason };
    for reason in [Reason::Rebalance, Reason::Drain, Reason::Ineligible] {
        assert_eq!(store.plan_commit(&PlanCommit { assigns: vec![taken(reason)], ..plan(&seen, 1) }).await.unwrap(), None);
    }
    store.device_remove(&tenant(), &Smtp::new(ANNA), "phone").await.unwrap().unwrap();
    assert!(store.plan_commit(&PlanCommit { assigns: vec![taken(Reason::Rebalance)], ..plan(&seen, 1) }).await.unwrap().is_some());
}
