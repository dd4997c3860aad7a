//! Clauses of the port to devices as the delivery of pushes sees them.

use std::time::Duration;

use super::Fixture;
use super::world::{ANNA, START, World, change_seq, device, event, phone, register, tenant};
use crate::ids::{DeviceId, Generation, MailboxId, Smtp};
use crate::ports::push_sender::Provider;
use crate::ports::{DeviceStore as _, RegistryStore as _};
use crate::time::Timestamp;

/// Recipients are all devices of the mailbox with what each knows already.
pub async fn recipients_tell_what_they_know(f: &impl Fixture) {
    let world = World::new(f).await;
    register(&world.store, ANNA, "tablet", "t2", START).await;
    register(&world.store, "berta@example.com", "phone", "t3", START).await;
    world.commit(0, vec![world.row(1), world.row(2)]).await;
    let recipients = world.store.recipients(world.mailbox, &[event(1), event(2), event(3)]).await.unwrap();
    assert_eq!(recipients.len(), 2);
    let first = recipients.iter().find(|recipient| recipient.device == world.device).unwrap();
    let mut known = first.known.clone();
    known.sort_unstable();
    let mut expected = [event(1), event(2)];
    expected.sort_unstable();
    assert_eq!(known, expected);
    assert_eq!((first.generation, first.channel.provider, &first.channel.tenant), (world.generation, Provider::Apns, &tenant()));
    let second = recipients.iter().find(|recipient| recipient.device != world.device).unwrap();
    assert!(second.known.is_empty());
    assert_eq!(world.store.recipients(world.mailbox, &[]).await.unwrap().len(), 2);
    assert!(world.store.recipients(MailboxId(i64::MAX), &[event(1)]).await.unwrap().is_empty());
}

/// Contract (1): devices are read as they are now; one that is gone is missing.
pub async fn devices_are_read_as_they_are_now(f: &impl Fixture) {
    let world = World::new(f).await;
    let read = async || world.store.devices_now(&[world.device, DeviceId(i64::MAX)]).await.unwrap();
    let [now] = &read().await[..] else { panic!("one device") };
    assert_eq!((now.device, now.generation, &*now.token.0), (world.device, world.generation, "token-anna"));
    assert_eq!((now.last_activity, now.cutoff), (START, Duration::from_secs(43_200)));
    assert_eq!((&now.channel.tenant, now.channel.provider, &*now.channel.app), (&tenant(), Provider::Apns, "com.example.mail"));
    let later = START + Duration::from_secs(5);
    world.store.device_activity(&tenant(), &Smtp::new(ANNA), "phone", later).await.unwrap();
    assert_eq!(read().await[0].last_activity, later);
    world.store.device_remove(&tenant(), &Smtp::new(ANNA), "phone").await.unwrap();
    assert!(read().await.is_empty());
}

/// A thousand devices are one call.
pub async fn a_thousand_devices_are_one_call(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut ids: Vec<DeviceId> = (0..999).map(|n| DeviceId(1_000_000 + n)).collect();
    ids.insert(500, world.device);
    let found = world.store.devices_now(&ids).await.unwrap();
    assert_eq!(found.iter().map(|device| device.device).collect::<Vec<_>>(), [world.device]);
}

/// Contract (2): forgotten under its own generation, with its PENDING rows.
pub async fn a_device_is_forgotten_with_its_rows(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1)]).await;
    assert!(world.store.device_forget(world.device, world.generation, None).await.unwrap());
    assert_eq!(device(&world.store, ANNA, "phone").await, None);
    assert!(world.pending().await.is_empty());
    let row = &world.store.delivery_list(world.mailbox, 1).await.unwrap()[0];
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("DEAD", Some("device_gone")));
    assert!(world.store.device_forget(world.device, world.generation, None).await.unwrap(), "a repeat says that nothing stands");
}

/// Contract (2): a verdict about another generation forgets nobody.
pub async fn a_newer_registration_stands(f: &impl Fixture) {
    let world = World::new(f).await;
    register(&world.store, ANNA, "phone", "token-2", START).await;
    assert!(!world.store.device_forget(world.device, world.generation, None).await.unwrap());
    let (same, generation) = device(&world.store, ANNA, "phone").await.unwrap();
    assert_eq!((same, generation), (world.device, Generation(world.generation.0 + 1)));
    assert!(world.store.device_forget(same, generation, None).await.unwrap());
}

/// Contract (2): nor one about a time before the registration.
pub async fn a_registration_after_the_verdict_stands(f: &impl Fixture) {
    let world = World::new(f).await;
    let before = START - Duration::from_micros(1);
    assert!(!world.store.device_forget(world.device, world.generation, Some(before)).await.unwrap());
    assert!(device(&world.store, ANNA, "phone").await.is_some());
    assert!(world.store.device_forget(world.device, world.generation, Some(START)).await.unwrap());
}

/// The same token registered again keeps its generation, and a verdict about a time before it forgets nobody.
pub async fn registering_again_outlives_an_older_verdict(f: &impl Fixture) {
    let world = World::new(f).await;
    let again = START + Duration::from_secs(60);
    register(&world.store, ANNA, "phone", "token-anna", again).await;
    assert!(!world.store.device_forget(world.device, world.generation, Some(START)).await.unwrap());
    assert!(device(&world.store, ANNA, "phone").await.is_some());
}

/// Contract (3): with the last device the watch ends.
pub async fn forgetting_the_last_device_ends_the_watch(f: &impl Fixture) {
    let world = World::new(f).await;
    register(&world.store, ANNA, "tablet", "t2", START).await;
    let (tablet, generation) = device(&world.store, ANNA, "tablet").await.unwrap();
    let before = change_seq(&world.store, 1, world.shard).await;
    assert!(world.store.device_forget(tablet, generation, None).await.unwrap());
    assert_eq!(change_seq(&world.store, 1, world.shard).await, before);
    assert!(world.store.device_forget(world.device, world.generation, None).await.unwrap());
    assert!(change_seq(&world.store, 1, world.shard).await > before);
    assert_eq!(world.store.mailbox_retain(Timestamp::NEVER, 10).await.unwrap(), 1);
}

/// A device keeps no trace of a provider that it left.
pub async fn a_device_may_change_its_provider(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut fcm = phone(ANNA, "phone", "token-anna");
    fcm.provider = Provider::Fcm;
    fcm.app = "com.example.android".into();
    world.store.device_register(&fcm, START).await.unwrap();
    let now = world.store.devices_now(&[world.device]).await.unwrap().remove(0);
    assert_eq!((now.channel.provider, &*now.channel.app), (Provider::Fcm, "com.example.android"));
    assert_eq!(now.generation, Generation(world.generation.0 + 1));
}
