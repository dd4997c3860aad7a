//! The identity provider, asked as its clients ask: real HTTPS requests.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::*;
use crate::tls::{ALPN_HTTP_1_1, Authority};
use crate::witness::{Gone, MailFact, Misuse, Witness};

#[derive(Default)]
struct Rules(Mutex<Vec<&'static str>>);

impl Witness for Rules {
    fn mail_delivered(&self, _: &MailFact) {}
    fn mail_gone(&self, _: &str, _: &str, _: Gone) {}
    fn mail_unread(&self, _: &str, _: &str) {}
    fn mail_renamed(&self, _: &str, _: &str, _: &str) {}
    fn hint_on_wire(&self, _: &str, _: &str, _: Instant) {}
    fn unread_count(&self, _: &str, _: u64) {}
    fn misuse(&self, what: Misuse) {
        self.0.lock().unwrap().push(what.rule);
    }
}

struct Provider {
    accounts: Arc<Accounts>,
    rules: Arc<Rules>,
    server: Server,
    http: reqwest::Client,
}

async fn provider() -> Provider {
    let authority = Authority::new();
    let accounts = Arc::new(Accounts::new([]));
    let rules = Arc::new(Rules::default());
    let tls = Arc::new(authority.server_config(&["localhost"], &[ALPN_HTTP_1_1]));
    let mut options = IdentityOptions::new(accounts.clone(), rules.clone(), tls);
    options.certificates = vec![certificate().0.clone()];
    options.resources.push("https://graph.microsoft.com".to_owned());
    options.clients = vec![Client { id: "app".to_owned(), secret: "s&=1".to_owned() }];
    let server = Server::start(options).await.unwrap();
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(authority.client_config(&[ALPN_HTTP_1_1]))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    Provider { accounts, rules, server, http }
}

impl Provider {
    async fn ask(&self, tenant: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.server.base_url());
        let response = self.http.post(url).form(form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.server.base_url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }
}

const GOOD: [(&str, &str); 4] = [
    ("grant_type", "client_credentials"),
    ("client_id", "app"),
    ("client_secret", "s&=1"),
    ("scope", "https://outlook.office365.com/.default"),
];

fn but(name: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    GOOD.iter().map(|(k, v)| (*k, if *k == name { value } else { v })).collect()
}

#[tokio::test]
async fn the_right_secret_gets_a_token_that_exchange_takes() {
    let provider = provider().await;
    let (status, body) = provider.ask("corp.example", &GOOD).await;
    assert_eq!((status, &body["token_type"], &body["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    let header = format!("Bearer {}", body["access_token"].as_str().unwrap());
    let audience = ["https://outlook.office365.com/".to_owned()];
    assert_eq!(provider.accounts.check(Some(&header), &audience).as_deref(), Ok("app"));
    assert_eq!(provider.server.tokens_issued(), 1);
}

#[tokio::test]
async fn each_mistake_gets_the_error_that_entra_gives_it() {
    let provider = provider().await;
    let cases = [
        ("nowhere.example", GOOD.to_vec(), 400, "invalid_request", 90_002),
        ("corp.example", but("client_secret", "wrong"), 401, "invalid_client", 7_000_215),
        ("corp.example", but("client_secret", ""), 401, "invalid_client", 7_000_218),
        ("corp.example", but("client_id", "other"), 400, "unauthorized_client", 700_016),
        ("corp.example", but("scope", "Mail.Read"), 400, "invalid_scope", 1_002_012),
        ("corp.example", but("scope", "https://x.example/.default"), 400, "invalid_resource", 500_011),
        ("corp.example", but("grant_type", "password"), 400, "unsupported_grant_type", 70_003),
        ("corp.example", but("scope", ""), 400, "invalid_request", 900_144),
    ];
    for (tenant, form, status, error, number) in cases {
        let (got, body) = provider.ask(tenant, &form).await;
        assert_eq!((got, body["error"].as_str(), body["error_codes"][0].as_u64()), (status, Some(error), Some(number)));
    }
    assert_eq!(provider.rules.0.lock().unwrap().len(), 4, "only broken requests are misuse");
    provider.server.fail_next([429, 503]);
    assert_eq!(provider.ask("corp.example", &GOOD).await.0, 429);
    assert_eq!(provider.ask("corp.example", &GOOD).await.0, 503);
    assert_eq!(provider.ask("corp.example", &GOOD).await.0, 200);
}

/// Whether a careful verifier takes the token by the published keys.
async fn accepted(provider: &Provider, token: &str) -> bool {
    let jwks: JwkSet = serde_json::from_value(provider.get("/jwks").await).unwrap();
    let Ok(header) = decode_header(token) else {
        return false;
    };
    let Some(jwk) = header.kid.and_then(|kid| jwks.find(&kid).cloned()) else {
        return false;
    };
    let published: Algorithm = jwk.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut validation = Validation::new(published);
    validation.set_audience(&["postrider"]);
    validation.set_issuer(&[provider.server.base_url()]);
    validation.validate_nbf = true;
    validation.leeway = 0;
    decode::<Value>(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).is_ok()
}

#[tokio::test]
async fn good_tokens_verify_by_the_published_keys_and_bad_ones_do_not() {
    let provider = provider().await;
    let issuer = provider.server.issuer().clone();
    let discovery = provider.get("/.well-known/openid-configuration").await;
    assert_eq!(discovery["issuer"], issuer.url());
    let with = |change: fn(&mut Mint)| {
        let mut mint = Mint::default();
        change(&mut mint);
        issuer.mint("anna@corp.example", &mint)
    };
    for signing in [Signing::Rs256, Signing::Ps256, Signing::Es256] {
        let mint = Mint { signing, ..Mint::default() };
        assert!(accepted(&provider, &issuer.mint("anna@corp.example", &mint)).await, "{signing:?}");
    }
    let bad = [
        with(|m| m.signing = Signing::None),
        with(|m| m.signing = Signing::HmacOfPublicKey),
        with(|m| m.signing = Signing::Stranger),
        with(|m| m.expires_in = Some(-10)),
        with(|m| m.not_before = Some(600)),
        with(|m| m.audience = Some("other".to_owned())),
        with(|m| m.issuer = Some("https://other.example".to_owned())),
        with(|m| m.key_id = Some("unknown".to_owned())),
    ];
    for token in bad {
        assert!(!accepted(&provider, &token).await);
    }
    let old = with(|_| {});
    issuer.rotate(true);
    assert!(accepted(&provider, &old).await, "kept for a while");
    issuer.rotate(false);
    assert!(!accepted(&provider, &old).await);
    assert!(accepted(&provider, &with(|_| {})).await);
}

/// The certificate of `app` and the key that belongs to it.
fn certificate() -> &'static (ClientCertificate, jsonwebtoken::EncodingKey) {
    static MADE: std::sync::OnceLock<(ClientCertificate, jsonwebtoken::EncodingKey)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let der = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        let public_key = key.public_key_raw().to_vec();
        let private = jsonwebtoken::EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
        (ClientCertificate { client_id: "app".to_owned(), der, public_key }, private)
    })
}

const SCOPE: (&str, &str) = ("scope", "https://outlook.office365.com/.default");
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn a_secret_in_the_header_is_as_good_as_one_in_the_form_but_not_both() {
    let provider = provider().await;
    let url = format!("{}/corp.example/oauth2/v2.0/token", provider.server.base_url());
    let ask = async |id: &str, secret: &str, form: &[(&str, &str)]| {
        let response = provider.http.post(&url).basic_auth(id, Some(secret)).form(form).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap()["error_codes"][0].as_u64())
    };
    // "s&=1", encoded like a form's field (RFC 6749, section 2.3.1).
    assert_eq!(ask("app", "s%26%3D1", &[GRANT, SCOPE]).await.0, 200);
    assert_eq!(ask("app", "s%26%3D1", &[GRANT, SCOPE, ("client_id", "app")]).await.0, 200);
    assert_eq!(ask("app", "wrong", &[GRANT, SCOPE]).await, (401, Some(7_000_215)));
    assert_eq!(ask("other", "s%26%3D1", &[GRANT, SCOPE]).await, (400, Some(700_016)));
    assert!(provider.rules.0.lock().unwrap().is_empty());
    assert_eq!(ask("app", "s%26%3D1", &GOOD).await, (400, Some(900_144)));
    assert_eq!(provider.rules.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_assertion_counts_when_a_known_certificate_signed_it_for_this_endpoint_and_its_time_is_not_over() {
    use base64::Engine as _;
    let provider = provider().await;
    let (known, key) = certificate();
    let url = format!("{}/corp.example/oauth2/v2.0/token", provider.server.base_url());
    let now = jiff::Timestamp::now().as_second();
    let hash = |algorithm| {
        let hash = aws_lc_rs::digest::digest(algorithm, &known.der);
        Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash))
    };
    let (sha1, sha256) = (&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &aws_lc_rs::digest::SHA256);
    let good = || json!({"aud": url, "iss": "app", "sub": "app", "jti": "1", "nbf": now as f64 + 0.25, "exp": now as f64 + 300.5});
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    let header = |algorithm, x5t, x5t_s256| jsonwebtoken::Header { x5t, x5t_s256, ..jsonwebtoken::Header::new(algorithm) };
    let old = || header(Algorithm::RS256, hash(sha1), None);
    let new = || header(Algorithm::PS256, None, hash(sha256));
    let cases = [
        ("SHA-1", old(), good(), None),
        ("SHA-256", new(), good(), None),
        ("no thumbprint", header(Algorithm::RS256, None, None), good(), Some(700_027)),
        ("thumbprint of another", header(Algorithm::PS256, None, hash(sha1)), good(), Some(700_027)),
        ("audience", new(), with("aud", json!("https://elsewhere.example")), Some(700_023)),
        ("issuer", new(), with("iss", json!("other")), Some(700_021)),
        ("over", new(), with("exp", json!(now - 1_000)), Some(700_024)),
    ];
    for (what, header, claims, expected) in cases {
        let assertion = jsonwebtoken::encode(&header, &claims, key).unwrap();
        let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let form = [GRANT, SCOPE, ("client_id", "app"), kind, ("client_assertion", &assertion)];
        let (status, body) = provider.ask("corp.example", &form).await;
        assert_eq!(body["error_codes"][0].as_u64(), expected, "{what}: {body}");
        assert_eq!(status == 200, expected.is_none(), "{what}");
    }
}

#[tokio::test]
async fn what_the_documents_name_is_there() {
    let provider = provider().await;
    let base = provider.server.base_url().to_owned();
    let endpoint = format!("{base}/corp.example/oauth2/v2.0/authorize");
    let instance = provider.get(&format!("/common/discovery/instance?api-version=1.1&authorization_endpoint={endpoint}")).await;
    let document = instance["tenant_discovery_endpoint"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned();
    let all = provider.get("/common/v2.0/.well-known/openid-configuration").await;
    assert_eq!(all["issuer"], format!("{base}/{{tenantid}}/v2.0"));
    assert_eq!(provider.http.get(all["jwks_uri"].as_str().unwrap()).send().await.unwrap().status().as_u16(), 200);
    let elsewhere = provider.get("/common/discovery/instance?authorization_endpoint=https://x.example/t/oauth2/v2.0/authorize").await;
    assert_eq!(elsewhere["error"], "invalid_instance");
    assert_eq!(provider.get("/nowhere.example/v2.0/.well-known/openid-configuration").await["error_codes"][0], 90_002);
    for document in [document.as_str(), "/corp.example/.well-known/openid-configuration", "/.well-known/openid-configuration"] {
        let found = provider.get(document).await;
        let at = |name: &str| found[name].as_str().unwrap().to_owned();
        let token = provider.http.post(at("token_endpoint")).form(&GOOD).send().await.unwrap();
        assert_eq!(token.status().as_u16(), 200, "{document}");
        let keys = provider.http.get(at("jwks_uri")).send().await.unwrap().json::<Value>().await.unwrap();
        assert_eq!(keys, provider.get("/jwks").await, "{document}");
        let asked = format!("{}?response_type=code&redirect_uri=https://app.example/back&state=7", at("authorization_endpoint"));
        let to = provider.http.get(asked).send().await.unwrap().headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(to, "https://app.example/back?error=login_required&state=7", "{document}");
    }
    assert!(provider.rules.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_for_another_resource_is_not_taken_by_exchange() {
    let provider = provider().await;
    let (status, body) = provider.ask("corp.example", &but("scope", "https://graph.microsoft.com/.default")).await;
    assert_eq!(status, 200);
    let header = format!("Bearer {}", body["access_token"].as_str().unwrap());
    let exchange = ["https://outlook.office365.com".to_owned()];
    assert_eq!(provider.accounts.check(Some(&header), &exchange), Err(Refusal::InvalidToken));
}
