//! The provider token: a JWT signed with the key, one for each key and process, renewed at a time of its own between 20 and 50 minutes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider_actors::time::{Monotonic, Timestamp};
use rand::Rng;
use serde::Serialize;

use super::error::ApnsError;
use crate::config::secret::Secret;

/// Apple refuses a token that is older than an hour, and one that follows its predecessor within 20 minutes; nodes that share a key spread out between.
const RENEW_BETWEEN: (Duration, Duration) = (Duration::from_secs(21 * 60), Duration::from_secs(50 * 60));
/// Apple asks for at most one new token in so long.
const APART: Duration = Duration::from_secs(20 * 60);
/// The wall clock jumped if it gained or lost this much on the monotonic one since a token was signed.
const JUMP: Duration = Duration::from_secs(10);

/// The claims of a provider token (Apple, "Establishing a token-based connection to APNs").
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
}

/// A token in use; which one it is counts when it is refused.
#[derive(Clone)]
pub struct Token {
    /// The value of the `authorization` header, marked as sensitive.
    pub header: HeaderValue,
    number: u64,
    renew_at: Monotonic,
    /// How far the wall clock was ahead of the monotonic one when it was signed, in microseconds.
    ahead: i64,
}

impl Token {
    /// Whether the wall clock was set since it was signed: its time of issue may have been what Apple refused.
    fn clock_jumped(&self, now: Timestamp, monotonic: Monotonic) -> bool {
        let moved = ahead(now, monotonic).abs_diff(self.ahead);
        Duration::from_micros(moved) > JUMP
    }
}

fn ahead(now: Timestamp, monotonic: Monotonic) -> i64 {
    now.0.saturating_sub(monotonic.0)
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(number {})", self.number)
    }
}

/// Why a token is signed out of its turn. Each at most once in [`APART`], unless a token worked in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Apple refused the one before.
    Refused,
    /// Apple refused it, and the clock was set since it was signed.
    Clock,
}

/// What is in use, and what was done about refusals.
#[derive(Default)]
struct InUse {
    token: Option<Token>,
    /// Since when Apple refuses it.
    refused_since: Option<Monotonic>,
    signed_at: [Option<Monotonic>; 2],
}

impl InUse {
    fn may_sign(&self, why: Why, monotonic: Monotonic) -> bool {
        self.signed_at[why as usize].is_none_or(|at| monotonic.since(at) >= APART)
    }
}

/// A signing key and its token.
pub struct ProviderToken {
    key: EncodingKey,
    key_id: String,
    team_id: String,
    /// How long a refusal is taken for granted before another token is signed: the first pause of the channel.
    pause: Duration,
    current: Mutex<InUse>,
    /// Something was refused since a token worked last.
    doubtful: AtomicBool,
}

impl std::fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProviderToken(key {})", self.key_id)
    }
}

impl ProviderToken {
    /// Takes a key and proves that it signs.
    ///
    /// # Errors
    /// [`ApnsError::Key`].
    pub fn new(team_id: &str, key_id: &str, key: &Secret, pause: Duration) -> Result<Self, ApnsError> {
        let (key, key_id, team_id) = (parse_key(key)?, key_id.to_owned(), team_id.to_owned());
        Ok(Self { key, key_id, team_id, pause, current: Mutex::default(), doubtful: AtomicBool::new(false) })
    }

    /// The token to use; a fresh one if it is time, or if the one in use is refused and may be replaced.
    ///
    /// # Errors
    /// [`ApnsError::Key`] when the key does not sign.
    pub fn current(&self, now: Timestamp, monotonic: Monotonic) -> Result<Token, ApnsError> {
        let mut current = self.in_use();
        let Some(token) = current.token.as_ref().filter(|token| monotonic < token.renew_at) else {
            return self.replace(&mut current, None, now, monotonic);
        };
        let Some(since) = current.refused_since else { return Ok(token.clone()) };
        let clock = token.clock_jumped(now, monotonic) && current.may_sign(Why::Clock, monotonic);
        let paused = monotonic.since(since) >= self.pause && current.may_sign(Why::Refused, monotonic);
        match (clock, paused) {
            (true, _) => self.replace(&mut current, Some(Why::Clock), now, monotonic),
            (_, true) => self.replace(&mut current, Some(Why::Refused), now, monotonic),
            _ => Ok(token.clone()),
        }
    }

    /// A token other than `refused` that is worth another try at once: one that was signed meanwhile; one for one that has expired; one after the clock was set.
    ///
    /// # Errors
    /// [`ApnsError::Key`] when the key does not sign.
    pub fn refused(&self, refused: &Token, expired: bool, now: Timestamp, monotonic: Monotonic) -> Result<Option<Token>, ApnsError> {
        let mut current = self.in_use();
        if let Some(other) = current.token.as_ref().filter(|token| token.number != refused.number) {
            return Ok(Some(other.clone()));
        }
        self.doubtful.store(true, Ordering::Release);
        current.refused_since.get_or_insert(monotonic);
        if refused.clock_jumped(now, monotonic) && current.may_sign(Why::Clock, monotonic) {
            return self.replace(&mut current, Some(Why::Clock), now, monotonic).map(Some);
        }
        if expired && current.may_sign(Why::Refused, monotonic) {
            return self.replace(&mut current, Some(Why::Refused), now, monotonic).map(Some);
        }
        Ok(None)
    }

    /// Apple took the token: refusals before that are over.
    pub fn works(&self, token: &Token) {
        if !self.doubtful.load(Ordering::Relaxed) {
            return;
        }
        let mut current = self.in_use();
        if current.token.as_ref().is_some_and(|held| held.number == token.number) {
            (current.refused_since, current.signed_at) = (None, [None; 2]);
            self.doubtful.store(false, Ordering::Release);
        }
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        // It is whole after any of its operations.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, current: &mut InUse, why: Option<Why>, now: Timestamp, monotonic: Monotonic) -> Result<Token, ApnsError> {
        let claims = Claims { iss: &self.team_id, iat: now.epoch_seconds() };
        let jwt = sign(&self.key, &self.key_id, &claims)?;
        let mut header = HeaderValue::try_from(format!("bearer {jwt}")).expect("a JWT is base64url and dots");
        header.set_sensitive(true);
        let lifetime = rand::rng().random_range(RENEW_BETWEEN.0..RENEW_BETWEEN.1);
        let number = current.token.as_ref().map_or(0, |token| token.number + 1);
        let token = Token { header, number, renew_at: monotonic + lifetime, ahead: ahead(now, monotonic) };
        current.token = Some(token.clone());
        current.refused_since = None;
        if let Some(why) = why {
            current.signed_at[why as usize] = Some(monotonic);
        }
        Ok(token)
    }
}

/// Reads a `.p8` and proves that it signs ES256.
pub(super) fn parse_key(key: &Secret) -> Result<EncodingKey, ApnsError> {
    let key = EncodingKey::from_ec_pem(key.expose().as_bytes()).map_err(|_| ApnsError::Key("no EC private key in PEM"))?;
    sign(&key, "trial", &Claims { iss: "trial", iat: 0 })?;
    Ok(key)
}

fn sign(key: &EncodingKey, key_id: &str, claims: &Claims<'_>) -> Result<String, ApnsError> {
    let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, claims, key).map_err(|_| ApnsError::Key("an EC key, but not on the curve P-256"))
}

/// The tokens of all credentials: apps that share a key share its token, for Apple counts renewals by key.
#[derive(Debug)]
pub struct ProviderTokens {
    by_key: BTreeMap<(String, String), Arc<ProviderToken>>,
    pause: Duration,
}

impl ProviderTokens {
    /// None yet; a channel whose credentials are refused rests for `pause` first.
    #[must_use]
    pub fn new(pause: Duration) -> Self {
        Self { by_key: BTreeMap::new(), pause }
    }

    /// The token of a key; the key is read the first time it is named.
    ///
    /// # Errors
    /// [`ApnsError::Key`].
    pub fn of(&mut self, team_id: &str, key_id: &str, key: &Secret) -> Result<Arc<ProviderToken>, ApnsError> {
        let name = (team_id.to_owned(), key_id.to_owned());
        if let Some(token) = self.by_key.get(&name) {
            // The same id with another key would be a mistake of the configuration that only one of its apps notices.
            parse_key(key)?;
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(ProviderToken::new(team_id, key_id, key, self.pause)?);
        self.by_key.insert(name, Arc::clone(&token));
        Ok(token)
    }
}
