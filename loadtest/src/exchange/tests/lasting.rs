//! Faults that last until they are lifted.

use super::client::*;
use crate::exchange::{EndlessSync, ExchangeFaults, NamedIds, OperationName, RequestFault, Spoilt};
use crate::world::MailSpec;

async fn scripted() -> (Company, std::sync::Arc<ExchangeFaults>) {
    let faults = std::sync::Arc::new(ExchangeFaults::none());
    let handed = faults.clone();
    (Company::with(|options| options.faults = handed).await, faults)
}

#[tokio::test]
async fn a_sync_without_an_end_goes_on_at_the_same_state_or_at_others_and_ends_when_it_may() {
    let (company, faults) = scripted().await;
    let how = [EndlessSync::SameState, EndlessSync::SameStateAndChange, EndlessSync::NewState, EndlessSync::NewStateAndChange];
    for how in how {
        faults.endless_sync(ANNA, Some(how));
        let mut state = company.ask(ANNA, &sync(None, 512)).send().await.value("SyncState");
        for _ in 0..3 {
            let reply = company.ask(ANNA, &sync(Some(&state), 512)).send().await;
            let next = reply.value("SyncState");
            assert_eq!(reply.value("IncludesLastItemInRange"), "false");
            assert_eq!(next == state, matches!(how, EndlessSync::SameState | EndlessSync::SameStateAndChange), "{how:?}");
            let changes = matches!(how, EndlessSync::SameStateAndChange | EndlessSync::NewStateAndChange);
            assert_eq!(reply.text.contains("ReadFlagChange"), changes, "{how:?}");
            state = next;
        }
        faults.endless_sync(ANNA, None);
        let reply = company.ask(ANNA, &sync(Some(&state), 512)).send().await;
        assert_eq!(reply.value("IncludesLastItemInRange"), "true");
    }
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn an_item_spoils_every_page_that_it_is_on_unless_its_id_alone_is_asked_for() {
    let (company, faults) = scripted().await;
    let [good, bad] = ["Hello", "Spoilt"].map(|subject| company.world.deliver(ANNA, MailSpec::new("Bob", subject, "")).unwrap());
    let fault = RequestFault::Code { code: "ErrorCorruptData", text: "" };
    faults.spoil(&bad, Some(Spoilt { fault, bare_too: false, only: None }));
    assert_eq!(company.ask(ANNA, &sync(None, 512)).send().await.code(), "ErrorCorruptData");
    assert_eq!(company.ask(ANNA, &get_item(&[&good, &bad])).send().await.code(), "ErrorCorruptData");
    assert_eq!(company.ask(ANNA, &get_item(&[&good])).send().await.code(), "NoError");
    let bare = sync(None, 512).replace(
        &fields(&["item:DateTimeReceived", "message:IsRead", "item:ItemClass", "item:IsDraft"]),
        "<t:BaseShape>IdOnly</t:BaseShape>",
    );
    assert_eq!(company.ask(ANNA, &bare).send().await.code(), "NoError");
    faults.spoil(&bad, Some(Spoilt { fault: RequestFault::Status(500), bare_too: true, only: Some(OperationName::SyncFolderItems) }));
    assert_eq!(company.ask(ANNA, &bare).send().await.status, 500);
    assert_eq!(company.ask(ANNA, &get_item(&[&bad])).send().await.code(), "NoError");
    faults.spoil(&bad, None);
    assert_eq!(company.ask(ANNA, &sync(None, 512)).send().await.code(), "NoError");
}

#[tokio::test]
async fn a_server_may_take_the_anchor_s_subscription_alone() {
    let (company, faults) = scripted().await;
    for (named, said) in [(NamedIds::All, true), (NamedIds::Absent, false)] {
        let (anna, bob) = (company.subscribe(ANNA).await, company.subscribe(BOB).await);
        faults.only_anchor(Some(named));
        let refused = company.ask(ANNA, &streaming(&[&anna, &bob], 30)).send().await;
        assert_eq!((refused.code().as_str(), refused.text.contains(&bob)), ("ErrorInvalidSubscription", said));
        let mut stream = company.ask(ANNA, &streaming(&[&anna], 30)).stream().await;
        assert_eq!(stream.document().await.code(), "NoError");
        faults.only_anchor(None);
    }
}

#[tokio::test]
async fn a_stream_says_that_a_subscription_was_ended_and_goes_on_for_the_others() {
    let (company, _) = scripted().await;
    let (anna, bob) = (company.subscribe(ANNA).await, company.subscribe(BOB).await);
    let mut stream = company.ask(ANNA, &streaming(&[&anna, &bob], 30)).stream().await;
    stream.document().await;
    assert_eq!(company.ask(BOB, &unsubscribe(&bob)).send().await.code(), "NoError");
    let said = stream.document().await;
    assert_eq!((said.code().as_str(), said.value("SubscriptionId")), ("ErrorSubscriptionUnsubscribed", bob));
    company.world.deliver(ANNA, MailSpec::new("Bob", "Hello", "")).unwrap();
    assert!(stream.document().await.text.contains("NewMailEvent"));
    assert!(company.misuse().is_empty());
}
