//! Clauses of the port through which people and phones change what is watched.

use std::time::Duration;

use super::world::{ANNA, DAY, SOON, START, World, change_seq, device, phone, register, tenant};
use super::{Fixture, Store};
use crate::ids::{Generation, Smtp, TenantId};
use crate::ports::error::StoreError;
use crate::ports::push_sender::Provider;
use crate::ports::registry_change::{AuditAsk, Change, Of, Signed};
use crate::ports::registry_store::{ApiKey, AuditLine, MAX_DEVICES, Registered, Role};
use crate::ports::{DeviceStore as _, RegistryStore as _};
use crate::time::Timestamp;

async fn watch_since(store: &impl Store) -> Timestamp {
    store.mailbox_find(&tenant(), &Smtp::new(ANNA)).await.unwrap().unwrap().watch_since
}

/// A mailbox is made if it may be, else the registration is refused and leaves nothing.
pub async fn registering_makes_the_mailbox_if_it_may(f: &impl Fixture) {
    let store = f.store().await;
    let mut new = phone(ANNA, "phone", "t");
    new.create_mailbox = false;
    assert_eq!(store.device_register(&new, START).await.unwrap(), Registered::NoMailbox);
    assert_eq!(store.device_list(&tenant(), &new.smtp).await.unwrap(), None);
    let (view, added) = store.mailbox_add(&tenant(), &new.smtp, START).await.unwrap();
    assert!(added);
    let expected = Registered::Done { mailbox: view.mailbox, shard: view.shard, created: true };
    assert_eq!(store.device_register(&new, START).await.unwrap(), expected);
    let again = Registered::Done { mailbox: view.mailbox, shard: view.shard, created: false };
    assert_eq!(store.device_register(&new, START).await.unwrap(), again);
}

/// A registration is listed as it was made, without its token.
pub async fn a_registration_is_listed(f: &impl Fixture) {
    let store = f.store().await;
    register(&store, ANNA, "phone", "t", START).await;
    let [view] = &store.device_list(&tenant(), &Smtp::new(ANNA)).await.unwrap().unwrap()[..] else { panic!("one device") };
    assert_eq!((view.name.as_str(), view.generation, view.registered_at), ("phone", Generation(1), START));
    assert_eq!((view.last_activity, view.cutoff, &*view.app), (START, Duration::from_secs(43_200), "com.example.mail"));
}

/// Contract (1): a token that another user registers leaves its former row, with that row's pending rows, and ends that watch.
pub async fn a_token_belongs_to_one_row(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1)]).await;
    let before = change_seq(&world.store, 1, world.shard).await;
    register(&world.store, "berta@example.com", "phone", "token-anna", START).await;
    assert_eq!(device(&world.store, ANNA, "phone").await, None);
    assert!(device(&world.store, "berta@example.com", "phone").await.is_some());
    assert!(world.pending().await.is_empty());
    let row = &world.store.delivery_list(world.mailbox, 1).await.unwrap()[0];
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("DEAD", Some("token_moved")));
    assert!(change_seq(&world.store, 1, world.shard).await > before);
}

/// Contract (1): the same token of another app is another device.
pub async fn a_token_is_one_per_app(f: &impl Fixture) {
    let world = World::new(f).await;
    let mut other = phone("berta@example.com", "phone", "token-anna");
    other.app = "com.example.other".into();
    world.store.device_register(&other, START).await.unwrap();
    assert!(device(&world.store, ANNA, "phone").await.is_some());
}

/// A device that changes only its name stays one device, and its mailbox stays watched.
pub async fn a_device_may_change_its_name(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1)]).await;
    register(&world.store, ANNA, "new-name", "token-anna", START + DAY).await;
    let pending = world.pending().await;
    assert_eq!(pending.iter().map(|row| row.device).collect::<Vec<_>>(), [world.device], "what is still to be pushed goes to it");
    let list = world.store.device_list(&tenant(), &Smtp::new(ANNA)).await.unwrap().unwrap();
    assert_eq!(list.iter().map(|device| (device.name.as_str(), device.device)).collect::<Vec<_>>(), [("new-name", world.device)]);
    assert_eq!(watch_since(&world.store).await, START);
    assert_eq!(world.store.mailbox_retain(Timestamp::NEVER, 10).await.unwrap(), 0);
}

/// A device that takes over the token of another one of the same mailbox leaves one row.
pub async fn a_device_may_take_a_sibling_s_token(f: &impl Fixture) {
    let world = World::new(f).await;
    register(&world.store, ANNA, "tablet", "t2", START).await;
    register(&world.store, ANNA, "tablet", "token-anna", START).await;
    let list = world.store.device_list(&tenant(), &Smtp::new(ANNA)).await.unwrap().unwrap();
    assert_eq!(list.iter().map(|device| (device.name.as_str(), device.generation.0)).collect::<Vec<_>>(), [("tablet", 2)]);
}

/// Contract (2): the generation counts changes of token, app or provider, and nothing else.
pub async fn the_generation_counts_changes(f: &impl Fixture) {
    let store = f.store().await;
    for (token, expected) in [("t1", 1), ("t1", 1), ("t2", 2), ("t2", 2), ("t1", 3)] {
        register(&store, ANNA, "phone", token, START).await;
        assert_eq!(device(&store, ANNA, "phone").await.unwrap().1, Generation(expected));
    }
    let mut moved = phone(ANNA, "phone", "t1");
    moved.cutoff = Duration::ZERO;
    store.device_register(&moved, START + DAY).await.unwrap();
    let view = store.device_list(&tenant(), &moved.smtp).await.unwrap().unwrap().remove(0);
    assert_eq!((view.generation, view.cutoff, view.registered_at), (Generation(3), Duration::ZERO, START + DAY));
}

/// Contract (3): the eleventh device is refused and leaves nothing; those that are there may register anew.
pub async fn a_mailbox_has_ten_devices_at_most(f: &impl Fixture) {
    let store = f.store().await;
    for n in 0..MAX_DEVICES {
        register(&store, ANNA, &format!("d{n}"), &format!("t{n}"), START).await;
    }
    register(&store, "berta@example.com", "phone", "t-berta", START).await;
    let eleventh = phone(ANNA, "d10", "t-berta");
    assert_eq!(store.device_register(&eleventh, START).await.unwrap(), Registered::TooManyDevices);
    assert!(device(&store, "berta@example.com", "phone").await.is_some(), "the token stays where it is");
    register(&store, ANNA, "d3", "t-new", START).await;
    register(&store, ANNA, "renamed", "t4", START).await;
    assert_eq!(store.device_list(&tenant(), &Smtp::new(ANNA)).await.unwrap().unwrap().len(), MAX_DEVICES);
}

/// Contract (4): the first device begins the watch; the second does not move it.
pub async fn the_first_device_begins_the_watch(f: &impl Fixture) {
    let store = f.store().await;
    store.mailbox_add(&tenant(), &Smtp::new(ANNA), START).await.unwrap();
    register(&store, ANNA, "phone", "t1", START + DAY).await;
    assert_eq!(watch_since(&store).await, START + DAY);
    register(&store, ANNA, "tablet", "t2", START + DAY * 2).await;
    assert_eq!(watch_since(&store).await, START + DAY);
}

/// Contract (4): a watch that ended within the last 7 days goes on where it was; after that it begins anew.
pub async fn a_watch_goes_on_within_seven_days(f: &impl Fixture) {
    let store = f.store().await;
    let anna = Smtp::new(ANNA);
    register(&store, ANNA, "phone", "t1", START).await;
    let (first, _) = device(&store, ANNA, "phone").await.unwrap();
    store.device_remove(&tenant(), &anna, "phone").await.unwrap().unwrap();
    let ended = ended_at(&store).await;
    register(&store, ANNA, "phone", "t1", ended + DAY * 7 - SOON).await;
    assert_eq!(watch_since(&store).await, START);
    assert_ne!(device(&store, ANNA, "phone").await.unwrap().0, first, "a removed device does not come back as itself");
    store.device_remove(&tenant(), &anna, "phone").await.unwrap().unwrap();
    let later = ended_at(&store).await + DAY * 7;
    register(&store, ANNA, "phone", "t1", later).await;
    assert_eq!(watch_since(&store).await, later);
}

/// About when a watch ended that ended just now: the store's clock dates it, and a heartbeat tells that.
async fn ended_at(store: &impl Store) -> Timestamp {
    store.join(&super::world::join(99, super::world::LONG)).await.unwrap();
    super::world::beat(store, 99).await.now
}

/// The cut-off and the activity of a device change by themselves; activity never moves backwards.
pub async fn a_device_is_updated(f: &impl Fixture) {
    let store = f.store().await;
    register(&store, ANNA, "phone", "t1", START).await;
    let anna = Smtp::new(ANNA);
    assert!(store.device_update(&tenant(), &anna, "phone", Duration::from_secs(7)).await.unwrap());
    assert!(store.device_activity(&tenant(), &anna, "phone", START + DAY).await.unwrap());
    assert!(store.device_activity(&tenant(), &anna, "phone", START).await.unwrap());
    register(&store, ANNA, "phone", "t1", START + Duration::from_secs(1)).await;
    let view = store.device_list(&tenant(), &anna).await.unwrap().unwrap().remove(0);
    assert_eq!(view.last_activity, START + DAY);
    assert!(!store.device_update(&tenant(), &anna, "tablet", DAY).await.unwrap());
    assert!(!store.device_activity(&tenant(), &Smtp::new("nobody@example.com"), "phone", START).await.unwrap());
    assert!(!store.device_activity(&TenantId("other".into()), &anna, "phone", START).await.unwrap());
}

/// Removing a device ends its pending rows and names the shard.
pub async fn a_device_is_removed(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1)]).await;
    let anna = Smtp::new(ANNA);
    assert_eq!(world.store.device_remove(&tenant(), &anna, "tablet").await.unwrap(), None);
    assert_eq!(world.store.device_remove(&tenant(), &anna, "phone").await.unwrap(), Some(world.shard));
    assert_eq!(world.store.device_remove(&tenant(), &anna, "phone").await.unwrap(), None);
    assert!(world.pending().await.is_empty());
    assert_eq!(world.store.device_list(&tenant(), &anna).await.unwrap(), Some(vec![]));
}

/// A mailbox is added once; the view tells what is known of it.
pub async fn a_mailbox_is_added_once(f: &impl Fixture) {
    let world = World::new(f).await;
    let (view, added) = world.store.mailbox_add(&tenant(), &Smtp::new("Anna@Example.com"), START + DAY).await.unwrap();
    assert!(!added);
    assert_eq!((view.mailbox, view.shard, view.devices, view.sync_seq, view.seeded), (world.mailbox, world.shard, 1, 0, false));
    assert_eq!((view.watch_since, view.announced_until), (START, Timestamp(0)));
    world.commit(0, vec![]).await;
    let view = world.store.mailbox_find(&tenant(), &Smtp::new(ANNA)).await.unwrap().unwrap();
    assert_eq!((view.sync_seq, view.seeded, view.announced_until), (1, true, START));
    assert_eq!(world.store.mailbox_find(&TenantId("other".into()), &Smtp::new(ANNA)).await.unwrap(), None);
}

/// Contract (5): with the mailbox everything about it goes.
pub async fn removing_a_mailbox_removes_everything(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1)]).await;
    let anna = Smtp::new(ANNA);
    assert_eq!(world.store.mailbox_remove(&tenant(), &anna).await.unwrap(), Some(world.shard));
    assert_eq!(world.store.mailbox_remove(&tenant(), &anna).await.unwrap(), None);
    assert_eq!(world.store.mailbox_find(&tenant(), &anna).await.unwrap(), None);
    assert_eq!(world.store.device_list(&tenant(), &anna).await.unwrap(), None);
    assert!(world.store.devices_now(&[world.device]).await.unwrap().is_empty());
    assert!(world.pending().await.is_empty());
    assert!(world.store.delivery_list(world.mailbox, 10).await.unwrap().is_empty());
    let (view, added) = world.store.mailbox_add(&tenant(), &anna, START).await.unwrap();
    assert!(added && view.mailbox != world.mailbox, "ids never come twice");
}

/// Mailboxes are listed in order of address, page by page, each tenant by itself.
pub async fn mailboxes_are_listed_in_pages(f: &impl Fixture) {
    let store = f.store().await;
    for name in ["d", "b", "a", "c"] {
        store.mailbox_add(&tenant(), &Smtp::new(&format!("{name}@example.com")), START).await.unwrap();
    }
    store.mailbox_add(&TenantId("other".into()), &Smtp::new("x@example.com"), START).await.unwrap();
    let mut seen: Vec<String> = Vec::new();
    let mut after: Option<Smtp> = None;
    loop {
        let page = store.mailbox_list(&tenant(), after.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = Some(last.smtp.clone());
        seen.extend(page.iter().map(|view| view.smtp.as_str()[..1].to_owned()));
    }
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

/// Mailboxes that lost their last device long ago go in steps; those that have one or never had one stay.
pub async fn silent_mailboxes_go_in_steps(f: &impl Fixture) {
    let store = f.store().await;
    for n in 0..3 {
        let smtp = format!("gone{n}@example.com");
        register(&store, &smtp, "phone", &smtp, START).await;
        store.device_remove(&tenant(), &Smtp::new(&smtp), "phone").await.unwrap().unwrap();
    }
    register(&store, ANNA, "phone", "t", START).await;
    store.mailbox_add(&tenant(), &Smtp::new("never@example.com"), START).await.unwrap();
    assert_eq!(store.mailbox_retain(Timestamp(0), 10).await.unwrap(), 0);
    assert_eq!(store.mailbox_retain(Timestamp::NEVER, 2).await.unwrap(), 2);
    assert_eq!(store.mailbox_retain(Timestamp::NEVER, 2).await.unwrap(), 1);
    assert_eq!(store.mailbox_list(&tenant(), None, 10).await.unwrap().len(), 2);
}

/// Keys are found by their public part, listed and revoked; an id is taken once.
pub async fn keys_are_kept(f: &impl Fixture) {
    let store = f.store().await;
    let key = |id: &str, role| ApiKey { id: id.into(), hash: [7; 32], role, tenant: tenant(), note: "n".into(), created_at: START };
    store.key_create(&key("k1", Role::Admin)).await.unwrap();
    store.key_create(&key("k2", Role::DeviceManager)).await.unwrap();
    let twice = store.key_create(&key("k1", Role::DeviceManager)).await;
    assert!(matches!(twice, Err(StoreError::Unusable(_))), "{twice:?}");
    assert_eq!(store.key_find("k1").await.unwrap(), Some(key("k1", Role::Admin)));
    assert_eq!(store.key_find("k3").await.unwrap(), None);
    assert_eq!(store.key_list().await.unwrap(), [key("k1", Role::Admin), key("k2", Role::DeviceManager)]);
    assert!(store.key_revoke("k1").await.unwrap());
    assert!(!store.key_revoke("k1").await.unwrap());
    assert_eq!(store.key_find("k1").await.unwrap(), None);
}

/// Audit lines are taken, the same one twice.
pub async fn audit_lines_are_taken(f: &impl Fixture) {
    let store = f.store().await;
    let line = AuditLine { at: START, who: "k1".into(), what: "DELETE /x".into(), object: "a…".into(), status: 204, tenant: tenant() };
    store.audit(&line).await.unwrap();
    store.audit(&line).await.unwrap();
}

/// Audit lines that are old enough go in steps, the oldest first; the others stay.
pub async fn old_audit_lines_go_in_steps(f: &impl Fixture) {
    let store = f.store().await;
    for day in 0..4 {
        let line = AuditLine {
            at: START + DAY * day,
            who: "k1".into(),
            what: "GET /x".into(),
            object: String::new(),
            status: 200,
            tenant: tenant(),
        };
        store.audit(&line).await.unwrap();
    }
    let removed = async |limit| store.audit_retain(START + DAY * 3, limit).await.unwrap();
    assert_eq!(store.audit_retain(START, 10).await.unwrap(), 0);
    assert_eq!([removed(2).await, removed(2).await, removed(2).await], [2, 1, 0]);
}

/// Contract (1): a token moves only inside (tenant, provider, app): a registration of another company, or for the other environment, takes nothing away.
pub async fn a_token_moves_only_inside_its_tenant_and_provider(f: &impl Fixture) {
    let world = World::new(f).await;
    world.commit(0, vec![world.row(1)]).await;
    let (own, _) = device(&world.store, ANNA, "phone").await.unwrap();
    let mut theirs = phone("mallory@example.net", "phone", "token-anna");
    theirs.tenant = TenantId("other".into());
    world.store.device_register(&theirs, START).await.unwrap();
    let mut sandbox = phone("berta@example.com", "phone", "token-anna");
    sandbox.provider = Provider::ApnsSandbox;
    world.store.device_register(&sandbox, START).await.unwrap();
    assert_eq!(device(&world.store, ANNA, "phone").await.map(|(device, _)| device), Some(own), "it stays, as the row that it is");
    assert_eq!(world.pending().await.len(), 1, "with what is still to be pushed to it");
    theirs.smtp = Smtp::new("other@example.net");
    world.store.device_register(&theirs, START).await.unwrap();
    assert_eq!(world.store.device_list(&theirs.tenant, &Smtp::new("mallory@example.net")).await.unwrap(), Some(vec![]), "inside it moves");
    assert!(device(&world.store, ANNA, "phone").await.is_some());
}

fn signed(moves_only: bool) -> Signed {
    let line = AuditLine { at: START, who: "key k1".into(), what: "PUT /x".into(), object: "a…".into(), status: 200, tenant: tenant() };
    Signed { line, moves_only }
}

async fn trail(store: &impl Store) -> Vec<(String, String, u16)> {
    let lines = store.audit_list(&AuditAsk { limit: 100, ..AuditAsk::default() }).await.unwrap();
    lines.into_iter().rev().map(|(_, line)| (line.what, line.object, line.status)).collect()
}

/// Contract (7): what was changed has its lines, what was not changed has none, and a token that moves is told whoever moves it.
pub async fn a_change_leaves_its_lines(f: &impl Fixture) {
    let store = f.store().await;
    let anna = phone(ANNA, "phone", "t");
    let (all, moves) = (signed(false), signed(true));
    let own = tenant();
    let of = |name| Of { tenant: &own, smtp: &anna.smtp, name };
    for change in [Change::Cutoff(of("phone"), DAY), Change::DeviceRemove(of("phone")), Change::MailboxRemove(&own, &anna.smtp)] {
        assert!(!store.change(change, Some(&all)).await.unwrap().is_change());
    }
    let mut refused = anna.clone();
    refused.create_mailbox = false;
    store.change(Change::Register(&refused, START), Some(&all)).await.unwrap();
    assert_eq!(trail(&store).await, []);
    for _ in 0..2 {
        store.change(Change::Register(&anna, START), Some(&all)).await.unwrap();
    }
    let mailbox = store.mailbox_find(&own, &anna.smtp).await.unwrap().unwrap().mailbox;
    store.change(Change::Cutoff(of("phone"), DAY), Some(&all)).await.unwrap();
    store.change(Change::Activity(of("phone"), START), Some(&all)).await.unwrap();
    store.change(Change::Activity(of("phone"), START), Some(&moves)).await.unwrap();
    store.change(Change::MailboxAdd(&own, &anna.smtp, START), Some(&all)).await.unwrap();
    let berta = phone("berta@example.com", "phone", "t");
    store.change(Change::Register(&berta, START), Some(&moves)).await.unwrap();
    let other = store.mailbox_find(&own, &berta.smtp).await.unwrap().unwrap().mailbox;
    store.change(Change::MailboxRemove(&own, &anna.smtp), Some(&all)).await.unwrap();
    store.change(Change::Sending(false), Some(&all)).await.unwrap();
    let about = |status| ("PUT /x".to_owned(), format!("a… (mailbox {mailbox})"), status);
    let moved = ("token moved".to_owned(), format!("from mailbox {mailbox} to mailbox {other}"), 200);
    let switched = ("PUT /x".to_owned(), "a…".to_owned(), 200);
    assert_eq!(trail(&store).await, [about(201), about(200), about(200), about(200), moved, about(200), switched]);
}

/// The trail is listed newest first, page by page, of some companies, by time, by caller, by action and by object.
pub async fn the_trail_is_listed(f: &impl Fixture) {
    let store = f.store().await;
    for n in 0..6_u16 {
        let who = if n % 2 == 0 { "key even" } else { "key odd" };
        let tenant = if n == 5 { TenantId("other".into()) } else { tenant() };
        let at = START + DAY * u32::from(n);
        let line = AuditLine { at, who: who.into(), what: format!("GET /{n}"), object: format!("mailbox {n}"), status: n, tenant };
        store.audit(&line).await.unwrap();
    }
    let listed = async |ask: AuditAsk| store.audit_list(&ask).await.unwrap().into_iter().map(|(_, line)| line.status).collect::<Vec<_>>();
    let all = || AuditAsk { limit: 10, ..AuditAsk::default() };
    assert_eq!(listed(all()).await, [5, 4, 3, 2, 1, 0]);
    assert_eq!(listed(AuditAsk { tenants: vec![tenant()], ..all() }).await, [4, 3, 2, 1, 0]);
    assert_eq!(listed(AuditAsk { tenants: vec![TenantId("other".into()), TenantId(String::new().into())], ..all() }).await, [5]);
    assert_eq!(listed(AuditAsk { since: Some(START + DAY), until: Some(START + DAY * 3), ..all() }).await, [2, 1]);
    assert_eq!(listed(AuditAsk { who: Some("key odd".into()), ..all() }).await, [5, 3, 1]);
    assert_eq!(listed(AuditAsk { who: Some("key".into()), ..all() }).await, [] as [u16; 0]);
    assert_eq!(listed(AuditAsk { what: Some("T /3".into()), ..all() }).await, [3]);
    assert_eq!(listed(AuditAsk { object: Some("box 2".into()), what: Some("GET".into()), ..all() }).await, [2]);
    let page = store.audit_list(&AuditAsk { limit: 2, ..all() }).await.unwrap();
    assert_eq!(page.iter().map(|(_, line)| line.status).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(listed(AuditAsk { before: Some(page[1].0), limit: 2, ..all() }).await, [3, 2]);
}
