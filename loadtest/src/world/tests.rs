//! Stories of one inbox, told through sync states.

use std::sync::{Arc, Mutex};

use super::*;
use crate::witness::NoWitness;

const ANNA: &str = "anna@corp.example";

fn world() -> Arc<World> {
    let world = World::with_instance(Arc::new(NoWitness), 7);
    assert!(world.add_mailbox("Anna@Corp.example"));
    assert!(!world.add_mailbox(ANNA), "addresses do not mind case");
    world
}

fn mail(subject: &str) -> MailSpec {
    MailSpec::new("Bob Miller", subject, "Hello")
}

/// The changes since `state` as short words, and the state after them.
fn since(world: &World, state: Option<&str>, max: usize) -> (Vec<String>, String, bool) {
    let page = world.mailbox(ANNA).unwrap().sync(state, max).unwrap();
    let words = page.changes.iter().map(|change| match change {
        SyncChange::Create(item) => format!("create {}", item.mail.subject),
        SyncChange::Update(item) => format!("update {}", item.mail.subject),
        SyncChange::Delete(_) => "delete".to_owned(),
        SyncChange::ReadFlag(_, read) => format!("read {read}"),
    });
    (words.collect(), page.sync_state, page.is_last)
}

#[test]
fn a_sync_tells_what_happened_since_and_nothing_twice() {
    let world = world();
    let first = world.deliver(ANNA, mail("one")).unwrap();
    let (words, state, last) = since(&world, None, 512);
    assert_eq!(words, ["create one"]);
    assert!(last);
    let second = world.deliver(ANNA, mail("two")).unwrap();
    world.mark_read(ANNA, &first).unwrap();
    let (words, state, _) = since(&world, Some(&state), 512);
    assert_eq!(words, ["read true", "create two"]);
    world.delete(ANNA, &second).unwrap();
    let third = world.deliver(ANNA, mail("three")).unwrap();
    world.move_out(ANNA, &third).unwrap();
    let (words, state, _) = since(&world, Some(&state), 512);
    assert_eq!(words, ["delete"], "what came and went unseen is not told");
    assert!(since(&world, Some(&state), 512).0.is_empty());
    assert_eq!(world.unread(ANNA), Ok(0));
}

#[test]
fn an_item_that_changes_while_a_client_pages_is_told_once_and_in_its_present_form() {
    let world = world();
    let ids: Vec<String> = (0..5).map(|n| world.deliver(ANNA, mail(&format!("m{n}"))).unwrap()).collect();
    let (words, state, last) = since(&world, None, 2);
    assert_eq!((words.len(), last), (2, false));
    world.mark_read(ANNA, &ids[0]).unwrap();
    world.mark_read(ANNA, &ids[4]).unwrap();
    world.delete(ANNA, &ids[3]).unwrap();
    let (words, state, last) = since(&world, Some(&state), 2);
    assert_eq!(words, ["read true", "create m2"]);
    assert!(!last);
    let (words, _, last) = since(&world, Some(&state), 2);
    assert_eq!(words, ["create m4"]);
    assert!(last);
}

#[test]
fn fifty_thousand_old_mails_are_drained_in_pages_of_512() {
    let world = world();
    world.seed_old_mails(ANNA, 50_000).unwrap();
    assert_eq!(world.unread(ANNA), Ok(5_000));
    let (mut pages, mut items, mut state) = (0, 0, None);
    loop {
        let (words, next, last) = since(&world, state.as_deref(), 512);
        pages += 1;
        items += words.len();
        state = Some(next);
        if last {
            break;
        }
    }
    assert_eq!((pages, items), (98, 50_000));
}

#[test]
fn a_mailbox_move_renames_every_item_and_refuses_the_states_handed_out() {
    let world = world();
    let old = world.deliver(ANNA, mail("one")).unwrap();
    let (_, state, _) = since(&world, None, 512);
    world.move_mailbox(ANNA).unwrap();
    let mailbox = world.mailbox(ANNA).unwrap();
    assert_eq!(mailbox.sync(Some(&state), 512).unwrap_err(), SyncStateRefused);
    assert!(mailbox.item(&old).is_none());
    assert_eq!(world.delete(ANNA, &old), Err(WorldError::NoSuchItem));
    let (found, total) = mailbox.received_since(None, 10);
    assert_eq!(total, 1);
    assert_ne!(found[0].id, old);
    assert_eq!(found[0].mail.subject, "one");
}

#[test]
fn a_copy_and_a_mail_dragged_in_keep_their_old_time_and_get_their_own_id() {
    let world = world();
    let long_ago: Timestamp = "2020-02-03T04:05:06Z".parse().unwrap();
    let old = world.move_in(ANNA, mail("old"), long_ago).unwrap();
    let copy = world.copy(ANNA, &old).unwrap();
    assert_ne!(old, copy);
    let mailbox = world.mailbox(ANNA).unwrap();
    let (old, copy) = (mailbox.item(&old).unwrap(), mailbox.item(&copy).unwrap());
    assert_eq!((old.received_at, copy.received_at), (long_ago, long_ago));
    assert_eq!(old.internet_message_id, copy.internet_message_id);
    assert_eq!(mailbox.received_since(Some(Timestamp::now()), 10).1, 0);
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl EventSink for Heard {
    fn push(&self, events: &[Event]) {
        let mut heard = self.0.lock().unwrap();
        heard.extend(events.iter().map(|event| match event.unread {
            Some(unread) => format!("folder {unread}"),
            None => event.kind.element().to_owned(),
        }));
    }

    fn mailbox_moved(&self) {
        self.0.lock().unwrap().push("moved".to_owned());
    }
}

#[test]
fn subscribers_hear_each_cause_as_exchange_tells_it() {
    let world = world();
    let heard = Arc::new(Heard::default());
    let sink: Arc<dyn EventSink> = heard.clone();
    world.mailbox(ANNA).unwrap().subscribe(Arc::downgrade(&sink));
    let id = world.deliver(ANNA, mail("one")).unwrap();
    world.mark_read(ANNA, &id).unwrap();
    world.mark_read(ANNA, &id).unwrap();
    world.delete(ANNA, &id).unwrap();
    world.move_mailbox(ANNA).unwrap();
    world.deliver(ANNA, mail("two")).unwrap();
    let told = heard.0.lock().unwrap().clone();
    let expected = ["CreatedEvent", "NewMailEvent", "folder 1", "ModifiedEvent", "folder 0", "DeletedEvent", "folder 0", "moved"];
    assert_eq!(told, expected);
}
