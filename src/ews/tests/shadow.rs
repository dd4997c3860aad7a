//! Shadow subscriptions: a node warms a mailbox up while another one owns it, and takes it over without subscribing again.

use postrider_actors::ports::mail_source::{Hint, MailSource, SourceError};

use postrider_loadtest::exchange::ExchangeOptions;

use super::harness::{Company, Different, mailbox, until};

#[tokio::test]
async fn a_shadow_is_in_a_stream_before_it_counts_and_is_taken_over_without_a_second_subscription() {
    let company = Company::usual().await;
    let owner = company.another_source();
    owner.watch(&mailbox(1), None).await.unwrap();
    company.source.warm(&mailbox(1)).await.unwrap();
    assert_eq!(company.server.subscriptions(), 2);
    assert!(company.server.streams() >= 1, "its stream is open");
    owner.unwatch(mailbox(1).id);
    until("the former owner's has ended", || company.server.subscriptions() == 1).await;
    let record = company.source.watch(&mailbox(1), None).await.unwrap();
    company.hinted(1, |hint| hint == Hint::StreamOpened).await;
    assert_eq!(company.server.subscriptions(), 1, "the same one");
    assert!(!record.0.is_empty(), "there is something to be kept for a successor");
    company.deliver(1);
    company.mail_hinted(1).await;
    company.no_misuse();
}

#[tokio::test]
async fn warming_up_twice_makes_one_subscription_and_a_cancelled_move_ends_it() {
    let company = Company::usual().await;
    company.source.warm(&mailbox(1)).await.unwrap();
    company.source.warm(&mailbox(1)).await.unwrap();
    assert_eq!(company.server.subscriptions(), 1);
    company.source.unwatch(mailbox(1).id);
    until("it has ended", || company.server.subscriptions() == 0).await;
    assert_eq!(company.source.counts().0, 0);
    company.no_misuse();
}

#[tokio::test]
async fn a_warm_up_that_is_dropped_leaves_nothing_behind() {
    let company = Company::usual().await;
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(1), company.source.warm(&mailbox(1))).await;
    company.source.unwatch(mailbox(1).id);
    until("nothing is left", || company.server.subscriptions() == 0).await;
    assert!(dropped.is_err() || company.source.counts().0 == 0);
    assert_eq!(company.source.counts().0, 0);
}

#[tokio::test]
async fn a_mailbox_without_room_for_a_shadow_says_so() {
    let options = |options: &mut ExchangeOptions| options.limits.subscriptions = 1;
    let company = Company::different(Different { options: &options, ..Different::default() }).await;
    let owner = company.another_source();
    owner.watch(&mailbox(1), None).await.unwrap();
    assert_eq!(company.source.warm(&mailbox(1)).await, Err(SourceError::SubscriptionsFull));
}
