//! Real requests against the simulated Google: the token grant, each refusal, both HTTP versions, and faults.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use reqwest::{Client, Version};
use serde_json::{Value, json};
use std::sync::OnceLock;

use super::*;
use crate::ledger::Verdict;
use crate::push_faults::Rates;
use crate::tls::{ALPN_H2, ALPN_HTTP_1_1, Authority};

const EMAIL: &str = "push@example-mail.iam.gserviceaccount.com";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

struct Stage {
    google: Google,
    ledger: Arc<Ledger>,
    client: Client,
    base: String,
}

/// Making an RSA key takes a while; one serves all tests.
fn key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
}

async fn stage_with(change: impl FnOnce(&mut Options)) -> Stage {
    let authority = Authority::new();
    let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
    let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_H2, ALPN_HTTP_1_1]));
    let phones = Arc::new(Phones::new(false));
    phones.install("phone-1", "example-mail");
    phones.install("stranger", "another-project");
    phones.remove("gone", 1_000);
    let mut options = Options::new(tls, phones, Arc::clone(&ledger));
    change(&mut options);
    let google = Google::start(options).await.unwrap();
    google.set_account(EMAIL, key().public_key_raw());
    let root = reqwest::Certificate::from_pem(authority.ca_pem().as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).build().unwrap();
    let base = format!("https://localhost:{}", google.address().port());
    Stage { google, ledger, client, base }
}

async fn stage() -> Stage {
    stage_with(|_| {}).await
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn message_to(token: &str) -> Value {
    json!({"message": {
        "token": token,
        "notification": {"title": "New mail", "body": "You have new mail"},
        "data": {"pr_v": "1", "pr_k": "mail", "pr_n": "1", "pr_m": "ungWv48B"},
        "android": {"priority": "HIGH", "ttl": "60s", "notification": {"tag": "t"}},
    }})
}

impl Stage {
    fn claims(&self) -> Value {
        let aud = format!("{}/token", self.base);
        json!({"iss": EMAIL, "scope": SCOPE, "aud": aud, "iat": now_s(), "exp": now_s() + 3_600})
    }

    async fn grant(&self, grant_type: &str, claims: &Value) -> (u16, Value) {
        let key = EncodingKey::from_rsa_pem(key().serialize_pem().as_bytes()).unwrap();
        let assertion = jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap();
        let form = [("grant_type", grant_type), ("assertion", &assertion)];
        let url = format!("{}/token", self.base);
        let answer = self.client.post(url).form(&form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn access_token(&self) -> String {
        let (status, body) = self.grant(GRANT, &self.claims()).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn post(&self, project: &str, access: &str, message: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/projects/{project}/messages:send", self.base);
        self.client.post(url).bearer_auth(access).json(message)
    }

    async fn send(&self, access: &str, message: &Value) -> (u16, Value) {
        let answer = self.post("example-mail", access, message).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    fn verdict(&self) -> Verdict {
        self.ledger.judge()
    }
}

fn fcm_code(body: &Value) -> &str {
    body["error"]["details"][0]["errorCode"].as_str().unwrap_or("")
}

#[tokio::test]
async fn a_message_with_a_granted_token_is_taken_over_http2() {
    let stage = stage().await;
    let access = stage.access_token().await;
    let answer = stage.post("example-mail", &access, &message_to("phone-1")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    let body: Value = answer.json().await.unwrap();
    assert!(body["name"].as_str().unwrap().starts_with("projects/example-mail/messages/"));
    assert_eq!(stage.verdict().pushes_fcm, 1);
    assert_eq!(stage.verdict().misuse_count(), 0);
}

#[tokio::test]
async fn http_1_1_is_spoken_as_well() {
    let stage = stage().await;
    let access = stage.access_token().await;
    let request = stage.post("example-mail", &access, &message_to("phone-1"));
    let answer = request.version(Version::HTTP_11).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test]
async fn assertions_are_checked_for_grant_issuer_scope_audience_and_time() {
    let stage = stage().await;
    let error = |claims: Value| {
        let stage = &stage;
        async move { stage.grant(GRANT, &claims).await }
    };
    let with = |name: &str, value: Value| {
        let mut claims = stage.claims();
        claims[name] = value;
        claims
    };
    let (status, body) = stage.grant("password", &stage.claims()).await;
    assert_eq!((status, &body["error"]), (400, &json!("unsupported_grant_type")));
    for (name, value, expected) in [
        ("iss", json!("somebody@example.com"), "invalid_grant"),
        ("scope", json!("https://www.googleapis.com/auth/drive"), "invalid_scope"),
        ("aud", json!("https://example.com/token"), "invalid_grant"),
        ("exp", json!(now_s() + 7_200), "invalid_grant"),
        ("exp", json!(now_s() - 1), "invalid_grant"),
        ("iat", json!(now_s() + 1_000), "invalid_grant"),
    ] {
        let (status, body) = error(with(name, value)).await;
        assert_eq!((status, &body["error"]), (400, &json!(expected)), "{name}");
    }
    assert_eq!(stage.verdict().misuse_count(), 7);
}

#[tokio::test]
async fn devices_that_are_gone_foreign_or_unknown_are_told_apart_and_nobody_is_blamed() {
    let stage = stage().await;
    let access = stage.access_token().await;
    let (status, body) = stage.send(&access, &message_to("gone")).await;
    assert_eq!((status, fcm_code(&body)), (404, "UNREGISTERED"));
    let (status, body) = stage.send(&access, &message_to("stranger")).await;
    assert_eq!((status, fcm_code(&body)), (403, "SENDER_ID_MISMATCH"));
    stage.google.phones().lock_out("an-iphone");
    let (status, body) = stage.send(&access, &message_to("an-iphone")).await;
    assert_eq!((status, fcm_code(&body)), (401, "THIRD_PARTY_AUTH_ERROR"));
    assert_eq!(stage.send(&access, &message_to("phone-1")).await.0, 200, "that concerned one token");
    let (status, body) = stage.send(&access, &message_to("unknown")).await;
    assert_eq!((status, fcm_code(&body)), (400, "INVALID_ARGUMENT"));
    assert_eq!(body["error"]["details"].as_array().unwrap().len(), 1, "the field is not named");
    assert_eq!(stage.verdict().misuse_count(), 0);
    let stage = stage_with(|options| options.names_violations = true).await;
    let (_, body) = stage.send(&stage.access_token().await, &message_to("unknown")).await;
    assert_eq!(fcm_code(&body), "INVALID_ARGUMENT");
    assert_eq!(body["error"]["details"][1]["fieldViolations"][0]["field"], "message.token");
}

#[tokio::test]
async fn the_wider_scope_of_googles_own_sdks_is_good_enough_and_a_request_for_a_token_may_be_json() {
    let stage = stage().await;
    let mut claims = stage.claims();
    claims["scope"] = json!("https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(stage.grant(GRANT, &claims).await.0, 200);
    let key = EncodingKey::from_rsa_pem(key().serialize_pem().as_bytes()).unwrap();
    let assertion = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap();
    let body = json!({"grant_type": GRANT, "assertion": assertion});
    let ask = |kind: &'static str| {
        let request = stage.client.post(format!("{}/token", stage.base)).header("content-type", kind);
        request.body(body.to_string()).send()
    };
    assert_eq!(ask("application/json").await.unwrap().status().as_u16(), 200);
    assert_eq!(stage.verdict().misuse_count(), 0);
    assert_eq!(ask("text/plain").await.unwrap().status().as_u16(), 400);
}

#[tokio::test]
async fn a_message_must_say_that_it_is_json_and_one_to_a_topic_reaches_no_device_here() {
    let stage = stage().await;
    let access = stage.access_token().await;
    let url = format!("{}/v1/projects/example-mail/messages:send", stage.base);
    let plain = stage.client.post(url).bearer_auth(&access).header("content-type", "text/plain");
    let answer = plain.body(message_to("phone-1").to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    assert_eq!(stage.verdict().misuse[0].rule, "content-type");
    let (status, body) = stage.send(&access, &json!({"message": {"topic": "news", "notification": {"title": "x"}}})).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!((stage.verdict().pushes_fcm, stage.verdict().misuse_count()), (0, 1));
}

#[tokio::test]
async fn a_foreign_project_is_a_404_in_which_fcm_has_no_say() {
    let stage = stage().await;
    let access = stage.access_token().await;
    let answer = stage.post("other", &access, &message_to("gone")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["error"]["status"], fcm_code(&body)), (&json!("NOT_FOUND"), ""));
}

#[tokio::test]
async fn access_tokens_unknown_or_taken_back_are_refused_and_only_the_first_is_blamed() {
    let stage = stage().await;
    let access = stage.access_token().await;
    stage.google.expire_tokens();
    assert_eq!(stage.send(&access, &message_to("phone-1")).await.0, 401);
    assert_eq!(stage.verdict().misuse_count(), 0);
    assert_eq!(stage.send("ya29.made-up", &message_to("phone-1")).await.0, 401);
    assert_eq!(stage.verdict().misuse[0].rule, "access-token-unknown");
}

#[tokio::test]
async fn the_quota_ends_in_429_with_the_time_to_wait() {
    let stage = stage_with(|options| options.quota_per_minute = 2).await;
    let access = stage.access_token().await;
    for _ in 0..2 {
        assert_eq!(stage.send(&access, &message_to("phone-1")).await.0, 200);
    }
    let answer = stage.post("example-mail", &access, &message_to("phone-1")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(fcm_code(&answer.json().await.unwrap()), "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn malformed_messages_are_refused_and_blamed() {
    let stage = stage().await;
    let access = stage.access_token().await;
    let (status, body) = stage.send(&access, &json!({"message": {"token": 1}})).await;
    assert_eq!((status, fcm_code(&body)), (400, ""), "the front end refuses it before FCM sees it");
    assert!(body["error"]["details"][0]["fieldViolations"].is_array());
    assert_eq!(stage.verdict().misuse[0].rule, "message-not-readable");
}

#[tokio::test]
async fn injected_refusals_carry_their_documented_codes_and_blame_nobody() {
    let burst = Rates { bursts: 1, burst_ms: 60_000, ..Rates::default() };
    for (rates, status, code) in [
        (Rates { too_many: 10_000, ..burst }, 429, "QUOTA_EXCEEDED"),
        (Rates { internal: 10_000, ..burst }, 500, "INTERNAL"),
        (Rates { outage: 10_000, ..burst }, 503, "UNAVAILABLE"),
        (Rates { forbidden: 10_000, ..burst }, 401, ""),
        (Rates { gone: 10_000, ..burst }, 404, "UNREGISTERED"),
    ] {
        let faults = Arc::new(PushFaults::with_rates(1, rates));
        let stage = stage_with(|options| options.faults = faults).await;
        let access = stage.access_token().await;
        let (got, body) = stage.send(&access, &message_to("phone-1")).await;
        assert_eq!((got, fcm_code(&body)), (status, code));
        assert_eq!(stage.verdict().misuse_count(), 0);
    }
}

#[tokio::test]
async fn a_cut_before_loses_the_message_and_a_cut_after_has_taken_it() {
    for (rates, taken) in [(Rates { cut_before: 10_000, ..Rates::default() }, 0), (Rates { cut_after: 10_000, ..Rates::default() }, 1)] {
        let faults = Arc::new(PushFaults::with_rates(1, rates));
        let stage = stage_with(|options| options.faults = faults).await;
        let access = stage.access_token().await;
        let request = stage.post("example-mail", &access, &message_to("phone-1"));
        assert!(request.send().await.is_err());
        assert_eq!(stage.verdict().pushes_fcm, taken);
    }
}

#[tokio::test]
async fn a_goodbye_answers_what_was_taken_and_the_next_connection_serves_on() {
    let rates = Rates { go_away: 10_000, ..Rates::default() };
    let faults = Arc::new(PushFaults::with_rates(1, rates));
    let stage = stage_with(|options| options.faults = faults).await;
    let access = stage.access_token().await;
    for _ in 0..3 {
        assert_eq!(stage.send(&access, &message_to("phone-1")).await.0, 200);
    }
    assert_eq!(stage.verdict().pushes_fcm, 3);
}
