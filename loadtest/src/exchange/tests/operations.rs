//! Each operation when all is well.

use jiff::{SignedDuration, Timestamp};

use super::client::*;
use crate::world::MailSpec;

#[tokio::test]
async fn a_mail_is_heard_of_synced_read_and_gone() {
    let company = Company::new().await;
    let id = company.subscribe(ANNA).await;
    let mut stream = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
    let first = stream.document().await;
    assert!(first.text.starts_with("<Envelope "), "no declaration, no prefix");
    assert_eq!(first.value("ConnectionStatus"), "OK");
    let mail = MailSpec::new("Bob Miller", "R&D <plan>", "Grüße");
    let item = company.world.deliver(ANNA, mail).unwrap();
    let told = stream.document().await;
    assert_eq!(told.value("SubscriptionId"), id);
    assert_eq!(told.attribute("NewMailEvent", "x"), "");
    assert_eq!(told.attribute("ItemId", "Id"), item);
    assert_eq!(told.value("UnreadCount"), "1");
    assert_eq!(company.notes.hints.lock().unwrap().as_slice(), std::slice::from_ref(&item));
    let page = company.ask(ANNA, &sync(None, 512)).send().await;
    assert_eq!(page.attribute("ItemId", "Id"), item);
    assert_eq!(page.value("IncludesLastItemInRange"), "true");
    assert_eq!(page.value("IsRead"), "false");
    let read = company.ask(ANNA, &get_item(&[&item, "AAMkAA=="])).send().await;
    assert_eq!(read.value("Subject"), "R&D <plan>");
    assert_eq!(read.value("Preview"), "Grüße");
    assert_eq!(read.xml().find("From").unwrap().find("Name").unwrap().text, "Bob Miller");
    assert!(read.text.contains("ErrorItemNotFound"));
    let state = page.value("SyncState");
    company.world.mark_read(ANNA, &item).unwrap();
    let page = company.ask(ANNA, &sync(Some(&state), 512)).send().await;
    assert!(page.text.contains("<t:ReadFlagChange>"));
    let folder = company.ask(ANNA, &get_folder()).send().await;
    assert_eq!(folder.value("UnreadCount"), "0");
    let gone = company.ask(ANNA, &unsubscribe(&id)).send().await;
    assert_eq!(gone.code(), "NoError");
    assert_eq!(company.server.subscriptions(), 0);
    assert!(company.misuse().is_empty() && company.remarks().is_empty());
}

#[tokio::test]
async fn find_item_gives_the_newest_since_a_time_and_no_more_than_asked() {
    let company = Company::new().await;
    company.world.seed_old_mails(ANNA, 50).unwrap();
    for n in 0..3 {
        company.world.deliver(ANNA, MailSpec::new("Bob", format!("m{n}"), "...")).unwrap();
    }
    let since = Timestamp::now() - SignedDuration::from_mins(1);
    let shape = fields(&["item:Subject", "item:DateTimeReceived"]);
    let find = |max: usize| {
        format!(
            r#"<m:FindItem Traversal="Shallow"><m:ItemShape>{shape}</m:ItemShape><m:IndexedPageItemView MaxEntriesReturned="{max}" Offset="0" BasePoint="Beginning"/><m:Restriction><t:IsGreaterThanOrEqualTo><t:FieldURI FieldURI="item:DateTimeReceived"/><t:FieldURIOrConstant><t:Constant Value="{since}"/></t:FieldURIOrConstant></t:IsGreaterThanOrEqualTo></m:Restriction><m:SortOrder><t:FieldOrder Order="Descending"><t:FieldURI FieldURI="item:DateTimeReceived"/></t:FieldOrder></m:SortOrder><m:ParentFolderIds>{INBOX}</m:ParentFolderIds></m:FindItem>"#
        )
    };
    let subjects = async |max: usize| {
        let reply = company.ask(ANNA, &find(max)).send().await;
        assert_eq!(reply.attribute("RootFolder", "TotalItemsInView"), "3");
        let root = reply.xml();
        let mut found = Vec::new();
        root.find_all("Subject", &mut found);
        found.iter().map(|subject| subject.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(subjects(10).await, ["m2", "m1", "m0"]);
    assert_eq!(subjects(2).await, ["m2", "m1"]);
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn a_sync_pages_over_the_wire_and_a_mail_dragged_in_is_told_as_moved() {
    let company = Company::new().await;
    company.world.seed_old_mails(ANNA, 1_100).unwrap();
    let (mut state, mut counts) = (None, Vec::new());
    loop {
        let page = company.ask(ANNA, &sync(state.as_deref(), 512)).send().await;
        let root = page.xml();
        let mut created = Vec::new();
        root.find_all("Create", &mut created);
        counts.push(created.len());
        state = Some(page.value("SyncState"));
        if page.value("IncludesLastItemInRange") == "true" {
            break;
        }
    }
    assert_eq!(counts, [512, 512, 76]);
    let id = company.subscribe(ANNA).await;
    let mut stream = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
    stream.document().await;
    let old = Timestamp::now() - SignedDuration::from_hours(900);
    let item = company.world.move_in(ANNA, MailSpec::new("Bob", "old", "..."), old).unwrap();
    let told = stream.document().await;
    let event = told.xml().find("MovedEvent").unwrap().clone();
    assert_eq!(event.child("ItemId").unwrap().attribute("Id"), Some(item.as_str()));
    assert_ne!(event.child("OldItemId").unwrap().attribute("Id"), Some(item.as_str()));
}

#[tokio::test]
async fn a_mailbox_is_covered_while_an_open_stream_holds_a_live_subscription_of_it() {
    let company = Company::new().await;
    let bare = || company.server.coverage(std::time::Duration::ZERO).uncovered;
    let until = async |wanted: usize| {
        while bare() != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let first = company.subscribe(ANNA).await;
    assert_eq!(company.server.coverage(std::time::Duration::ZERO).mailboxes, 0, "a subscription alone hears nothing");
    let mut stream = company.ask(ANNA, &streaming(&[&first], 30)).stream().await;
    stream.document().await;
    assert_eq!((bare(), company.server.coverage(std::time::Duration::ZERO).mailboxes), (0, 1));

    let second = company.subscribe(ANNA).await;
    let mut heir = company.ask(ANNA, &streaming(&[&second], 30)).stream().await;
    heir.document().await;
    drop(stream);
    company.ask(ANNA, &unsubscribe(&first)).send().await;
    assert_eq!(company.server.coverage(std::time::Duration::ZERO).longest_ms, 0, "handed over without a gap");

    company.ask(ANNA, &unsubscribe(&second)).send().await;
    until(1).await;
    let third = company.subscribe(ANNA).await;
    company.ask(ANNA, &streaming(&[&third], 30)).stream().await.document().await;
    until(1).await;
}
