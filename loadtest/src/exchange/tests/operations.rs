//! Each operation when all is well.

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
    let read = company.ask(ANNA, &get_item(&[&item, "AAMkunknown"])).send().await;
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
    assert!(company.misuse().is_empty());
}
