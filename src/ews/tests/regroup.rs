//! What makes groups change: joins, moves, servers that are gone.

use std::time::{Duration, Instant};

use postrider_actors::ports::mail_source::{Hint, MailSource, SourceError};
use postrider_loadtest::exchange::{ExchangeFaults, ExchangeOptions, Group, OperationName, RequestFault};

use super::harness::{Company, Different, address, mailbox, until};
use crate::telemetry::exporter::recorder;

const BY_AUTODISCOVER: &str = "autodiscover_url = \"BASE/autodiscover/autodiscover.svc\"\nallowed_hosts = [\"localhost\"]\n";

#[tokio::test]
async fn two_hundred_who_join_do_not_have_the_stream_opened_two_hundred_times() {
    let recorder = recorder().unwrap();
    let handle = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let ews = "join_quiet = \"1s\"\njoin_limit = \"5s\"";
    let company = Company::different(Different { mailboxes: 200, ews, ..Different::default() }).await;
    company.watch(1).await;
    let began = Instant::now();
    for n in 2..=200 {
        company.source.watch(&mailbox(n), None).await.unwrap();
    }
    for n in 2..=200 {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
    }
    let allowed = 3 + began.elapsed().as_secs() / 5;
    let text = handle.render();
    let opened = text.lines().find_map(|line| line.strip_prefix("postrider_ews_requests_total{operation=\"stream\",answer=\"done\"} "));
    let opened: u64 = opened.unwrap().parse().unwrap();
    assert!((2..=allowed).contains(&opened), "{opened} of at most {allowed}");
    assert_eq!(company.source.counts(), (200, 1));
    company.no_misuse();
}

#[tokio::test]
async fn a_mailbox_that_moves_in_mid_stream_is_looked_for_and_joins_another_group() {
    let options = |options: &mut ExchangeOptions| options.groups = vec![Group::named("SITE01"), Group::named("SITE02")];
    let company = Company::different(Different { mail: BY_AUTODISCOVER, options: &options, ..Different::default() }).await;
    company.watch(1).await;
    company.watch(2).await;
    assert_eq!(company.source.counts(), (2, 1));
    company.world.mailbox(&address(2)).unwrap().set_group(1);
    company.world.move_mailbox(&address(2)).unwrap();
    company.hinted(2, |hint| hint == Hint::SubscriptionLost { rediscover: true }).await;
    company.watch(2).await;
    assert_eq!(company.source.counts(), (2, 2), "autodiscover was asked again");
    for n in [1, 2] {
        company.deliver(n);
        company.mail_hinted(n).await;
    }
    company.no_misuse();
}

#[tokio::test]
async fn a_group_whose_server_answers_anything_but_a_stream_is_given_up() {
    let faults = std::sync::Arc::new(ExchangeFaults::none());
    let given = std::sync::Arc::clone(&faults);
    let options = move |options: &mut ExchangeOptions| options.faults = std::sync::Arc::clone(&given);
    let ews = "retry_first = \"10ms\"\nretry_limit = \"1s\"";
    let company = Company::different(Different { ews, options: &options, ..Different::default() }).await;
    faults.script(Some(OperationName::GetStreamingEvents), None, 8, RequestFault::Status(500));
    for n in [1, 2] {
        company.source.watch(&mailbox(n), None).await.unwrap();
    }
    for n in [1, 2] {
        company.hinted(n, |hint| hint == Hint::SubscriptionLost { rediscover: true }).await;
        company.watch(n).await;
        company.deliver(n);
        company.mail_hinted(n).await;
    }
    company.no_misuse();
}

#[tokio::test]
async fn a_group_that_is_left_while_its_stream_waits_does_not_wait_on() {
    let faults = std::sync::Arc::new(ExchangeFaults::none());
    let given = std::sync::Arc::clone(&faults);
    let options = move |options: &mut ExchangeOptions| options.faults = std::sync::Arc::clone(&given);
    let company = Company::different(Different { options: &options, ..Different::default() }).await;
    faults.script(Some(OperationName::GetStreamingEvents), None, 1, RequestFault::Busy(Duration::from_secs(3_000)));
    company.source.watch(&mailbox(1), None).await.unwrap();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !matches!(company.source.unread(&mailbox(1)).await, Err(SourceError::Throttled { .. })) {
        looks.tick().await;
    }
    company.source.unwatch(mailbox(1).id);
    until("the stream's task has ended", || std::sync::Arc::strong_count(&company.source.watching) == 1).await;
}
