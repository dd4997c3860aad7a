//! What a running source records.

use std::time::Duration;

use postrider_actors::ports::mail_source::{MailSource, SourceError};
use postrider_loadtest::exchange::{ExchangeFaults, ExchangeOptions, OperationName, RequestFault};

use super::harness::{Company, Different, mailbox};
use crate::telemetry::exporter::recorder;

#[tokio::test]
async fn a_running_source_records_its_streams_its_requests_and_the_silence_it_keeps() {
    let recorder = recorder().unwrap();
    let handle = recorder.handle();
    // Tests run on one thread each, so this sees their tasks and nobody else's.
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let shown = |line: &str| assert!(handle.render().contains(line), "{line} is missing from\n{}", handle.render());
    let faults = std::sync::Arc::new(ExchangeFaults::none());
    let given = std::sync::Arc::clone(&faults);
    let options = move |options: &mut ExchangeOptions| options.faults = std::sync::Arc::clone(&given);
    let company = Company::different(Different {
        options: &options,
        mail: "autodiscover_url = \"BASE/autodiscover/autodiscover.svc\"\nallowed_hosts = [\"localhost\"]\n",
        ..Different::default()
    })
    .await;
    company.watch(1).await;
    company.drain(1, None).await;
    company.watch(2).await;
    for line in [
        "postrider_streaming_connections 1",
        "postrider_streaming_subscriptions 2",
        "postrider_streams_ended_total{why=\"regrouped\"} 1",
        "postrider_ews_requests_total{operation=\"subscribe\",answer=\"done\"} 2",
        "postrider_ews_requests_total{operation=\"stream\",answer=\"done\"} 2",
        "postrider_ews_requests_total{operation=\"sync\",answer=\"done\"} 1",
        "postrider_ews_request_seconds_count{operation=\"subscribe\"} 2",
        "postrider_autodiscover_total{outcome=\"done\"} 2",
        "postrider_throttled_total{peer=\"exchange\"} 0",
    ] {
        shown(line);
    }
    faults.script(Some(OperationName::GetFolder), None, 1, RequestFault::Busy(Duration::from_millis(300)));
    assert!(matches!(company.source.unread(&mailbox(1)).await, Err(SourceError::Throttled { .. })));
    assert!(matches!(company.source.unread(&mailbox(1)).await, Err(SourceError::Throttled { .. })), "held back, not asked");
    shown("postrider_ews_requests_total{operation=\"folder\",answer=\"throttled\"} 1");
    shown("postrider_throttled_total{peer=\"exchange\"} 1");
    super::harness::until("the silent server is shown", || handle.render().contains("postrider_silent_servers 1")).await;
    super::harness::until("its silence is over", || handle.render().contains("postrider_silent_servers 0")).await;
    drop(company);
    super::harness::until("no stream is shown", || handle.render().contains("postrider_streaming_subscriptions 0")).await;
}
