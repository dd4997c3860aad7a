//! How fast the core decides: the mailbox's state machine in steps per second.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider_actors::delivery::message::{CollectEnd, More};
use postrider_actors::mailbox::state::{Input, Mailbox};
use postrider_actors::ports::mail_source::Hint;
use postrider_actors::settings::Settings;
use postrider_actors::time::Monotonic;

/// The inputs of one mail, from the hint to the settled push.
const STEPS: u64 = 4;

fn mailbox(bench: &mut Criterion) {
    let settings = Settings::default();
    let mut machine = Mailbox::new(1);
    let mut now = Monotonic(1_000_000_000);
    machine.step(now, Input::Start { seeded: true, badge_dirty: false, pending: false }, &settings);
    machine.step(now, Input::Watched(Ok(())), &settings);
    machine.step(now, Input::Hint(Hint::StreamOpened), &settings);
    let mut group = bench.benchmark_group("core");
    group.throughput(Throughput::Elements(STEPS));
    group.bench_function("mailbox/steps_of_one_mail", |bench| {
        bench.iter(|| {
            now = now + Duration::from_secs(5);
            let mut effects = machine.step(now, Input::Hint(Hint::Touched { mail: true, unread: Some(1), at: now }), &settings).len();
            let end = CollectEnd::Done { announced: 1, more: More::Nothing, seeded: true, badge_dirty: false };
            effects += machine.step(now, Input::Collected { end, sending: true }, &settings).len();
            effects += machine.step(now, Input::Settled { left: false }, &settings).len();
            effects += machine.step(now, Input::Alarm, &settings).len();
            black_box((effects, machine.due(&settings)))
        });
    });
    group.finish();
}

criterion_group!(benches, mailbox);
criterion_main!(benches);
