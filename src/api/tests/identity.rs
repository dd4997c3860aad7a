//! Tokens of the company's identity provider: whom they let in, everything that makes them refused, keys that change, a provider that is down.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;

const KEYS: &str = "https://id.example.com/keys";

/// A key of the provider. RSA keys take long to make: the tests share them.
struct Pair {
    kid: &'static str,
    signing: EncodingKey,
    public_pem: String,
    family: Algorithm,
}

impl Pair {
    fn rsa(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let signing = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { kid, signing, public_pem: pair.public_key_pem(), family: Algorithm::RS256 }
    }

    fn ec(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signing = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { kid, signing, public_pem: pair.public_key_pem(), family: Algorithm::ES256 }
    }

    /// As the provider publishes it.
    fn published(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.signing, self.family).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    }

    fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = Some(self.kid.to_owned());
        jsonwebtoken::encode(&header, claims, &self.signing).unwrap()
    }
}

fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::rsa("r1"))
}

fn ec() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::ec("e1"))
}

fn claims() -> Value {
    json!({"iss": "https://id.example.com", "aud": "push", "sub": "s-1", "exp": NOW_SECONDS + 300, "upn": "ann@example.com"})
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

async fn world() -> World {
    let world = start(|_| {}).await;
    world
        .documents
        .publish(KEYS, json!({"keys": [rsa().published(), ec().published(), {"kty": "oct", "kid": "o1", "k": "AAAA"}, {"kty": "new"}]}));
    world
}

#[tokio::test]
async fn a_user_reaches_his_own_mailbox_and_no_other() {
    let world = world().await;
    let tokens = [(rsa(), Algorithm::RS256, 201), (rsa(), Algorithm::PS256, 200), (ec(), Algorithm::ES256, 200)];
    for (pair, algorithm, status) in tokens {
        let token = pair.sign(algorithm, &claims());
        world.put("/v1/mailboxes/Ann@Example.com/devices/phone-1", &token, GOOD).await.is(status);
        for (method, path) in [(Method::GET, ""), (Method::DELETE, "/phone-1"), (Method::POST, "/phone-1/activity")] {
            world.send(method, &format!("/v1/mailboxes/bob@example.com/devices{path}"), &token, None).await.problem(403, "forbidden");
        }
        world.put("/v1/mailboxes/bob@example.com/devices/d", &token, GOOD).await.problem(403, "forbidden");
        world.get("/v1/admin/mailboxes", &token).await.problem(403, "forbidden");
    }
    assert_eq!(world.documents.reads.load(Ordering::SeqCst), 1, "keys are kept");
    assert!(world.audit().iter().all(|line| line.who.starts_with("user ") && !line.who.contains("ann")), "a user is a hash in the trail");
}

#[tokio::test]
async fn a_user_of_a_foreign_domain_is_refused() {
    let world = world().await;
    let token = rsa().sign(Algorithm::RS256, &with("upn", json!("ann@evil.example")));
    world.put("/v1/mailboxes/ann@evil.example/devices/d", &token, GOOD).await.problem(403, "foreign-domain");
}

#[tokio::test]
async fn claims_that_are_not_for_us_or_not_for_this_moment_are_refused() {
    let world = world().await;
    for (key, value) in [
        ("iss", json!("https://evil.example.com")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!(5)),
        ("exp", json!(NOW_SECONDS - 60)),
        ("exp", json!(null)),
        ("exp", json!("tomorrow")),
        ("nbf", json!(NOW_SECONDS + 61)),
        ("nbf", json!("x")),
        ("upn", json!(["ann@example.com"])),
        ("upn", json!({"a": 1})),
        ("upn", json!("ann")),
        ("upn", json!(null)),
        ("upn", json!("")),
    ] {
        let token = rsa().sign(Algorithm::RS256, &with(key, value.clone()));
        let refused = world.put(PHONE, &token, GOOD).await;
        assert!(!refused.problem(401, "unauthenticated").text.contains("example.com"), "{key} {value}");
    }
    for (key, value) in [("exp", json!(NOW_SECONDS - 59)), ("nbf", json!(NOW_SECONDS + 60)), ("aud", json!(["x", "push"]))] {
        assert!(world.put(PHONE, &rsa().sign(Algorithm::RS256, &with(key, value)), GOOD).await.status < 300);
    }
}

/// A token whose header says what the test wants, over a signature of the test's choice.
fn forged(header: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(&claims()), URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_signature_that_does_not_prove_anything_is_refused() {
    let world = world().await;
    let good = rsa().sign(Algorithm::RS256, &claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = URL_SAFE_NO_PAD.encode(with("upn", json!("bob@example.com")).to_string());
    let stolen = format!("{}.{payload}.{signature}", head.split_once('.').unwrap().0);
    let hmac_with_the_public_key = jsonwebtoken::encode(
        &Header { kid: Some("r1".into()), ..Header::new(Algorithm::HS256) },
        &claims(),
        &EncodingKey::from_secret(rsa().public_pem.as_bytes()),
    )
    .unwrap();
    let stranger = Pair::ec("e1").sign(Algorithm::ES256, &claims());
    let wrong_family = Header { kid: Some("r1".into()), ..Header::new(Algorithm::ES256) };
    let wrong_family = jsonwebtoken::encode(&wrong_family, &claims(), &ec().signing).unwrap();
    let critical = json!({"alg": "RS256", "kid": "r1", "crit": ["exp"], "exp": 1});
    for token in [
        forged(&json!({"alg": "none", "kid": "r1"}), b""),
        forged(&json!({"alg": "None"}), b""),
        forged(&json!({"alg": "HS256", "kid": "o1"}), b"x"),
        forged(&json!({"alg": "RS384", "kid": "r1"}), b"x"),
        forged(&json!({"alg": "EdDSA", "kid": "e1"}), b"x"),
        forged(&json!({"alg": ["RS256"], "kid": "r1"}), b"x"),
        forged(&json!({"alg": "RS256", "kid": "r1"}), b""),
        forged(&json!({"alg": "ES256", "kid": "e1"}), &[0; 64]),
        forged(&json!({"alg": "RS256", "kid": 5}), b"x"),
        forged(&json!({"alg": "RS256", "kid": "r1", "jwk": ec().published()}), b"x"),
        forged(&critical, b"x"),
        format!("{head}."),
        format!("{good}x"),
        format!("{head}.{}", URL_SAFE_NO_PAD.encode([0; 256])),
        stolen,
        hmac_with_the_public_key,
        stranger,
        wrong_family,
        "a".repeat(9_000),
        "..".into(),
    ] {
        world.put(PHONE, &token, GOOD).await.problem(401, "unauthenticated");
    }
    assert_eq!(world.store.read(|model| model.mailboxes.len()), 0);
}

#[tokio::test]
async fn a_key_names_its_only_algorithm_and_its_use() {
    let world = world().await;
    let mut only_pss = rsa().published();
    only_pss["alg"] = json!("PS256");
    let mut for_encryption = ec().published();
    for_encryption["use"] = json!("enc");
    world.documents.publish(KEYS, json!({"keys": [only_pss, for_encryption]}));
    world.put(PHONE, &rsa().sign(Algorithm::RS256, &claims()), GOOD).await.problem(401, "unauthenticated");
    world.put(PHONE, &ec().sign(Algorithm::ES256, &claims()), GOOD).await.problem(401, "unauthenticated");
    world.put(PHONE, &rsa().sign(Algorithm::PS256, &claims()), GOOD).await.is(201);
}

#[tokio::test]
async fn keys_are_read_again_for_an_unknown_key_id_but_not_more_often_than_allowed() {
    let world = world().await;
    world.put(PHONE, &ec().sign(Algorithm::ES256, &claims()), GOOD).await.is(201);
    let rotated = Pair::ec("e2");
    let token = rotated.sign(Algorithm::ES256, &claims());
    // At the same moment as the reading: it may be known already.
    world.clock.advance(Duration::from_millis(1));
    for _ in 0..5 {
        let refused = world.put(PHONE, &token, GOOD).await;
        assert!(refused.problem(503, "identity-provider-unavailable").retry_after.is_some(), "no reading began since it came");
    }
    assert_eq!(world.documents.reads.load(Ordering::SeqCst), 1, "the last reading was a moment ago");
    world.documents.publish(KEYS, json!({"keys": [rotated.published()]}));
    world.clock.advance(Duration::from_secs(30));
    let made_up = Pair::ec("e3").sign(Algorithm::ES256, &claims());
    let many = futures_util::future::join_all((0..20).map(|_| world.put(PHONE, &token, GOOD))).await;
    assert!(many.iter().all(|answer| answer.status == 200));
    assert_eq!(world.documents.reads.load(Ordering::SeqCst), 2, "twenty callers, one reading");
    world.clock.advance(Duration::from_secs(30));
    world.put(PHONE, &made_up, GOOD).await.problem(401, "unauthenticated");
    world.put(PHONE, &ec().sign(Algorithm::ES256, &claims()), GOOD).await.problem(401, "unauthenticated");
    assert_eq!(world.documents.reads.load(Ordering::SeqCst), 3, "a reading that began since says that they are wrong");
}

#[tokio::test]
async fn a_withdrawn_key_is_not_believed_once_more() {
    let world = world().await;
    let token = ec().sign(Algorithm::ES256, &with("exp", json!(NOW_SECONDS + 1_000_000)));
    world.put(PHONE, &token, GOOD).await.is(201);
    world.documents.publish(KEYS, json!({"keys": [rsa().published()]}));
    world.clock.advance(Duration::from_secs(3_600));
    world.put(PHONE, &token, GOOD).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_used_on_for_a_day_while_the_provider_is_down() {
    let world = world().await;
    let token = || ec().sign(Algorithm::ES256, &with("exp", json!(NOW_SECONDS + 1_000_000)));
    world.documents.down.store(true, Ordering::SeqCst);
    let refused = world.put(PHONE, &token(), GOOD).await;
    assert!(refused.problem(503, "identity-provider-unavailable").retry_after.is_some());
    world.documents.down.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(30));
    world.put(PHONE, &token(), GOOD).await.is(201);
    world.documents.down.store(true, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(86_000));
    world.put(PHONE, &token(), GOOD).await.is(200);
    world.clock.advance(Duration::from_secs(400));
    world.put(PHONE, &token(), GOOD).await.problem(503, "identity-provider-unavailable");
}

#[tokio::test]
async fn an_unknown_key_id_is_not_called_wrong_while_the_provider_is_down() {
    let world = world().await;
    world.put(PHONE, &ec().sign(Algorithm::ES256, &claims()), GOOD).await.is(201);
    world.documents.down.store(true, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(30));
    let rotated = Pair::ec("e2").sign(Algorithm::ES256, &claims());
    for _ in 0..2 {
        world.put(PHONE, &rotated, GOOD).await.problem(503, "identity-provider-unavailable");
    }
    assert_eq!(world.documents.reads.load(Ordering::SeqCst), 2);
    world.put(PHONE, &ec().sign(Algorithm::ES256, &claims()), GOOD).await.is(200);
}

#[tokio::test]
async fn a_user_brings_his_mailbox_only_where_the_tenant_allows_it() {
    let (mut parts, store, _clock, _core, documents) = parts(|_| {});
    parts.tenants[0].users_enrol = false;
    documents.publish(KEYS, json!({"keys": [ec().published()]}));
    let server = Api::new(parts).bind().unwrap();
    let url = format!("http://{}{PHONE}", server.public_address().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let token = ec().sign(Algorithm::ES256, &claims());
    let register = || answer(client().put(&url).bearer_auth(&token).header("content-type", "application/json").body(GOOD));
    register().await.problem(404, "not-found");
    let added = store.mailbox_add(&TenantId("acme".into()), &postrider_actors::ids::Smtp::new("ann@example.com"), Timestamp(1)).await;
    assert!(added.unwrap().1);
    register().await.is(201);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_address_of_the_keys_is_found_through_the_issuer_and_only_for_the_issuer() {
    for (says, status) in [("https://id.example.com", 201), ("https://evil.example.com", 503)] {
        let (mut parts, _store, _clock, _core, documents) = parts(|_| {});
        parts.tenants[0].identity.as_mut().unwrap().jwks_url = None;
        documents.publish(
            "https://id.example.com/.well-known/openid-configuration",
            json!({"issuer": says, "jwks_uri": "https://keys.example.com/k"}),
        );
        documents.publish("https://keys.example.com/k", json!({"keys": [ec().published()]}));
        let server = Api::new(parts).bind().unwrap();
        let url = format!("http://{}{PHONE}", server.public_address().unwrap());
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        let request =
            client().put(url).bearer_auth(ec().sign(Algorithm::ES256, &claims())).header("content-type", "application/json").body(GOOD);
        answer(request).await.is(status);
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_over_https_only_bounded_and_without_redirects() {
    use crate::api::auth::fetch::HttpFetch;
    use crate::http::{ClientOptions, TrustRoots, client};
    use postrider_loadtest::tls::Authority;

    let authority = Authority::new();
    let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(authority.server_config(&["localhost"], &[])));
    let routes = axum::Router::new()
        .route("/keys", axum::routing::get(|| async { "{}" }))
        .route("/moved", axum::routing::get(|| async { axum::response::Redirect::temporary("/keys") }))
        .route("/large", axum::routing::get(|| async { "x".repeat(300_000) }));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(axum_server::from_tcp_rustls(listener, config).unwrap().serve(routes.into_make_service()));
    let roots = TrustRoots::only("test root", authority.ca_pem().as_bytes()).unwrap();
    let fetch = HttpFetch(client(&ClientOptions::new(roots)).unwrap());
    assert_eq!(fetch.fetch(&format!("https://localhost:{port}/keys")).await.unwrap(), b"{}");
    assert_eq!(fetch.fetch(&format!("https://localhost:{port}/moved")).await, Err(FetchError::Status(307)));
    assert_eq!(fetch.fetch(&format!("https://localhost:{port}/gone")).await, Err(FetchError::Status(404)));
    assert!(matches!(fetch.fetch(&format!("https://localhost:{port}/large")).await, Err(FetchError::Document(_))));
    assert_eq!(fetch.fetch(&format!("http://localhost:{port}/keys")).await, Err(FetchError::Address));
    assert!(matches!(fetch.fetch(&format!("https://127.0.0.1:{port}/keys")).await, Err(FetchError::Unreachable(_))));
    serving.abort();
}
