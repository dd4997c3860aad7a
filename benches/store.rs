//! What the embedded database costs: one commit batch, one reading of devices, one batch of verdicts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use postrider::clock::SystemClock;
use postrider::store::{Options, SqliteStore};
use postrider_actors::ids::{
    Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId, NodeId, Session, Smtp, SyncSeq, SyncState, TenantId,
};
use postrider_actors::ports::cluster_store::{Features, Join};
use postrider_actors::ports::delivery_store::{Mark, Settled};
use postrider_actors::ports::mailbox_store::{Commit, DeliveryKind, NewDelivery};
use postrider_actors::ports::push_sender::{Provider, PushToken};
use postrider_actors::ports::registry_store::{Registered, Registration};
use postrider_actors::ports::{Clock, ClusterStore, DeliveryStore, DeviceStore, MailboxStore, RegistryStore};
use postrider_actors::time::Timestamp;

const BATCHES: [usize; 3] = [1, 20, 200];
/// A sync state as Exchange gives it for an inbox of some thousand mails.
const STATE: usize = 4096;

/// A store with mailboxes of one device each, all adopted.
struct Site {
    store: SqliteStore,
    authority: Authority,
    mailboxes: Vec<(MailboxId, DeviceId)>,
    seq: i64,
    _folder: tempfile::TempDir,
}

async fn site(mailboxes: usize) -> Site {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let clock = Arc::new(SystemClock::default());
    let now = clock.now();
    let store = SqliteStore::open(&folder.path().join("bench.db"), Options::new(clock)).await.expect("the file opens");
    let (node, session) = (NodeId("bench".into()), Session(1));
    let join = Join {
        node: node.clone(),
        session,
        weight: 1,
        max_users: 10_000,
        features: Features::default(),
        version: "0".into(),
        addr: String::new(),
        patience: Duration::from_secs(6),
        replaces: None,
    };
    store.join(&join).await.expect("nobody else is there");
    let mut found = Vec::with_capacity(mailboxes);
    for n in 0..mailboxes {
        found.push(phone(&store, n, now).await);
    }
    let beat = store.beat(&node, session, 0).await.expect("the file works").expect("the session lives");
    let authority = Authority { fence: beat.shards[0].epoch, session };
    for seen in beat.shards {
        store.shard_adopt(seen.shard, authority).await.expect("the file works").expect("the shard is ours");
    }
    Site { store, authority, mailboxes: found, seq: 0, _folder: folder }
}

async fn phone(store: &SqliteStore, n: usize, now: Timestamp) -> (MailboxId, DeviceId) {
    let (tenant, smtp) = (TenantId("main".into()), Smtp::new(&format!("user{n}@example.com")));
    let new = Registration {
        tenant: tenant.clone(),
        smtp: smtp.clone(),
        name: "phone".into(),
        provider: Provider::Apns,
        app: "com.example.mail".into(),
        token: PushToken(format!("{n:064x}").into()),
        cutoff: Duration::from_secs(43_200),
        create_mailbox: true,
    };
    let Registered::Done { mailbox, .. } = store.device_register(&new, now).await.expect("the file works") else {
        panic!("the registration was refused")
    };
    let devices = store.device_list(&tenant, &smtp).await.expect("the file works").expect("the mailbox is there");
    (mailbox, devices[0].device)
}

impl Site {
    fn batch(&mut self, size: usize) -> Vec<Commit> {
        let seq = self.seq;
        self.seq += 1;
        self.mailboxes[..size].iter().map(|(mailbox, device)| entry(*mailbox, *device, self.authority, seq)).collect()
    }
}

fn entry(mailbox: MailboxId, device: DeviceId, authority: Authority, seq: i64) -> Commit {
    let item = ItemId(format!("AAMkAGRkN2{}{:0>128}", mailbox.0, seq).into());
    let event = EventKey::of_item(&item);
    let row = NewDelivery {
        device,
        generation: Generation(1),
        event,
        group: event,
        kind: DeliveryKind::Mail,
        item: Some(item),
        received_at: Timestamp(seq),
        count: 1,
        next_at: Timestamp(seq),
        expires_at: Timestamp::NEVER,
    };
    let sync_state = Some(SyncState("H4sIAAAA".repeat(STATE / 8).into()));
    let announced_until = Timestamp(seq);
    Commit { mailbox, authority, sync_seq: SyncSeq(seq), sync_state, seeded: true, badge_dirty: false, announced_until, rows: vec![row] }
}

fn commit(c: &mut Criterion, runtime: &tokio::runtime::Runtime) {
    let mut group = c.benchmark_group("store/commit");
    for size in BATCHES {
        let mut site = runtime.block_on(site(size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|rounds| {
                let batches: Vec<_> = (0..rounds).map(|_| site.batch(size)).collect();
                runtime.block_on(async {
                    let begun = Instant::now();
                    for batch in &batches {
                        let committed = site.store.sync_state_commit(batch).await.expect("the file works");
                        assert_eq!(committed.inserted.len(), size);
                    }
                    begun.elapsed()
                })
            });
        });
    }
}

fn devices_now(c: &mut Criterion, runtime: &tokio::runtime::Runtime) {
    let mut group = c.benchmark_group("store/devices_now");
    let site = runtime.block_on(site(1000));
    for size in [1, 20, 1000] {
        let devices: Vec<DeviceId> = site.mailboxes[..size].iter().map(|(_, device)| *device).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.to_async(runtime).iter(|| async { site.store.devices_now(&devices).await.expect("the file works") });
        });
    }
}

fn mark(c: &mut Criterion, runtime: &tokio::runtime::Runtime) {
    let mut group = c.benchmark_group("store/mark");
    for size in BATCHES {
        let mut site = runtime.block_on(site(size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let batch = site.batch(size);
                    spent += runtime.block_on(async {
                        let rows = site.store.sync_state_commit(&batch).await.expect("the file works").inserted;
                        let marks: Vec<Mark> = rows.iter().map(|row| verdict(row.id)).collect();
                        let begun = Instant::now();
                        site.store.mark(&marks).await.expect("the file works");
                        begun.elapsed()
                    });
                }
                spent
            });
        });
    }
}

fn verdict(id: DeliveryId) -> Mark {
    Mark { id, settled: Settled::Sent, reason: "accepted".into() }
}

fn all(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    commit(c, &runtime);
    devices_now(c, &runtime);
    mark(c, &runtime);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    targets = all
}
criterion_main!(benches);
