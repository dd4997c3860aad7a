//! Each fault, met on purpose.

use std::time::{Duration, Instant};

use super::client::*;
use crate::exchange::{ErrorStatus, ExchangeFaults, NamedIds, OperationName, RequestFault, StreamFault, StreamPlan};
use crate::world::MailSpec;

/// A company whose faults can be scripted.
async fn scripted() -> (Company, std::sync::Arc<ExchangeFaults>) {
    let faults = std::sync::Arc::new(ExchangeFaults::none());
    let handed = faults.clone();
    let company = Company::with(|options| {
        options.faults = handed;
        options.timings.back_off_grace = Duration::ZERO;
        options.timings.heartbeat = Duration::from_millis(50);
        options.timings.minute = Duration::from_millis(200);
    })
    .await;
    (company, faults)
}

fn mail() -> MailSpec {
    MailSpec::new("Bob", "Hello", "World")
}

#[tokio::test]
async fn a_back_off_is_prolonged_by_whoever_does_not_wait() {
    let (company, faults) = scripted().await;
    faults.script(Some(OperationName::GetFolder), Some(ANNA), 1, RequestFault::Busy(Duration::from_millis(700)));
    let start = Instant::now();
    let busy = company.ask(ANNA, &get_folder()).send().await;
    assert_eq!((busy.status, busy.code(), busy.value("Value")), (500, "ErrorServerBusy".to_owned(), "700".to_owned()));
    let early = company.ask(BOB, &get_folder()).send().await;
    assert_eq!((early.code(), early.value("Value")), ("ErrorServerBusy".to_owned(), "700".to_owned()));
    assert_eq!(company.misuse(), ["request-during-back-off"]);
    let last = Instant::now();
    tokio::time::sleep_until((last + Duration::from_millis(701)).into()).await;
    assert_eq!(company.ask(ANNA, &get_folder()).send().await.code(), "NoError");
    assert!(start.elapsed() > Duration::from_millis(701));
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn a_back_off_may_stand_inside_another_error_and_a_stream_may_find_one_of_many_gone() {
    let (company, faults) = scripted().await;
    let (anna, bob) = (company.subscribe(ANNA).await, company.subscribe(BOB).await);
    faults.script(None, None, 1, RequestFault::LoseSubscription);
    let bad = company.ask(ANNA, &streaming(&[&anna, &bob], 30)).send().await;
    assert_eq!((bad.code(), bad.value("SubscriptionId")), ("ErrorSubscriptionNotFound".to_owned(), bob));
    faults.script(None, None, 1, RequestFault::BusyInside(Duration::from_millis(100)));
    let busy = company.ask(ANNA, &get_folder()).send().await;
    assert_eq!((busy.status, busy.code()), (200, "ErrorInternalServerError".to_owned()));
    assert!(busy.text.contains(r#"Name="InnerErrorResponseCode">ErrorServerBusy<"#));
    assert!(busy.text.contains(r#"Name="BackOffMilliseconds">100<"#));
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn statuses_pages_policies_and_codes_come_as_scripted_and_once() {
    let (company, faults) = scripted().await;
    let meet = async |fault: RequestFault| {
        faults.script(None, Some(ANNA), 1, fault);
        company.ask(ANNA, &get_folder()).send().await
    };
    assert_eq!(meet(RequestFault::Status(503)).await.status, 503);
    assert_eq!(meet(RequestFault::Status(401)).await.status, 401);
    let page = meet(RequestFault::ErrorPage).await;
    assert_eq!((page.status, page.headers["location"].to_str().unwrap().contains("genericerrorpage")), (302, true));
    let challenge = meet(RequestFault::Challenge).await;
    assert!(challenge.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let (code, text) = ("ErrorMailboxMoveInProgress", "Later.");
    assert_eq!(meet(RequestFault::Code { code, text }).await.code(), code);
    let fault = meet(RequestFault::Fault { code, text, is_ok: true }).await;
    assert_eq!((fault.status, fault.code()), (200, code.to_owned()));
    assert!(fault.text.contains("<s:Fault>"));
    let wrong = meet(RequestFault::WrongAnswer).await;
    assert!(wrong.text.contains("UnsubscribeResponse"));
    assert_eq!(company.ask(ANNA, &get_folder()).send().await.code(), "NoError");
    faults.block_by_policy(ANNA, "EWS is blocked by policy for this user or tenant");
    let blocked = company.ask(ANNA, &get_folder()).send().await;
    assert_eq!((blocked.status, blocked.headers.contains_key("x-ews-policy-reason")), (403, true));
    assert_eq!(company.ask(BOB, &get_folder()).send().await.status, 200);
    faults.unblock(ANNA);
    assert_eq!(company.ask(ANNA, &get_folder()).send().await.status, 200);
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn a_reset_and_a_truncated_answer_are_errors_of_the_connection() {
    let (company, faults) = scripted().await;
    faults.script(None, None, 1, RequestFault::Reset);
    assert!(company.ask(ANNA, &subscribe()).open().await.is_err());
    assert_eq!(company.server.subscriptions(), 0, "not carried out");
    faults.script(None, None, 1, RequestFault::LoseAnswer);
    assert!(company.ask(ANNA, &subscribe()).open().await.is_err());
    assert_eq!(company.server.subscriptions(), 1, "carried out");
    faults.script(None, None, 1, RequestFault::Truncate);
    let response = company.ask(ANNA, &get_folder()).open().await.unwrap();
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn a_stream_that_lands_astray_is_no_misuse() {
    let (company, faults) = scripted().await;
    let id = company.subscribe(ANNA).await;
    faults.script(None, None, 1, RequestFault::WrongBackEnd);
    let lost = company.ask(ANNA, &streaming(&[&id], 30)).send().await;
    assert_eq!(lost.code(), "ErrorSubscriptionNotFound");
    assert!(company.misuse().is_empty());
}

#[tokio::test]
async fn a_quiet_stream_beats_in_both_forms_and_closes_when_its_time_is_over() {
    let (company, _) = scripted().await;
    let id = company.subscribe(ANNA).await;
    let mut stream = company.ask(ANNA, &streaming(&[&id], 1)).stream().await;
    let mut seen = Vec::new();
    while let Some(document) = stream.next().await.unwrap() {
        let has_event = document.text.contains("StatusEvent");
        seen.push(if has_event { "StatusEvent".to_owned() } else { document.value("ConnectionStatus") });
    }
    assert_eq!(seen.first().map(String::as_str), Some("OK"));
    assert_eq!(seen.last().map(String::as_str), Some("Closed"));
    assert!(seen.iter().any(|word| word == "StatusEvent"), "{seen:?}");
}

/// Opens a stream that meets `fault` at once, and reads until it ends: codes, states, and whether the connection broke.
async fn struck(fault: StreamFault) -> (Company, Vec<String>, bool) {
    let (company, faults) = scripted().await;
    let (anna, bob) = (company.subscribe(ANNA).await, company.subscribe(BOB).await);
    faults.script_stream(Some(ANNA), 1, StreamPlan { after: Duration::from_millis(10), fault });
    let mut stream = company.ask(ANNA, &streaming(&[&anna, &bob], 1)).stream().await;
    let mut words = Vec::new();
    loop {
        let document = match stream.next().await {
            Ok(Some(document)) => document,
            Ok(None) => return (company, words, false),
            Err(_) => return (company, words, true),
        };
        let root = document.xml();
        let ids = root.find("ErrorSubscriptionIds").map(|ids| ids.children.len());
        let status = root.find("ConnectionStatus").map_or("-", |status| status.trimmed());
        let code = document.code();
        if code != "NoError" || status == "Closed" {
            words.push(format!("{code} {status} {ids:?}"));
        }
    }
}

#[tokio::test]
async fn streams_close_early_twice_break_and_forget() {
    let closed = "NoError Closed None";
    let (_, words, broke) = struck(StreamFault::Close { twice: true }).await;
    assert_eq!((words, broke), (vec![closed.to_owned(), closed.to_owned()], false));
    let (company, words, broke) = struck(StreamFault::Reset).await;
    assert_eq!((words.len(), broke, company.server.subscriptions()), (0, true, 2));
    let (company, _, broke) = struck(StreamFault::Restart).await;
    assert_eq!((broke, company.server.subscriptions()), (true, 0));
    let (company, words, broke) = struck(StreamFault::MoveMailbox).await;
    assert_eq!((words[0].as_str(), broke), ("ErrorInvalidSubscription - Some(1)", false));
    assert_eq!(company.server.subscriptions(), 1);
    let (company, words, _) = struck(StreamFault::Missed).await;
    assert_eq!(words[0], "ErrorMissedNotificationEvents - Some(1)");
    assert_eq!(company.server.subscriptions(), 2, "missed events leave the subscription alive");
    let (_, _, broke) = struck(StreamFault::Deaf(Duration::from_millis(20))).await;
    assert!(broke);
}

#[tokio::test]
async fn errors_in_a_stream_name_ids_or_not_and_end_it_or_not() {
    let code = "ErrorReadEventsFailed";
    let error = |ids, status| StreamFault::Error { code, ids, status };
    let (company, words, _) = struck(error(NamedIds::One, ErrorStatus::Closed)).await;
    assert_eq!((words[0].as_str(), company.server.subscriptions()), ("ErrorReadEventsFailed Closed Some(1)", 1));
    let (company, words, _) = struck(error(NamedIds::All, ErrorStatus::Closed)).await;
    assert_eq!((words[0].as_str(), company.server.subscriptions()), ("ErrorReadEventsFailed Closed Some(2)", 0));
    let (_, words, _) = struck(error(NamedIds::Absent, ErrorStatus::Closed)).await;
    assert_eq!(words[0], "ErrorReadEventsFailed Closed None");
    let (_, words, _) = struck(error(NamedIds::Empty, ErrorStatus::Absent)).await;
    assert_eq!(words[0], "ErrorReadEventsFailed - Some(0)");
}

#[tokio::test]
async fn a_silent_stream_sends_nothing_and_an_error_with_ok_neither() {
    let (company, faults) = scripted().await;
    let open = StreamFault::Error { code: "ErrorInvalidSubscription", ids: NamedIds::One, status: ErrorStatus::Ok };
    for (fault, documents) in [(StreamFault::Silence, 1), (open, 2)] {
        let id = company.subscribe(ANNA).await;
        faults.script_stream(None, 1, StreamPlan { after: Duration::ZERO, fault });
        let mut stream = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
        for _ in 0..documents {
            stream.document().await;
        }
        company.world.deliver(ANNA, mail()).unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
        assert!(silent.is_err(), "six heartbeats long nothing came");
    }
}

#[tokio::test]
async fn more_than_fifty_events_take_more_than_one_document() {
    let (company, faults) = scripted().await;
    let id = company.subscribe(ANNA).await;
    faults.script_stream(None, 1, StreamPlan { after: Duration::ZERO, fault: StreamFault::Burst });
    let mut stream = company.ask(ANNA, &streaming(&[&id], 30)).stream().await;
    stream.document().await;
    let mut counts = Vec::new();
    while counts.len() < 2 {
        let document = stream.document().await;
        let root = document.xml();
        let mut events = Vec::new();
        root.find_all("ModifiedEvent", &mut events);
        counts.push(events.len());
    }
    assert_eq!(counts, [50, 10]);
}

#[tokio::test]
async fn in_a_storm_a_stubborn_client_still_gets_everything_and_breaks_no_rule() {
    let faults = std::sync::Arc::new(ExchangeFaults::storm(42));
    let handed = faults.clone();
    let company = Company::with(|options| {
        options.faults = handed;
        options.timings.heartbeat = Duration::from_millis(100);
    })
    .await;
    let items: Vec<String> = (0..20).map(|_| company.world.deliver(ANNA, mail()).unwrap()).collect();
    let (mut met, mut gzipped) = (0, 0);
    for item in items.iter().cycle().take(100) {
        loop {
            let ask = company.ask(ANNA, &get_item(&[item])).header("accept-encoding", "gzip");
            let Ok(response) = ask.open().await else {
                met += 1;
                continue;
            };
            let is_gzip = response.headers().contains_key("content-encoding");
            let Ok(body) = response.bytes().await else {
                met += 1;
                continue;
            };
            if is_gzip {
                gzipped += 1;
                break;
            }
            let text = String::from_utf8_lossy(&body).into_owned();
            if text.contains("BackOffMilliseconds") {
                let after = text.split("BackOffMilliseconds\">").nth(1).unwrap();
                let wait: u64 = after.split('<').next().unwrap().parse().unwrap();
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            if text.contains("<t:Subject>Hello") {
                break;
            }
            met += 1;
        }
    }
    assert!(met > 0 && gzipped > 0, "{met} faults, {gzipped} compressed");
    assert!(company.misuse().is_empty());
    faults.set_active(false);
    for _ in 0..50 {
        assert_eq!(company.ask(ANNA, &get_folder()).send().await.status, 200);
    }
    assert!(!faults.counted().is_empty());
}

#[tokio::test]
async fn in_a_storm_documents_are_cut_into_chunks_and_come_together_again() {
    let company = Company::with(|options| {
        options.faults = std::sync::Arc::new(ExchangeFaults::storm(7));
        options.timings.heartbeat = Duration::from_millis(5);
    })
    .await;
    let (mut documents, mut chunks, mut is_wordy) = (0_usize, 0_usize, false);
    let mut id = String::new();
    for _ in 0..200 {
        if company.server.subscriptions() == 0
            && let Ok(reply) = company.ask(ANNA, &subscribe()).open().await
        {
            let text = reply.text().await.unwrap_or_default();
            let rest = text.split("<m:SubscriptionId>").nth(1).unwrap_or_default();
            id = rest.split('<').next().unwrap_or_default().to_owned();
            continue;
        }
        let Ok(response) = company.ask(ANNA, &streaming(&[&id], 30)).open().await else {
            continue;
        };
        if response.status().as_u16() != 200 || response.headers().get("x-nobuffering").is_none() {
            continue;
        }
        let mut stream = Stream::of(response);
        // Until it ends, breaks or falls silent, and not for ever.
        while let Ok(Ok(Some(document))) = tokio::time::timeout(Duration::from_millis(100), stream.next()).await {
            documents += 1;
            is_wordy |= !document.text.is_ascii();
            if documents.is_multiple_of(20) {
                break;
            }
        }
        chunks += stream.chunks;
        if chunks > documents + 20 && is_wordy {
            return;
        }
    }
    panic!("{documents} documents in {chunks} chunks, wordy: {is_wordy}");
}
