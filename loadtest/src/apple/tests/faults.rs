//! Goodbyes, stops, cuts and refusals that come by fault.

use h2::Reason;
use serde_json::json;

use super::*;
use crate::push_faults::Fault;

#[tokio::test]
async fn a_goodbye_says_which_streams_were_not_looked_at_and_why() {
    let rates = Rates { go_away: 10_000, ..Rates::default() };
    let stage = stage_with(|options| {
        options.faults = Arc::new(PushFaults::with_rates(1, rates));
    })
    .await;
    let mut caller = stage.connect().await;
    let error = caller.ask(stage.request(&stage.good_jwt())).await.unwrap_err();
    assert!(error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM), "{error}");
    let ended = caller.ended.await.unwrap();
    let told = format!("{ended:?}{error:?}");
    assert!(told.contains("Shutdown"), "{told}");
    assert_eq!(stage.verdict().pushes_apns, 0);
}

#[tokio::test]
async fn a_stopping_server_answers_what_it_took() {
    let rates = Rates { slow: 10_000, ..Rates::default() };
    let stage = stage_with(|options| {
        options.faults = Arc::new(PushFaults::with_rates(3, rates));
    })
    .await;
    let mut caller = stage.connect().await;
    let response = caller.send(stage.request(&stage.good_jwt())).await.unwrap();
    let answered = tokio::spawn(read(response));
    while stage.apple.service.options.faults.next() == Fault::None {}
    tokio::task::yield_now().await;
    // The request may be on its way when the stop comes; then it is refused, never left without an answer.
    stage.apple.stop().await;
    let answered = answered.await.unwrap();
    assert!(answered.is_ok_and(|(status, _)| status == 200) || stage.verdict().pushes_apns == 0);
    caller.ended.await.unwrap().ok();
}

#[tokio::test]
async fn a_cut_before_loses_the_push_and_a_cut_after_has_taken_it() {
    for (rates, taken) in [(Rates { cut_before: 10_000, ..Rates::default() }, 0), (Rates { cut_after: 10_000, ..Rates::default() }, 1)] {
        let stage = stage_with(|options| {
            options.faults = Arc::new(PushFaults::with_rates(1, rates));
        })
        .await;
        let mut caller = stage.connect().await;
        let error = caller.ask(stage.request(&stage.good_jwt())).await.unwrap_err();
        assert!(error.is_io(), "{error}");
        assert_eq!(stage.verdict().pushes_apns, taken);
    }
}

#[tokio::test]
async fn injected_refusals_carry_their_documented_status_and_blame_nobody() {
    let cases = [
        (Rates { too_many: 10_000, ..Rates::default() }, 429, "TooManyRequests"),
        (Rates { internal: 10_000, ..Rates::default() }, 500, "InternalServerError"),
        (Rates { gone: 10_000, ..Rates::default() }, 410, "Unregistered"),
        (Rates { forbidden: 10_000, bursts: 1, burst_ms: 60_000, ..Rates::default() }, 403, "Forbidden"),
        (Rates { outage: 10_000, bursts: 1, burst_ms: 60_000, ..Rates::default() }, 503, "ServiceUnavailable"),
    ];
    for (rates, status, reason) in cases {
        let stage = stage_with(|options| {
            options.faults = Arc::new(PushFaults::with_rates(1, rates));
        })
        .await;
        let (got, body) = stage.ask(stage.request(&stage.good_jwt())).await;
        assert_eq!((got, &body["reason"]), (status, &json!(reason)));
        assert_eq!(stage.verdict().misuse_count(), 0);
        assert_eq!(stage.verdict().refusals[0].count, 1);
    }
}
