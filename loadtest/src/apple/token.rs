//! Provider tokens: ES256 signatures of known keys, not older than an hour, and not renewed too often.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::refusal::{Reason, Refusal};

/// "The token's issued-at time must be within the last hour" (Apple, establishing a token-based connection to APNs).
const MAX_AGE_S: i64 = 3_600;
/// Clocks differ; a token from further in the future is not believed.
const MAX_AHEAD_S: i64 = 300;
/// So many tokens of one key may be shown for the first time within the time that one must last. Apple publishes no figure, and refuses those
/// who sign a token for every push.
const TOKENS_OF_A_KEY: usize = 32;
/// Tokens whose signature was checked are remembered, so many at a time.
const REMEMBERED: usize = 1_024;

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    iat: Option<i64>,
}

/// A token whose signature and issuer were found good.
#[derive(Debug)]
pub(super) struct Provider {
    text: Box<str>,
    issued_at_s: i64,
    revoked: AtomicBool,
}

struct Key {
    team: Box<str>,
    public: DecodingKey,
}

/// The keys that Apple gave out, and the tokens seen of them.
pub(super) struct ProviderTokens {
    keys: RwLock<HashMap<Box<str>, Key>>,
    seen: RwLock<HashMap<Box<str>, Arc<Provider>>>,
    min_update: Duration,
    /// When the latest tokens of each key were first shown, on whatever connection.
    shown: Mutex<HashMap<Box<str>, VecDeque<Instant>>>,
}

/// The token that a connection uses.
#[derive(Default)]
pub(super) struct ConnectionToken {
    current: Option<Arc<Provider>>,
}

impl ProviderTokens {
    pub(super) fn new(min_update: Duration) -> Self {
        Self { keys: RwLock::default(), seen: RwLock::default(), min_update, shown: Mutex::default() }
    }

    /// Registers the public half (an uncompressed P-256 point) of a key of `team`.
    pub(super) fn add_key(&self, kid: &str, team: &str, public_point: &[u8]) {
        let key = Key { team: team.into(), public: DecodingKey::from_ec_der(public_point) };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(kid.into(), key);
    }

    /// From here on every token seen so far counts as expired.
    pub(super) fn expire_all(&self) {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        for token in seen.values() {
            token.revoked.store(true, Ordering::Relaxed);
        }
    }

    /// Judges the `authorization` header of one request.
    pub(super) fn check(&self, connection: &mut ConnectionToken, header: Option<&[u8]>, now_s: i64) -> Result<(), Refusal> {
        let text = bearer(header)?;
        let provider = match &connection.current {
            Some(current) if &*current.text == text => Arc::clone(current),
            _ => self.find(text)?,
        };
        provider.fresh(now_s)?;
        if self.may_show(connection, &provider)? {
            connection.current = Some(provider);
        }
        Ok(())
    }

    fn find(&self, text: &str) -> Result<Arc<Provider>, Refusal> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = seen.get(text) {
            return Ok(Arc::clone(provider));
        }
        drop(seen);
        let (provider, kid) = self.verify(text)?;
        self.count(&kid)?;
        let provider = Arc::new(provider);
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(text.into(), Arc::clone(&provider));
        Ok(provider)
    }

    /// Several processes may share a key, each with a token of its own; one that signs for every connection or push shows more than they
    /// can need.
    fn count(&self, kid: &str) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let times = shown.entry(kid.into()).or_default();
        while times.front().is_some_and(|at| now.duration_since(*at) >= self.min_update) {
            times.pop_front();
        }
        if times.len() >= TOKENS_OF_A_KEY {
            let detail = format!("{} tokens of one key", times.len() + 1);
            return Err(Refusal::misuse(Reason::TooManyProviderTokenUpdates, "provider-token-for-every-push", detail));
        }
        times.push_back(now);
        Ok(())
    }

    fn verify(&self, text: &str) -> Result<(Provider, String), Refusal> {
        let invalid = |detail: &str| Refusal::misuse(Reason::InvalidProviderToken, "invalid-provider-token", detail);
        let header = jsonwebtoken::decode_header(text).map_err(|_| invalid("not a JWT"))?;
        if header.alg != Algorithm::ES256 {
            return Err(invalid("not signed with ES256"));
        }
        let kid = header.kid.ok_or_else(|| invalid("no kid"))?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(&*kid).ok_or_else(|| invalid("unknown kid"))?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(text, &key.public, &validation)
            .map_err(|_| invalid("the signature or the claims are wrong"))?
            .claims;
        if claims.iss.as_deref() != Some(&*key.team) {
            return Err(invalid("iss is not the key's team"));
        }
        let issued_at_s = claims.iat.ok_or_else(|| invalid("no iat"))?;
        Ok((Provider { text: text.into(), issued_at_s, revoked: AtomicBool::new(false) }, kid))
    }

    /// Whether this becomes the connection's token. A connection may change to one issued `min_update` after the former one, or at
    /// any time when that was expired; a request that still carries an older one was on its way when the change came.
    fn may_show(&self, connection: &ConnectionToken, next: &Arc<Provider>) -> Result<bool, Refusal> {
        let Some(current) = &connection.current else {
            return Ok(true);
        };
        let apart_s = next.issued_at_s - current.issued_at_s;
        if current.revoked.load(Ordering::Relaxed) || apart_s >= self.min_update.as_secs() as i64 {
            return Ok(true);
        }
        if current.text == next.text || apart_s < 0 {
            return Ok(false);
        }
        Err(Refusal::misuse(
            Reason::TooManyProviderTokenUpdates,
            "provider-token-renewed-too-often",
            format!("issued {apart_s} s after the former one"),
        ))
    }
}

impl Provider {
    fn fresh(&self, now_s: i64) -> Result<(), Refusal> {
        if self.revoked.load(Ordering::Relaxed) {
            return Err(Refusal::plain(Reason::ExpiredProviderToken));
        }
        let age_s = now_s - self.issued_at_s;
        if age_s > MAX_AGE_S {
            return Err(Refusal::misuse(Reason::ExpiredProviderToken, "provider-token-not-renewed", format!("{age_s} s old")));
        }
        if age_s < -MAX_AHEAD_S {
            return Err(Refusal::misuse(Reason::InvalidProviderToken, "invalid-provider-token", "issued in the future"));
        }
        Ok(())
    }
}

fn bearer(header: Option<&[u8]>) -> Result<&str, Refusal> {
    let missing = || Refusal::misuse(Reason::MissingProviderToken, "missing-provider-token", "no bearer token in the authorization header");
    let header = std::str::from_utf8(header.ok_or_else(missing)?).map_err(|_| missing())?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => Ok(token),
        _ => Err(missing()),
    }
}
