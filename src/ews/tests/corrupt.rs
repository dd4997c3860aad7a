//! One item that spoils every page it is on.

use std::sync::Arc;

use postrider_actors::ports::mail_source::{Change, MailSource};
use postrider_loadtest::exchange::{ExchangeFaults, ExchangeOptions, OperationName, RequestFault, Spoilt};

use super::harness::{Company, Different, mailbox};

#[tokio::test]
async fn the_good_items_of_a_spoilt_page_are_told_of_and_the_bad_one_has_arrived() {
    let code = |code| RequestFault::Code { code, text: "" };
    let faults = [
        code("ErrorCorruptData"),
        code("ErrorInvalidIdMalformed"),
        code("ErrorInternalServerError"),
        RequestFault::Status(500),
        RequestFault::Garbage,
        RequestFault::Long(5 << 20),
    ];
    for fault in faults {
        for only in [None, Some(OperationName::GetItem)] {
            let lasting = Arc::new(ExchangeFaults::none());
            let given = Arc::clone(&lasting);
            let options = move |options: &mut ExchangeOptions| options.faults = Arc::clone(&given);
            let company = Company::different(Different { mailboxes: 1, options: &options, ..Different::default() }).await;
            let (_, state) = company.drain(1, None).await;
            let items: Vec<_> = (0..12).map(|_| company.deliver(1)).collect();
            let bad = items[5].clone();
            lasting.spoil(&bad.0, Some(Spoilt { fault: fault.clone(), bare_too: false, only }));
            // What a server in trouble answers too is believed the second time.
            let first = company.source.changes(&mailbox(1), Some(&state)).await;
            let page = match first {
                Ok(page) => page,
                Err(_) => company.source.changes(&mailbox(1), Some(&state)).await.unwrap(),
            };
            let created = page.changes.iter().filter_map(|change| if let Change::Created(facts) = change { Some(facts) } else { None });
            let told: Vec<_> = created.filter(|facts| facts.mail_class && !facts.read).map(|facts| facts.item.clone()).collect();
            let good = |told: &[postrider_actors::ids::ItemId]| items.iter().filter(|item| **item != bad).all(|item| told.contains(item));
            assert!(good(&told), "{fault:?}: {told:?}");
            assert!(page.complete);
            let contents = company.source.contents(&mailbox(1), &items[..10]).await.unwrap();
            let subjects: Vec<bool> = contents.iter().map(|mail| mail.as_ref().is_some_and(|mail| mail.subject == "Notes")).collect();
            assert_eq!(subjects, (0..10).map(|n| n != 5).collect::<Vec<_>>(), "{fault:?}");
        }
    }
}
