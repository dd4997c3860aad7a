//! How fast pushes are put into words.

#[path = "push_path/example.rs"]
#[allow(dead_code, reason = "shared with the bench of the push path")]
mod example;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use postrider::clock::SystemClock;
use postrider::notification::MAX_PAYLOAD_BYTES;
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Content, Push};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    payloads(&mut criterion);
    criterion.final_summary();
}

fn payloads(criterion: &mut Criterion) {
    let details = |preview: String| Content::Details { sender: "Ann Example".into(), subject: "Quarterly figures".into(), preview };
    let cases = [
        ("usual", details("Please find attached the figures for the quarter. ".repeat(5))),
        ("right_to_left", details("שלום עולם, מה שלומך היום? ".repeat(10))),
        ("cut_to_fit", details("Naïve 👨‍👩‍👧‍👦 text that is far too long. ".repeat(400))),
        ("mail_only", Content::MailOnly),
    ];
    let mut group = criterion.benchmark_group("payload");
    group.throughput(Throughput::Elements(1));
    for (name, content) in cases {
        let push = Push { content, ..example::push(1) };
        group.bench_function(format!("apns/{name}"), |bencher| {
            bencher.iter(|| postrider::apns::payload::payload(black_box(&push), MAX_PAYLOAD_BYTES));
        });
        let now = SystemClock::default().now();
        group.bench_function(format!("fcm/{name}"), |bencher| {
            bencher.iter(|| postrider::fcm::payload::payload(black_box(&push), now, false))
        });
    }
    group.finish();
}
