//! The provider token: a JWT signed with the key, one for each key and process, renewed at a time of its own between 20 and 50 minutes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
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
/// A token that took the place of a refused one and is refused this soon would not be helped by another: the clock is wrong, or the key.
const TOO_YOUNG_TO_RENEW: Duration = Duration::from_secs(2);

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
    made: Monotonic,
    /// Made because its predecessor was refused.
    after_refusal: bool,
    renew_at: Monotonic,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(number {})", self.number)
    }
}

/// A signing key and its token.
pub struct ProviderToken {
    key: EncodingKey,
    key_id: String,
    team_id: String,
    current: Mutex<Option<Token>>,
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
    pub fn new(team_id: &str, key_id: &str, key: &Secret) -> Result<Self, ApnsError> {
        let key = parse_key(key)?;
        Ok(Self { key, key_id: key_id.to_owned(), team_id: team_id.to_owned(), current: Mutex::new(None) })
    }

    /// The token to use; a fresh one if it is time.
    ///
    /// # Errors
    /// [`ApnsError::Key`] when the key does not sign.
    pub fn current(&self, now: Timestamp, monotonic: Monotonic) -> Result<Token, ApnsError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(token) if monotonic < token.renew_at => Ok(token.clone()),
            _ => self.replace(&mut current, false, now, monotonic),
        }
    }

    /// A token other than `refused`, which Apple says has expired; `None` if that is so young that another one would fare no better.
    ///
    /// # Errors
    /// [`ApnsError::Key`] when the key does not sign.
    pub fn renewed(&self, refused: &Token, now: Timestamp, monotonic: Monotonic) -> Result<Option<Token>, ApnsError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(token) if token.number != refused.number => Ok(Some(token.clone())),
            Some(token) if token.after_refusal && monotonic.since(token.made) < TOO_YOUNG_TO_RENEW => Ok(None),
            _ => self.replace(&mut current, true, now, monotonic).map(Some),
        }
    }

    fn replace(&self, current: &mut Option<Token>, after_refusal: bool, now: Timestamp, monotonic: Monotonic) -> Result<Token, ApnsError> {
        let claims = Claims { iss: &self.team_id, iat: now.epoch_seconds() };
        let jwt = sign(&self.key, &self.key_id, &claims)?;
        let mut header = HeaderValue::try_from(format!("bearer {jwt}")).expect("a JWT is base64url and dots");
        header.set_sensitive(true);
        let lifetime = rand::rng().random_range(RENEW_BETWEEN.0..RENEW_BETWEEN.1);
        let number = current.as_ref().map_or(0, |token| token.number + 1);
        let token = Token { header, number, made: monotonic, after_refusal, renew_at: monotonic + lifetime };
        *current = Some(token.clone());
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
#[derive(Debug, Default)]
pub struct ProviderTokens {
    by_key: BTreeMap<(String, String), Arc<ProviderToken>>,
}

impl ProviderTokens {
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
        let token = Arc::new(ProviderToken::new(team_id, key_id, key)?);
        self.by_key.insert(name, Arc::clone(&token));
        Ok(token)
    }
}
