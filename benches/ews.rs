//! How fast a stream of envelopes is cut and read, in bytes per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider::ews::soap::get_streaming_events::read;
use postrider::ews::soap::splitter::Splitter;

/// Envelopes of several makes: heartbeats, mail, faults.
const STREAM: &[u8] = include_bytes!("../src/ews/soap/fixtures/stream.xml");
/// How bytes arrive: a TLS record at a time.
const CHUNK_BYTES: usize = 16 * 1024;

fn stream_of_envelopes(criterion: &mut Criterion) {
    let stream = STREAM.repeat(200);
    let mut group = criterion.benchmark_group("ews stream");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("cut and read", |bencher| {
        bencher.iter(|| {
            let mut splitter = Splitter::new(4 << 20);
            let mut notifications = 0;
            for chunk in stream.chunks(CHUNK_BYTES) {
                splitter.push(chunk);
                while let Some(envelope) = splitter.next_envelope().expect("the fixture is well-formed") {
                    notifications += read(&envelope).expect("the fixture is a stream's").notifications.len();
                }
            }
            black_box(notifications)
        });
    });
    group.finish();
}

criterion_group!(benches, stream_of_envelopes);
criterion_main!(benches);
