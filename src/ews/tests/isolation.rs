//! What many share survives the trouble of one.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ports::mail_source::{Hint, MailSource};
use postrider_loadtest::exchange::{ErrorStatus, ExchangeFaults, ExchangeOptions, NamedIds, StreamFault, StreamPlan};

use super::harness::{Company, Different, mailbox};
use crate::telemetry::exporter::recorder;

async fn company_with(mailboxes: usize, ews: &str) -> (Company, Arc<ExchangeFaults>) {
    let faults = Arc::new(ExchangeFaults::none());
    let given = Arc::clone(&faults);
    let options = move |options: &mut ExchangeOptions| options.faults = Arc::clone(&given);
    let company = Company::different(Different { mailboxes, ews, options: &options, ..Different::default() }).await;
    (company, faults)
}

/// How many streams were opened so far.
fn opened(handle: &metrics_exporter_prometheus::PrometheusHandle) -> u64 {
    let text = handle.render();
    let lines = text.lines().filter_map(|line| line.strip_prefix("postrider_ews_requests_total{operation=\"stream\",answer=\"done\"} "));
    lines.filter_map(|count| count.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_stream_that_is_told_of_subscriptions_that_we_ended_goes_on_for_the_others() {
    let recorder = recorder().unwrap();
    let handle = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let (company, _) = company_with(8, "").await;
    let all: Vec<_> = (1..=8).map(mailbox).collect();
    let watched = futures_util::future::join_all(all.iter().map(|mailbox| company.source.watch(mailbox, None))).await;
    assert!(watched.iter().all(Result::is_ok), "{watched:?}");
    for n in 1..=8 {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
    }
    let before = opened(&handle);
    for n in 2..=7 {
        let live = company.server.subscriptions();
        company.source.unwatch(mailbox(n).id);
        super::harness::until("it is ended at the server", || company.server.subscriptions() < live).await;
        // By then the stream was told of it: its event comes before that of a later mail.
        for heard in [1, 8] {
            company.deliver(heard);
            company.mail_hinted(heard).await;
        }
    }
    assert_eq!((opened(&handle), company.server.streams()), (before, 1));
    company.no_gap([1, 8]);
    company.no_misuse();
}

#[tokio::test]
async fn an_error_that_names_one_subscription_in_a_stream_that_goes_on_is_its_own() {
    for code in ["ErrorSubscriptionNotFound", "ErrorInternalServerError", "ErrorAccessDenied", "ErrorSubscriptionUnsubscribed"] {
        let (company, faults) = company_with(3, "join_quiet = \"1s\"\njoin_limit = \"3s\"").await;
        let fault = StreamFault::Error { code, ids: NamedIds::One, status: ErrorStatus::Absent };
        faults.script_stream(None, 1, StreamPlan { after: Duration::from_millis(100), fault });
        let all = [mailbox(1), mailbox(2), mailbox(3)];
        let watched = futures_util::future::join_all(all.iter().map(|mailbox| company.source.watch(mailbox, None))).await;
        assert!(watched.iter().all(Result::is_ok), "{watched:?}");
        let lost = |hint| matches!(hint, Hint::SubscriptionLost { .. });
        let bad = tokio::select! {
            _ = company.hinted(1, lost) => 1,
            _ = company.hinted(2, lost) => 2,
            _ = company.hinted(3, lost) => 3,
        };
        for n in (1..=3).filter(|n| *n != bad) {
            company.deliver(n);
            company.mail_hinted(n).await;
        }
        super::harness::until("one stream is open", || company.server.streams() == 1).await;
        company.no_gap((1..=3).filter(|n| *n != bad));
    }
}

#[tokio::test]
async fn groups_shrink_for_a_server_that_takes_the_anchor_s_subscription_alone() {
    for named in [NamedIds::All, NamedIds::Absent] {
        let (company, faults) = company_with(12, "").await;
        faults.only_anchor(Some(named));
        let company = &company;
        // As the core does: a subscription that is lost is made again.
        let watching = (1..=12).map(|n| async move {
            let mut looks = tokio::time::interval(Duration::from_millis(50));
            loop {
                while company.source.watch(&mailbox(n), None).await.is_err() {
                    looks.tick().await;
                }
                if company.hinted(n, |hint| hint == Hint::StreamOpened || matches!(hint, Hint::SubscriptionLost { .. })).await
                    == Hint::StreamOpened
                {
                    company.deliver(n);
                    return company.mail_hinted(n).await;
                }
            }
        });
        futures_util::future::join_all(watching).await;
        assert_eq!(company.source.counts(), (12, 12), "each has a stream of its own");
        let made = company.server.subscriptions_made();
        assert!(made <= 12 * 6, "{named:?}: {made} subscriptions");
        company.no_misuse();
    }
}
