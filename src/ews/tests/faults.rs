//! What happens when something goes wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_actors::ids::{Smtp, SyncState};
use postrider_actors::ports::mail_source::{Hint, MailSource, SourceError};
use postrider_loadtest::exchange::{
    ErrorStatus, ExchangeFaults, ExchangeOptions, NamedIds, OperationName, RequestFault, StreamFault, StreamPlan,
};
use postrider_loadtest::tls::{ALPN_HTTP_1_1, Authority};

use super::harness::{Company, Different, mailbox};

/// A company whose server meets these faults.
async fn company_with(faults: ExchangeFaults, mailboxes: usize, ews: &str) -> (Company, Arc<ExchangeFaults>) {
    let faults = Arc::new(faults);
    let given = Arc::clone(&faults);
    let options = move |options: &mut ExchangeOptions| options.faults = Arc::clone(&given);
    let company = Company::different(Different { mailboxes, ews, options: &options, ..Different::default() }).await;
    (company, faults)
}

/// Watches two mailboxes, of which the first is the anchor, and has the stream meet a fault.
async fn stream_meets(fault: StreamFault, ews: &str) -> Company {
    let (company, faults) = company_with(ExchangeFaults::none(), 2, ews).await;
    faults.script_stream(None, 1, StreamPlan { after: Duration::from_millis(100), fault });
    let both = [mailbox(1), mailbox(2)];
    let watched = futures_util::future::join_all(both.iter().map(|mailbox| company.source.watch(mailbox, None))).await;
    assert!(watched.iter().all(Result::is_ok), "{watched:?}");
    for n in [1, 2] {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
    }
    company
}

/// Mail is heard of, again, after whatever happened.
async fn hears(company: &Company, n: usize) {
    company.deliver(n);
    company.mail_hinted(n).await;
}

fn error(code: &'static str, ids: NamedIds, status: ErrorStatus) -> StreamFault {
    StreamFault::Error { code, ids, status }
}

#[tokio::test]
async fn a_stream_that_is_closed_is_opened_again_and_says_so() {
    for twice in [false, true] {
        let company = stream_meets(StreamFault::Close { twice }, "").await;
        company.hinted(1, |hint| hint == Hint::StreamOpened).await;
        company.hinted(2, |hint| hint == Hint::StreamOpened).await;
        hears(&company, 2).await;
        company.no_misuse();
    }
}

#[tokio::test]
async fn silence_a_reset_and_lost_events_are_gaps_that_end() {
    for fault in [StreamFault::Silence, StreamFault::Reset, StreamFault::Deaf(Duration::from_millis(10))] {
        let company = stream_meets(fault, "stream_silence = \"1s\"").await;
        company.hinted(1, |hint| hint == Hint::Gap).await;
        company.hinted(1, |hint| hint == Hint::StreamOpened).await;
        hears(&company, 1).await;
        company.no_misuse();
    }
}

#[tokio::test]
async fn missed_events_are_a_gap_on_a_stream_that_goes_on() {
    let company = stream_meets(StreamFault::Missed, "").await;
    let whose = tokio::select! {
        _ = company.hinted(1, |hint| hint == Hint::Gap) => 1,
        _ = company.hinted(2, |hint| hint == Hint::Gap) => 2,
    };
    company.hinted(whose, |hint| hint == Hint::StreamOpened).await;
    assert_eq!(company.server.streams(), 1);
    hears(&company, 1).await;
    hears(&company, 2).await;
    company.no_misuse();
}

#[tokio::test]
async fn one_bad_id_among_good_ones_is_lost_alone() {
    let cases = [
        error("ErrorInvalidSubscription", NamedIds::One, ErrorStatus::Closed),
        error("ErrorSubscriptionNotFound", NamedIds::One, ErrorStatus::Ok),
        error("ErrorReadEventsFailed", NamedIds::One, ErrorStatus::Absent),
    ];
    for fault in cases {
        let company = stream_meets(fault, "").await;
        let lost = |hint| matches!(hint, Hint::SubscriptionLost { .. });
        let bad = tokio::select! {
            _ = company.hinted(1, lost) => 1,
            _ = company.hinted(2, lost) => 2,
        };
        let good = 3 - bad;
        company.hinted(good, |hint| hint == Hint::StreamOpened).await;
        hears(&company, good).await;
        company.watch(bad).await;
        hears(&company, bad).await;
        company.no_misuse();
    }
}

#[tokio::test]
async fn subscriptions_that_are_gone_are_found_and_the_new_one_is_kept() {
    let (company, _) = company_with(ExchangeFaults::none(), 9, "").await;
    for n in 1..=9 {
        company.source.watch(&mailbox(n), None).await.unwrap();
    }
    for n in 1..=9 {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
    }
    company.server.forget_subscriptions();
    // Its joining opens the stream again, with eight bad ids and a good one.
    company.source.watch(&mailbox(4), None).await.unwrap();
    for n in (1..=9).filter(|n| *n != 4) {
        company.hinted(n, |hint| matches!(hint, Hint::SubscriptionLost { .. })).await;
    }
    company.hinted(4, |hint| hint == Hint::StreamOpened).await;
    hears(&company, 4).await;
}

#[tokio::test]
async fn a_fault_that_names_nobody_has_everybody_tried_and_the_gone_ones_lost() {
    for ids in [NamedIds::Absent, NamedIds::Empty, NamedIds::Strange] {
        let company = stream_meets(error("ErrorInvalidSubscription", ids, ErrorStatus::Closed), "").await;
        company.hinted(1, |hint| hint == Hint::Gap).await;
        for n in [1, 2] {
            company.hinted(n, |hint| matches!(hint, Hint::SubscriptionLost { .. })).await;
            company.watch(n).await;
            hears(&company, n).await;
        }
        company.no_misuse();
    }
}

#[tokio::test]
async fn a_soap_fault_that_names_nobody_has_the_gone_ones_found_too() {
    let (company, faults) = company_with(ExchangeFaults::none(), 2, "").await;
    for is_ok in [true, false] {
        let fault = RequestFault::Fault { code: "ErrorInvalidSubscription", text: "", is_ok };
        faults.script(Some(OperationName::GetStreamingEvents), None, 1, fault);
        let both = [mailbox(1), mailbox(2)];
        let watched = futures_util::future::join_all(both.iter().map(|mailbox| company.source.watch(mailbox, None))).await;
        assert!(watched.iter().all(Result::is_ok), "{watched:?}");
        // The server has ended both; a hint of one round must not be left for the next.
        for n in [1, 2] {
            company.hinted(n, |hint| matches!(hint, Hint::SubscriptionLost { .. })).await;
            company.watch(n).await;
            hears(&company, n).await;
        }
        company.source.unwatch(mailbox(1).id);
        company.source.unwatch(mailbox(2).id);
    }
    company.no_misuse();
}

#[tokio::test]
async fn a_back_end_that_restarts_loses_its_subscriptions_and_they_are_made_again() {
    let company = stream_meets(StreamFault::Restart, "").await;
    for n in [1, 2] {
        company.hinted(n, |hint| matches!(hint, Hint::SubscriptionLost { .. })).await;
        company.watch(n).await;
        hears(&company, n).await;
    }
    company.no_misuse();
}

#[tokio::test]
async fn a_busy_server_is_left_alone_exactly_as_long_as_it_asks() {
    let (company, faults) = company_with(ExchangeFaults::none(), 3, "").await;
    company.drain(1, None).await;
    faults.script(None, None, 1, RequestFault::Busy(Duration::from_millis(1_500)));
    let began = Instant::now();
    let told = company.source.unread(&mailbox(1)).await;
    assert_eq!(told, Err(SourceError::Throttled { retry_after: Duration::from_millis(1_500) }));
    let SourceError::Throttled { retry_after } = company.source.unread(&mailbox(2)).await.unwrap_err() else { panic!() };
    assert!(retry_after <= Duration::from_millis(1_500), "the rest of the silence, and no request");
    assert!(matches!(company.source.watch(&mailbox(3), None).await, Err(SourceError::Throttled { .. })));
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while company.source.unread(&mailbox(1)).await.is_err() {
        looks.tick().await;
    }
    assert!(began.elapsed() >= Duration::from_millis(1_500));
    company.no_misuse();
}

#[tokio::test]
async fn a_stream_that_is_busy_for_no_time_that_is_told_waits_alone() {
    let busy = error("ErrorServerBusy", NamedIds::Absent, ErrorStatus::Closed);
    let company = stream_meets(busy, "busy_silence = \"1s\"").await;
    company.hinted(1, |hint| hint == Hint::Gap).await;
    assert!(company.source.unread(&mailbox(1)).await.is_ok());
    company.hinted(1, |hint| hint == Hint::StreamOpened).await;
    hears(&company, 1).await;
    company.no_misuse();
}

#[tokio::test]
async fn each_failed_request_says_what_to_do_about_it() {
    type Check = fn(&SourceError) -> bool;
    let unavailable: Check = |error| matches!(error, SourceError::Unavailable { .. });
    let refused: Check = |error| matches!(error, SourceError::Refused { .. });
    let moved: Check = |error| matches!(error, SourceError::Moved { .. });
    let code = |code| RequestFault::Code { code, text: "" };
    let cases: [(RequestFault, Check); 12] = [
        (RequestFault::Status(500), unavailable),
        (RequestFault::Status(401), unavailable),
        (RequestFault::Status(404), moved),
        (RequestFault::Status(503), |error| matches!(error, SourceError::Throttled { .. })),
        (RequestFault::ErrorPage, unavailable),
        (RequestFault::PolicyBlocked("EWS is disabled for this user or tenant"), refused),
        (RequestFault::Truncate, unavailable),
        (code("ErrorInvalidSyncStateData"), |error| *error == SourceError::SyncStateLost),
        (code("ErrorMailboxMoveInProgress"), moved),
        (code("ErrorAccountDisabled"), refused),
        (code("ErrorInternalServerTransientError"), unavailable),
        (RequestFault::Reset, unavailable),
    ];
    let (company, faults) = company_with(ExchangeFaults::none(), 1, "").await;
    company.drain(1, None).await;
    for (fault, expected) in cases {
        // A gateway's trouble is tried again twice before it counts.
        let times = if fault == RequestFault::Status(503) { 3 } else { 1 };
        faults.script(Some(OperationName::SyncFolderItems), None, times, fault.clone());
        let error = company.source.changes(&mailbox(1), None).await.unwrap_err();
        assert!(expected(&error), "{fault:?}: {error:?}");
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while company.source.changes(&mailbox(1), None).await.is_err() {
            looks.tick().await;
        }
    }
    company.no_misuse();
}

#[tokio::test]
async fn an_unknown_address_is_looked_for_once_more_and_then_refused() {
    let company = Company::usual().await;
    let nobody = mailbox(77);
    assert!(matches!(company.source.unread(&nobody).await, Err(SourceError::Moved { .. })));
    assert!(matches!(company.source.unread(&nobody).await, Err(SourceError::Refused { .. })));
    let mut foreign = mailbox(1);
    foreign.smtp = Arc::new(Smtp::new("somebody@elsewhere.example"));
    let refused = company.source.watch(&foreign, None).await;
    assert_eq!(refused, Err(SourceError::Refused { code: "DomainNotAllowed".into() }));
    company.no_misuse();
}

#[tokio::test]
async fn a_mailbox_without_room_for_a_subscription_says_so() {
    let options = |options: &mut ExchangeOptions| options.limits.subscriptions = 1;
    let company = Company::different(Different { options: &options, ..Different::default() }).await;
    let record = company.watch(1).await;
    // Another node knows nothing of the first one's subscription until it is given the record.
    let other = company.another_source();
    assert_eq!(other.watch(&mailbox(1), None).await, Err(SourceError::SubscriptionsFull));
    assert!(other.watch(&mailbox(1), Some(record)).await.is_ok(), "the predecessor's is ended first");
}

#[tokio::test]
async fn a_state_that_the_server_does_not_know_is_lost() {
    let company = Company::usual().await;
    let state = SyncState("bm9uc2Vuc2U=".into());
    assert_eq!(company.source.changes(&mailbox(1), Some(&state)).await, Err(SourceError::SyncStateLost));
}

#[tokio::test]
async fn an_expired_a_misnamed_and_a_stranger_s_certificate_are_refused() {
    let expired = |authority: &Authority| authority.expired_server_config(&["localhost"], &[ALPN_HTTP_1_1]);
    let misnamed = |authority: &Authority| authority.wrong_name_server_config(&[ALPN_HTTP_1_1]);
    let stranger = |_: &Authority| Authority::new().server_config(&["localhost"], &[ALPN_HTTP_1_1]);
    type Tls<'a> = &'a dyn Fn(&Authority) -> rustls::ServerConfig;
    let all: [(Tls<'_>, &str); 3] = [(&expired, "Expired"), (&misnamed, "NotValidForName"), (&stranger, "BadSignature")];
    for (tls, code) in all {
        let company = Company::different(Different { tls, ..Different::default() }).await;
        let error = company.source.unread(&mailbox(1)).await.unwrap_err();
        assert_eq!(error, SourceError::Unavailable { code: code.into() });
    }
}

#[tokio::test]
async fn a_storm_passes_and_every_mailbox_hears_again() {
    let (company, faults) = company_with(ExchangeFaults::storm(11), 12, "").await;
    let keep_watching = |n: usize| {
        let company = &company;
        async move {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while company.source.watch(&mailbox(n), None).await.is_err() {
                looks.tick().await;
            }
        }
    };
    futures_util::future::join_all((1..=12).map(keep_watching)).await;
    for _ in 0..5 {
        (1..=12).for_each(|n| drop(company.deliver(n)));
        let mailboxes: Vec<_> = (1..=12).map(mailbox).collect();
        futures_util::future::join_all(mailboxes.iter().map(|mailbox| company.source.changes(mailbox, None))).await;
    }
    faults.set_active(false);
    futures_util::future::join_all((1..=12).map(keep_watching)).await;
    for n in 1..=12 {
        company.hinted(n, |hint| hint == Hint::StreamOpened).await;
        hears(&company, n).await;
    }
    company.no_misuse();
}
