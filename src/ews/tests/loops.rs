//! A table of the loops of this edge, each against a far side that always gives the worst answer. A further loop is one row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_actors::ports::mail_source::MailSource;
use postrider_loadtest::exchange::{
    ErrorStatus, ExchangeFaults, ExchangeOptions, NamedIds, OperationName, RequestFault, StreamFault, StreamPlan,
};

use super::harness::{Company, Different, mailbox, until};

/// How long each loop runs. The longest pause is a second here and a minute as a rule, so this is as much as some minutes.
const LASTING: Duration = Duration::from_secs(4);
/// More than any loop asks in that time.
const ALWAYS: usize = 100_000;

/// What the server always does, and the most requests in [`LASTING`].
type Row = (&'static str, fn(&ExchangeFaults), u64);

fn request(faults: &ExchangeFaults, fault: RequestFault) {
    faults.script(Some(OperationName::GetStreamingEvents), None, ALWAYS, fault);
}

fn stream(faults: &ExchangeFaults, fault: StreamFault) {
    faults.script_stream(None, ALWAYS, StreamPlan { after: Duration::ZERO, fault });
}

fn error(code: &'static str, ids: NamedIds, status: ErrorStatus) -> StreamFault {
    StreamFault::Error { code, ids, status }
}

const TABLE: &[Row] = &[
    ("stream: HTTP 500", |f| request(f, RequestFault::Status(500)), 20),
    ("stream: HTTP 404", |f| request(f, RequestFault::Status(404)), 20),
    ("stream: an error page", |f| request(f, RequestFault::ErrorPage), 20),
    ("stream: no XML", |f| request(f, RequestFault::Garbage), 20),
    ("stream: another operation's answer", |f| request(f, RequestFault::WrongAnswer), 20),
    ("stream: reset", |f| request(f, RequestFault::Reset), 20),
    ("stream: passing trouble", |f| request(f, RequestFault::Code { code: "ErrorInternalServerTransientError", text: "" }), 20),
    ("stream: no rights", |f| request(f, RequestFault::Code { code: "ErrorAccessDenied", text: "" }), 20),
    ("stream: closed at once", |f| stream(f, StreamFault::Close { twice: false }), 20),
    ("stream: reset at once", |f| stream(f, StreamFault::Reset), 20),
    ("stream: taken over", |f| stream(f, error("ErrorNewEventStreamConnectionOpened", NamedIds::Absent, ErrorStatus::Closed)), 20),
    ("stream: a strange id, and goes on", |f| stream(f, error("ErrorInternalServerError", NamedIds::Strange, ErrorStatus::Absent)), 30),
    ("stream: nobody named, and goes on", |f| stream(f, error("ErrorInvalidSubscription", NamedIds::Empty, ErrorStatus::Ok)), 30),
];

async fn asked(worst: fn(&ExchangeFaults)) -> u64 {
    let faults = Arc::new(ExchangeFaults::none());
    worst(&faults);
    let given = Arc::clone(&faults);
    let options = move |options: &mut ExchangeOptions| options.faults = Arc::clone(&given);
    let company = Company::different(Different { mailboxes: 1, options: &options, ..Different::default() }).await;
    company.source.watch(&mailbox(1), None).await.unwrap();
    let (before, began) = (company.server.requests(), Instant::now());
    until("the time is over", || began.elapsed() >= LASTING).await;
    company.server.requests() - before
}

#[tokio::test]
async fn no_stream_is_opened_without_a_growing_pause_whatever_the_server_does() {
    let counts = futures_util::future::join_all(TABLE.iter().map(|(_, worst, _)| asked(*worst))).await;
    let mut report = format!("loop | requests in {LASTING:?}\n");
    let mut beyond = Vec::new();
    for ((name, _, most), count) in TABLE.iter().zip(counts) {
        report.push_str(&format!("{name} | {count}\n"));
        if count > *most {
            beyond.push(name);
        }
    }
    println!("{report}");
    assert!(beyond.is_empty(), "{beyond:?} in\n{report}");
}
