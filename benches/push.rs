//! How fast pushes are put into words and sent: payloads, and the sender beside a bare HTTP/2 loop on the same simulated Apple.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use h2::client::SendRequest;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider::clock::SystemClock;
use postrider::config::from_toml;
use postrider::notification::MAX_PAYLOAD_BYTES;
use postrider::push_sender::PushSenders;
use postrider_actors::ids::{EventKey, ItemId, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Channel, Content, Provider, Push, PushSender, PushToken, Verdict};
use postrider_loadtest::apple::{Apple, Options};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::ledger::Ledger;
use postrider_loadtest::phones::Phones;
use postrider_loadtest::tls::{ALPN_H2, install_provider};
use rustls_pki_types::ServerName;
use tokio::runtime::Runtime;

/// Connections of both contestants.
const CONNECTIONS: usize = 2;
/// Pushes under way at a time, for both.
const IN_FLIGHT: u32 = 200;
/// Pushes in a round, and rounds of each contestant, in turns.
const ROUND: (u32, usize) = (5_000, 9);
/// The share of the bare loop's rate that the sender must reach.
const LEAST_RATIO: f64 = 0.5;

fn main() {
    install_provider();
    let mut criterion = Criterion::default().configure_from_args();
    payloads(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` only wants to know that it runs.
    let trial = std::env::args().any(|argument| argument == "--test");
    let (pushes, rounds) = if trial { (100, 1) } else { ROUND };
    let (sender, bare) = Runtime::new().expect("a runtime").block_on(race(pushes, rounds));
    let ratio = sender / bare;
    println!("push path: sender {sender:.0}/s, bare HTTP/2 loop {bare:.0}/s, ratio {ratio:.2} (at least {LEAST_RATIO} is wanted)");
    assert!(trial || ratio >= LEAST_RATIO, "the push path is too slow beside a bare loop");
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
        channel: Channel { tenant: TenantId("example".into()), provider: Provider::Apns, app: Credentials::APP.into() },
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

/// Pushes per second of the sender and of the bare loop, medians of rounds in turns.
async fn race(pushes: u32, rounds: usize) -> (f64, f64) {
    let credentials = Credentials::generate();
    let tls = Arc::new(credentials.authority.server_config(&["localhost"], &[ALPN_H2]));
    let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
    let apple = Apple::start(Options::new(tls, Arc::new(Phones::new(true)), ledger)).await.expect("a free port");
    apple.add_key(Credentials::APNS_KID, Credentials::APNS_TEAM, credentials.apns_key.public_key_raw());
    let sender = sender(&credentials, apple.address().port());
    let bare = Bare::connect(&credentials, &apple).await;
    let (mut sent, mut looped) = (Vec::new(), Vec::new());
    // The first round of each warms connections up.
    for round in 0..=rounds {
        let (one, other) = (send_round(&sender, pushes).await, bare.round(pushes).await);
        if round > 0 {
            sent.push(one);
            looped.push(other);
        }
    }
    (median(sent), median(looped))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Pushes per second.
fn rate(pushes: u32, since: Instant) -> f64 {
    f64::from(pushes) / since.elapsed().as_secs_f64()
}

fn sender(credentials: &Credentials, port: u16) -> Arc<PushSenders> {
    let files = tempfile::tempdir().expect("a folder");
    let (root, key) = (files.path().join("root.pem"), files.path().join("key.p8"));
    std::fs::write(&root, credentials.authority.ca_pem()).expect("written");
    std::fs::write(&key, credentials.apns_key.serialize_pem()).expect("written");
    let config = from_toml(&format!(
        r#"
        [[apns]]
        tenant = "example"
        app = "{}"
        team_id = "{}"
        key_id = "{}"
        key = {{ file = "{}" }}
        url = "https://localhost:{port}"
        connections = {CONNECTIONS}
        in_flight = {IN_FLIGHT}
        roots = ["{}"]
        "#,
        Credentials::APP,
        Credentials::APNS_TEAM,
        Credentials::APNS_KID,
        key.display(),
        root.display()
    ));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    Arc::new(PushSenders::new(&config.expect("a good configuration"), &clock).expect("good credentials"))
}

/// Works a round off with as many workers as may be under way.
async fn send_round(senders: &Arc<PushSenders>, pushes: u32) -> f64 {
    let begin = Instant::now();
    let next = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (senders, next) = (Arc::clone(senders), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= pushes {
                        return;
                    }
                    let push = mail(number);
                    let permit = senders.permit(&push.channel).await.expect("room");
                    assert_eq!(senders.send(permit, push).await, Verdict::Accepted);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    rate(pushes, begin)
}

/// The least that a client must do: one token, one payload, the headers, one stream for each push.
struct Bare {
    connections: Vec<SendRequest<Bytes>>,
    authorization: String,
    payload: Bytes,
}

impl Bare {
    async fn connect(credentials: &Credentials, apple: &Apple) -> Arc<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let tcp = tokio::net::TcpStream::connect(apple.address()).await.expect("connected");
            tcp.set_nodelay(true).expect("set");
            let tls = tokio_rustls::TlsConnector::from(Arc::new(credentials.authority.client_config(&[ALPN_H2])));
            let stream = tls.connect(ServerName::try_from("localhost").expect("a name"), tcp).await.expect("trusted");
            let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            connections.push(requests);
        }
        let header = Header { kid: Some(Credentials::APNS_KID.to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = serde_json::json!({"iss": Credentials::APNS_TEAM, "iat": SystemClock::default().now().epoch_seconds()});
        let key = EncodingKey::from_ec_pem(credentials.apns_key.serialize_pem().as_bytes()).expect("an EC key");
        let authorization = format!("bearer {}", jsonwebtoken::encode(&header, &claims, &key).expect("signed"));
        let payload = Bytes::from(postrider::apns::payload::payload(&mail(1), MAX_PAYLOAD_BYTES));
        let bare = Arc::new(Self { connections, authorization, payload });
        // Apple allows one stream until it has seen a good token.
        for connection in &bare.connections {
            bare.push(connection.clone(), 0).await;
        }
        bare
    }

    async fn round(self: &Arc<Self>, pushes: u32) -> f64 {
        let begin = Instant::now();
        let next = Arc::new(AtomicU32::new(0));
        let workers: Vec<_> = (0..IN_FLIGHT as usize)
            .map(|worker| {
                let (this, next) = (Arc::clone(self), Arc::clone(&next));
                tokio::spawn(async move {
                    let connection = &this.connections[worker % CONNECTIONS];
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= pushes {
                            return;
                        }
                        this.push(connection.clone(), number).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
        rate(pushes, begin)
    }

    async fn push(&self, connection: SendRequest<Bytes>, number: u32) {
        let request = Request::post(format!("https://localhost/3/device/{number:064x}"))
            .header("authorization", &self.authorization)
            .header("apns-topic", Credentials::APP)
            .header("apns-push-type", "alert")
            .header("apns-expiration", "4000000000")
            .body(())
            .expect("a request");
        let mut connection = connection.ready().await.expect("a stream");
        let (response, mut body) = connection.send_request(request, false).expect("sent");
        body.send_data(self.payload.clone(), true).expect("sent");
        assert_eq!(response.await.expect("answered").status(), 200);
    }
}
