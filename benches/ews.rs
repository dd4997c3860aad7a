//! How fast a stream of envelopes is cut and read, answers are read and a request is written, in bytes per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider::config::ews::Impersonation;
use postrider::ews::soap::get_item::GetContents;
use postrider::ews::soap::get_streaming_events::read;
use postrider::ews::soap::splitter::Splitter;
use postrider::ews::soap::sync_folder_items::SyncFolderItems;
use postrider::ews::soap::{Header, Operation, answer, envelope};
use postrider_actors::ids::{ItemId, SyncState};

/// Envelopes of several makes: heartbeats, mail, faults.
const STREAM: &[u8] = include_bytes!("../src/ews/soap/fixtures/stream.xml");
/// One change of each kind.
const CHANGES: &[u8] = include_bytes!("../src/ews/soap/fixtures/sync_folder_items.xml");
/// Two mails and one that is gone.
const MAILS: &[u8] = include_bytes!("../src/ews/soap/fixtures/get_item.xml");
/// How long a sync state is.
const STATE_BYTES: usize = 4 * 1024;
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

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ews answer");
    group.throughput(Throughput::Bytes(CHANGES.len() as u64));
    let sync = SyncFolderItems { state: None, bare: None };
    group.bench_function("SyncFolderItems", |bencher| {
        bencher.iter(|| sync.read(answer::read(black_box(CHANGES), "SyncFolderItems").expect("an answer")).expect("a page"));
    });
    group.throughput(Throughput::Bytes(MAILS.len() as u64));
    let items = ["A", "B", "C"].map(|id| ItemId(id.into()));
    let get = GetContents { items: &items };
    group.bench_function("GetItem", |bencher| {
        bencher.iter(|| get.read(answer::read(black_box(MAILS), "GetItem").expect("an answer")).expect("contents"));
    });
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let state = SyncState("H4sIAAAA".repeat(STATE_BYTES / 8).into());
    let sync = SyncFolderItems { state: Some(&state), bare: None };
    let header = Header { form: Impersonation::PrimarySmtpAddress, act_for: "user@example.com" };
    let mut group = criterion.benchmark_group("ews request");
    group.throughput(Throughput::Bytes(STATE_BYTES as u64));
    group.bench_function("SyncFolderItems", |bencher| bencher.iter(|| envelope::write(header, |body| sync.write(black_box(body)))));
    group.finish();
}

criterion_group!(benches, stream_of_envelopes, answers, requests);
criterion_main!(benches);
