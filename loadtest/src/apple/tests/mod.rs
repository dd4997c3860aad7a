//! Real requests over TLS and HTTP/2 against the simulated Apple: each refusal, the stream limit, goodbyes and cuts.

use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};

use super::*;
use crate::ledger::{Device, Provider, Verdict};
use crate::push_faults::Rates;
use crate::tls::{ALPN_H2, Authority};
use crate::witness::{MailFact, Witness};

const TOPIC: &str = "com.example.mail";
const MAIL: &str =
    r#"{"aps":{"alert":{"title":"Ann","subtitle":"Hello","body":"..."},"badge":1},"pr":{"v":1,"k":"mail","n":1,"m":["ungWv48B"]}}"#;

mod faults;

struct Stage {
    apple: Apple,
    authority: Authority,
    ledger: Arc<Ledger>,
    key: KeyPair,
}

fn token(n: u32) -> String {
    format!("{n:064x}")
}

async fn stage_with(change: impl FnOnce(&mut Options)) -> Stage {
    let authority = Authority::new();
    let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
    let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_H2]));
    let phones = Arc::new(Phones::new(false));
    for n in 0..10 {
        phones.install(&token(n), TOPIC);
    }
    let mut options = Options::new(tls, phones, Arc::clone(&ledger));
    change(&mut options);
    let apple = Apple::start(options).await.unwrap();
    let key = KeyPair::generate().unwrap();
    apple.add_key("KEY1234567", "TEAM123456", key.public_key_raw());
    let device =
        Device { token: token(1), provider: Provider::Apns, mailbox: "ann@example.com".to_owned(), cutoff: Duration::from_secs(3_600) };
    ledger.device(&device);
    Stage { apple, authority, ledger, key }
}

async fn stage() -> Stage {
    stage_with(|_| {}).await
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Stage {
    fn jwt(&self, kid: &str, team: &str, iat: i64) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid.to_owned());
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&header, &json!({"iss": team, "iat": iat}), &key).unwrap()
    }

    fn good_jwt(&self) -> String {
        self.jwt("KEY1234567", "TEAM123456", now_s())
    }

    fn request(&self, jwt: &str) -> Request<String> {
        Request::builder()
            .method(Method::POST)
            .uri(format!("https://localhost/3/device/{}", token(1)))
            .header("authorization", format!("bearer {jwt}"))
            .header("apns-topic", TOPIC)
            .header("apns-push-type", "alert")
            .header("apns-expiration", (now_s() + 60).to_string())
            .body(MAIL.to_owned())
            .unwrap()
    }

    async fn connect(&self) -> Caller {
        let tls = self.authority.client_config(&[ALPN_H2]);
        let tcp = tokio::net::TcpStream::connect(self.apple.address()).await.unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        let (sender, connection) = h2::client::handshake(tls).await.unwrap();
        let ended = tokio::spawn(connection);
        Caller { sender, ended }
    }

    /// Sends one request on a connection of its own.
    async fn ask(&self, request: Request<String>) -> (u16, Value) {
        let mut caller = self.connect().await;
        caller.ask(request).await.unwrap()
    }

    fn verdict(&self) -> Verdict {
        self.ledger.judge()
    }

    fn rules(&self) -> Vec<String> {
        let rules = self.verdict().misuse.into_iter();
        rules.map(|misuse| misuse.rule).collect()
    }
}

struct Caller {
    sender: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Caller {
    async fn send(&mut self, request: Request<String>) -> Result<h2::client::ResponseFuture, h2::Error> {
        let (parts, body) = request.into_parts();
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(Request::from_parts(parts, ()), false)?;
        stream.send_data(Bytes::from(body), true)?;
        Ok(response)
    }

    async fn ask(&mut self, request: Request<String>) -> Result<(u16, Value), h2::Error> {
        read(self.send(request).await?).await
    }
}

async fn read(response: h2::client::ResponseFuture) -> Result<(u16, Value), h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        whole.extend_from_slice(&piece?);
    }
    let body = serde_json::from_slice(&whole).unwrap_or(Value::Null);
    assert!(head.headers.contains_key("apns-id"));
    Ok((head.status.as_u16(), body))
}

#[tokio::test]
async fn a_good_push_is_taken_and_entered_in_the_books() {
    let stage = stage().await;
    stage.ledger.mail_delivered(&MailFact {
        mailbox: "ann@example.com".to_owned(),
        item_id: "abc".to_owned(),
        at: Instant::now(),
        received_at: jiff::Timestamp::now(),
        sender: "Ann".to_owned(),
        subject: "Hello".to_owned(),
        preview: "...".to_owned(),
        to_announce: true,
    });
    let (status, body) = stage.ask(stage.request(&stage.good_jwt())).await;
    assert_eq!((status, body), (200, Value::Null));
    let verdict = stage.verdict();
    assert_eq!((verdict.pushes_apns, verdict.announced, verdict.lost_count), (1, 1, 0));
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test]
async fn a_server_without_alpn_is_spoken_to_with_prior_knowledge() {
    let stage = stage_with(|_| {}).await;
    let tls = Arc::new(stage.authority.server_config(&["localhost"], &[]));
    let phones = Arc::clone(stage.apple.phones());
    let silent = Apple::start(Options::new(tls, phones, Arc::clone(&stage.ledger))).await.unwrap();
    silent.add_key("KEY1234567", "TEAM123456", stage.key.public_key_raw());
    let root = reqwest::Certificate::from_pem(stage.authority.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).http2_prior_knowledge().build().unwrap();
    let url = format!("https://localhost:{}/3/device/{}", silent.address().port(), token(1));
    let answer = client
        .post(url)
        .header("authorization", format!("bearer {}", stage.good_jwt()))
        .header("apns-topic", TOPIC)
        .header("apns-push-type", "alert")
        .body(MAIL)
        .send()
        .await
        .unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn each_broken_header_is_refused_with_apple_s_status_and_reason_and_blamed() {
    let stage = stage().await;
    let jwt = stage.good_jwt();
    let cases: [(&str, &str, u16, &str); 8] = [
        ("apns-topic", "no spaces allowed", 400, "BadTopic"),
        ("apns-push-type", "loud", 400, "InvalidPushType"),
        ("apns-priority", "7", 400, "BadPriority"),
        ("apns-expiration", "soon", 400, "BadExpirationDate"),
        ("apns-collapse-id", &"c".repeat(65), 400, "BadCollapseId"),
        ("apns-id", "not-a-uuid", 400, "BadMessageId"),
        ("authorization", "basic x", 403, "MissingProviderToken"),
        ("authorization", "bearer x.y.z", 403, "InvalidProviderToken"),
    ];
    let many = cases.len();
    for (name, value, status, reason) in cases {
        let mut request = stage.request(&jwt);
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(stage.ask(request).await, (status, json!({"reason": reason})));
    }
    assert_eq!(stage.verdict().misuse_count(), many as u64);
}

#[tokio::test]
async fn missing_and_doubled_headers_and_wrong_paths_are_refused() {
    let stage = stage().await;
    let jwt = stage.good_jwt();
    let mut request = stage.request(&jwt);
    request.headers_mut().remove("apns-topic");
    assert_eq!(stage.ask(request).await.1["reason"], "MissingTopic");
    let mut request = stage.request(&jwt);
    request.headers_mut().append("apns-topic", TOPIC.parse().unwrap());
    assert_eq!(stage.ask(request).await.1["reason"], "DuplicateHeaders");
    let mut request = stage.request(&jwt);
    request.headers_mut().remove("authorization");
    assert_eq!(stage.ask(request).await, (403, json!({"reason": "MissingProviderToken"})));
    let mut request = stage.request(&jwt);
    *request.method_mut() = Method::PUT;
    assert_eq!(stage.ask(request).await, (405, json!({"reason": "MethodNotAllowed"})));
    for (path, status, reason) in
        [("/3/devices/x", 404, "BadPath"), ("/3/device/", 400, "MissingDeviceToken"), ("/3/device/a/b", 404, "BadPath")]
    {
        let mut request = stage.request(&jwt);
        *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
        assert_eq!(stage.ask(request).await, (status, json!({"reason": reason})));
    }
}

#[tokio::test]
async fn payloads_too_large_or_unreadable_are_refused() {
    let stage = stage().await;
    let jwt = stage.good_jwt();
    let mut request = stage.request(&jwt);
    *request.body_mut() = format!(r#"{{"aps":{{"alert":"{}"}}}}"#, "x".repeat(100_000));
    assert_eq!(stage.ask(request).await, (413, json!({"reason": "PayloadTooLarge"})));
    let mut request = stage.request(&jwt);
    *request.body_mut() = "{".to_owned();
    assert_eq!(stage.ask(request).await.0, 400);
    assert_eq!(stage.rules(), ["payload-not-json", "payload-too-large"]);
}

#[tokio::test]
async fn devices_that_are_gone_unknown_or_of_another_app_are_told_apart_and_nobody_is_blamed() {
    let stage = stage().await;
    let jwt = stage.good_jwt();
    stage.apple.phones().remove(&token(2), 1_234_567);
    stage.apple.phones().install(&token(3), "com.example.other");
    let to = |device: &str| {
        let mut request = stage.request(&jwt);
        *request.uri_mut() = format!("https://localhost/3/device/{device}").parse().unwrap();
        request
    };
    let gone = json!({"reason": "Unregistered", "timestamp": 1_234_567});
    assert_eq!(stage.ask(to(&token(2))).await, (410, gone));
    assert_eq!(stage.ask(to(&token(3))).await.1["reason"], "DeviceTokenNotForTopic");
    assert_eq!(stage.ask(to(&token(99))).await.1["reason"], "BadDeviceToken");
    assert_eq!(stage.ask(to("xyz")).await.1["reason"], "BadDeviceToken");
    let mut foreign = stage.request(&jwt);
    foreign.headers_mut().insert("apns-topic", "com.example.other".parse().unwrap());
    assert_eq!(stage.ask(foreign).await.1["reason"], "TopicDisallowed");
    assert_eq!(stage.verdict().misuse_count(), 0);
}

#[tokio::test]
async fn provider_tokens_are_checked_for_signature_team_and_age() {
    let stage = stage().await;
    let stage = &stage;
    let reason = |jwt: String| async move { stage.ask(stage.request(&jwt)).await.1["reason"].clone() };
    let (kid, team) = ("KEY1234567", "TEAM123456");
    assert_eq!(reason(stage.jwt(kid, team, now_s() - 3_601)).await, "ExpiredProviderToken");
    assert_eq!(reason(stage.jwt(kid, team, now_s() + 900)).await, "InvalidProviderToken");
    assert_eq!(reason(stage.jwt("OTHERKEY00", team, now_s())).await, "InvalidProviderToken");
    assert_eq!(reason(stage.jwt(kid, "OTHERTEAM0", now_s())).await, "InvalidProviderToken");
    let good = stage.good_jwt();
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    assert_eq!(reason(forged).await, "InvalidProviderToken");
    assert_eq!(reason(stage.jwt(kid, team, now_s() - 3_500)).await, Value::Null);
    assert_eq!(stage.rules(), ["invalid-provider-token", "provider-token-not-renewed"]);
}

#[tokio::test]
async fn a_push_type_must_be_one_of_its_topic_s() {
    let stage = stage().await;
    let jwt = stage.good_jwt();
    let ask = async |topic: &str, kind: &str| {
        let mut request = stage.request(&jwt);
        for (name, value) in [("apns-topic", topic), ("apns-push-type", kind)] {
            request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let (status, body) = stage.ask(request).await;
        (status, body["reason"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |reason: &str| (400, reason.to_owned());
    assert_eq!(ask(TOPIC, "voip").await, refused("InvalidPushType"));
    assert_eq!(ask("com.example.mail.voip", "alert").await, refused("InvalidPushType"));
    assert_eq!(ask("com.example.other.voip", "voip").await, refused("TopicDisallowed"));
    assert_eq!(ask("com.example.mail.voip", "voip").await, refused("DeviceTokenNotForTopic"));
    assert_eq!(ask(TOPIC, "alert").await.0, 200);
    assert_eq!(stage.rules(), ["push-type-of-another-topic"]);
}

#[tokio::test]
async fn who_signs_a_token_for_every_connection_is_refused_and_a_token_in_use_is_not() {
    let stage = stage().await;
    let jwt = |n: i64| stage.jwt("KEY1234567", "TEAM123456", now_s() - n);
    let first = jwt(0);
    assert_eq!(stage.ask(stage.request(&first)).await.0, 200);
    let mut answers = Vec::new();
    for n in 1..40 {
        answers.push(stage.ask(stage.request(&jwt(n))).await);
    }
    let taken = answers.iter().take_while(|(status, _)| *status == 200).count();
    assert_eq!(taken, 31, "several processes may share a key");
    assert!(answers[taken..].iter().all(|answer| *answer == (429, json!({"reason": "TooManyProviderTokenUpdates"}))));
    assert_eq!(stage.ask(stage.request(&first)).await.0, 200);
    assert_eq!(stage.rules(), ["provider-token-for-every-push"]);
}

#[tokio::test]
async fn a_token_renewed_within_twenty_minutes_is_refused_unless_the_old_one_was_expired() {
    let stage = stage().await;
    let (kid, team) = ("KEY1234567", "TEAM123456");
    let mut caller = stage.connect().await;
    let old = stage.jwt(kid, team, now_s() - 1_300);
    let good = stage.jwt(kid, team, now_s() - 10);
    let hasty = stage.jwt(kid, team, now_s());
    assert_eq!(caller.ask(stage.request(&old)).await.unwrap().0, 200);
    assert_eq!(caller.ask(stage.request(&good)).await.unwrap().0, 200);
    assert_eq!(caller.ask(stage.request(&old)).await.unwrap().0, 200, "it was on its way");
    let refused = json!({"reason": "TooManyProviderTokenUpdates"});
    assert_eq!(caller.ask(stage.request(&hasty)).await.unwrap(), (429, refused));
    stage.apple.expire_tokens();
    let expired = json!({"reason": "ExpiredProviderToken"});
    assert_eq!(caller.ask(stage.request(&good)).await.unwrap(), (403, expired));
    let fresh = stage.jwt(kid, team, now_s() + 1);
    assert_eq!(caller.ask(stage.request(&fresh)).await.unwrap().0, 200);
    assert_eq!(stage.rules(), ["provider-token-renewed-too-often"]);
}

#[tokio::test]
async fn one_stream_is_allowed_until_the_first_good_token_was_answered_and_many_after() {
    let rates = Rates { slow: 10_000, ..Rates::default() };
    let stage = stage_with(|options| {
        options.faults = Arc::new(PushFaults::with_rates(1, rates));
        options.max_streams = 50;
    })
    .await;
    let jwt = stage.good_jwt();
    let mut caller = stage.connect().await;
    // Wait for the server's SETTINGS: a client that has not seen them cannot know the limit.
    while caller.sender.current_max_send_streams() > 1 {
        tokio::task::yield_now().await;
    }
    let first = caller.send(stage.request(&jwt)).await.unwrap();
    assert_eq!(read(first).await.unwrap().0, 200);
    while caller.sender.current_max_send_streams() != 50 {
        tokio::task::yield_now().await;
    }
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(caller.send(stage.request(&jwt)).await.unwrap());
    }
    for response in open {
        assert_eq!(read(response).await.unwrap().0, 200);
    }
    assert!(stage.rules().is_empty());
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_so_that_they_can_be_sent_again() {
    let rates = Rates { slow: 10_000, ..Rates::default() };
    let stage = stage_with(|options| {
        options.faults = Arc::new(PushFaults::with_rates(1, rates));
    })
    .await;
    let jwt = stage.good_jwt();
    let mut caller = stage.connect().await;
    // In one go, before the server's SETTINGS have been read.
    let first = caller.send(stage.request(&jwt)).await;
    let second = caller.send(stage.request(&jwt)).await;
    let (first, second) = (first.unwrap(), second.unwrap());
    let refused = read(second).await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(read(first).await.unwrap().0, 200);
    assert!(stage.rules().is_empty(), "who has not seen the limit has broken no rule");
}
