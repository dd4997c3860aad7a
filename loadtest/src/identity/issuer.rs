//! The company's issuer of tokens for phone users: well-formed ones, and every kind that must be refused.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::keys::{self, Key};

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// By the issuer's RSA key, PKCS#1 v1.5.
    #[default]
    Rs256,
    /// By the issuer's RSA key, PSS.
    Ps256,
    /// By the issuer's P-256 key.
    Es256,
    /// Not at all: `alg` is `none`.
    None,
    /// With HMAC, the published RSA modulus as its secret: the confusion of algorithms that careless verifiers fall for.
    HmacOfPublicKey,
    /// By a key that nobody publishes, under the issuer's key id.
    Stranger,
}

/// What a token says where it differs from a good one.
#[derive(Clone, Debug, Default)]
pub struct Mint {
    /// How it is signed.
    pub signing: Signing,
    /// `iss`; the issuer's own when absent.
    pub issuer: Option<String>,
    /// `aud`; the issuer's own when absent.
    pub audience: Option<String>,
    /// `kid`; the signing key's own when absent.
    pub key_id: Option<String>,
    /// Seconds from now until `exp`; an hour when absent, may lie in the past.
    pub expires_in: Option<i64>,
    /// Seconds from now until `nbf`; now when absent.
    pub not_before: Option<i64>,
    /// Claims to add or to replace; null takes a claim away.
    pub claims: Map<String, Value>,
}

/// Signs tokens and publishes its keys.
pub struct Issuer {
    url: String,
    audience: String,
    state: Mutex<State>,
}

struct State {
    rotation: u32,
    keys: Vec<Key>,
    /// Still published, no longer used.
    former: Vec<Key>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Issuer {
    /// An issuer of that URL whose tokens are for `audience`.
    pub fn new(url: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            audience: audience.into(),
            state: Mutex::new(State { rotation: 1, keys: keys::generate(1), former: Vec::new() }),
        }
    }

    /// `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `aud` of its tokens.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// A token for the phone user of this address: claims `email`, `preferred_username`, `upn`, `sub`.
    pub fn mint(&self, email: &str, mint: &Mint) -> String {
        let state = self.lock();
        let wanted = match mint.signing {
            Signing::Ps256 => Algorithm::PS256,
            Signing::Es256 => Algorithm::ES256,
            _ => Algorithm::RS256,
        };
        let key = state.keys.iter().find(|key| key.algorithm == wanted);
        let key = key.expect("there is a key for each algorithm");
        let claims = Value::Object(self.claims(email, mint));
        let kid = Some(mint.key_id.clone().unwrap_or_else(|| key.id.clone()));
        let sign = |algorithm, key: &EncodingKey| {
            let header = Header { kid: kid.clone(), ..Header::new(algorithm) };
            encode(&header, &claims, key).expect("plain claims and a matching key make a token")
        };
        match mint.signing {
            Signing::None => unsigned(kid.as_deref(), &claims),
            Signing::HmacOfPublicKey => {
                let public = key.public().and_then(|jwk| serde_json::to_value(jwk).ok());
                let modulus = public.and_then(|jwk| jwk["n"].as_str().map(str::to_owned));
                let secret = modulus.unwrap_or_default();
                sign(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()))
            }
            Signing::Stranger => sign(Algorithm::RS256, keys::stranger()),
            Signing::Rs256 | Signing::Ps256 | Signing::Es256 => sign(wanted, &key.private),
        }
    }

    /// New keys sign from here on; the former ones stay published if `keep` says so, else their tokens are worthless.
    pub fn rotate(&self, keep: bool) {
        let mut state = self.lock();
        state.rotation += 1;
        let fresh = keys::generate(state.rotation);
        let former = std::mem::replace(&mut state.keys, fresh);
        state.former = if keep { former } else { Vec::new() };
    }

    /// The JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> Value {
        let state = self.lock();
        let all = state.keys.iter().chain(&state.former);
        let keys: Vec<Value> = all.filter_map(Key::public).filter_map(|jwk| serde_json::to_value(jwk).ok()).collect();
        json!({ "keys": keys })
    }

    /// The discovery document (OpenID Connect Discovery 1.0).
    pub fn discovery(&self) -> Value {
        let url = self.url.trim_end_matches('/');
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{url}/jwks"),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
        })
    }

    fn claims(&self, email: &str, mint: &Mint) -> Map<String, Value> {
        let now = Timestamp::now().as_second();
        let mut claims = Map::new();
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("iss", json!(mint.issuer.as_deref().unwrap_or(&self.url)));
        set("aud", json!(mint.audience.as_deref().unwrap_or(&self.audience)));
        set("iat", json!(now));
        set("nbf", json!(now + mint.not_before.unwrap_or(0)));
        set("exp", json!(now + mint.expires_in.unwrap_or(3600)));
        let subject = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, email.as_bytes());
        set("sub", json!(subject.to_string()));
        for name in ["email", "preferred_username", "upn"] {
            set(name, json!(email));
        }
        for (name, value) in &mint.claims {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unsigned(kid: Option<&str>, claims: &Value) -> String {
    let header = json!({ "alg": "none", "typ": "JWT", "kid": kid });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&header), part(claims))
}
