//! How fast pushes are put into words.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use postrider::clock::SystemClock;
use postrider::notification::MAX_PAYLOAD_BYTES;
use postrider_actors::ids::{EventKey, ItemId, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Channel, Content, Provider, Push, PushToken};

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
        let push = Push { content, ..mail(1) };
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

fn mail(number: u32) -> Push {
    let event = EventKey::of_item(&ItemId(format!("mail {number}").into()));
    Push {
        channel: Channel { tenant: TenantId("example".into()), provider: Provider::Apns, app: "com.example.mail".into() },
        token: PushToken(format!("{number:064x}").into()),
        id: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &number.to_be_bytes()),
        event,
        content: Content::Details {
            sender: "Ann Example".into(),
            subject: "Quarterly figures".into(),
            preview: "Please find attached the figures for the quarter.".into(),
        },
        badge: Some(7),
        count: 1,
        hashes: vec![event],
        expires_at: SystemClock::default().now() + Duration::from_secs(3600),
    }
}
