//! The published keys of one identity provider (JWKS, RFC 7517): read when wanted, kept, read anew for an unknown key id at a bounded rate, used on while the provider is down.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use postrider_actors::ports::Clock;
use postrider_actors::time::Monotonic;
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::task::JoinHandle;

use crate::api::auth::fetch::{Fetch, FetchError};
use crate::config::api::Api as ApiSettings;
use crate::config::tenants::Identity;

/// How many keys of a provider are looked at.
const KEYS_MAX: usize = 64;
/// How long a request waits for keys that another request is reading.
const WAIT: Duration = Duration::from_secs(8);
/// How many requests wait for such a reading; the others are told at once to come back, so that forged key ids cannot fill the node's room for requests.
const WAITING_MAX: usize = 32;
/// The shortest RSA modulus that is believed, bytes (2048 bits; RFC 7518 section 3.3).
const RSA_BYTES_MIN: usize = 256;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The provider publishes no such key for this algorithm.
    Unknown,
    /// It cannot be said: the provider cannot be reached, or its keys are being read.
    Unavailable,
}

/// The keys of one provider.
pub struct KeySet {
    issuer: String,
    source: Source,
    /// How long keys are good, how long they are good enough while the provider is down, and the pause between two reads.
    keep: Duration,
    stale: Duration,
    pause: Duration,
    clock: Arc<dyn Clock>,
    fetch: Arc<dyn Fetch>,
    current: ArcSwapOption<Snapshot>,
    /// Held by the one task that reads.
    reading: Arc<Mutex<Option<Reading>>>,
    waiting: Semaphore,
}

/// The last reading of the keys.
struct Reading {
    began: Monotonic,
    /// Whether it brought keys.
    done: bool,
}

/// The right to read.
type Turn = OwnedMutexGuard<Option<Reading>>;

/// Where a provider's keys come from.
enum Source {
    Url(String),
    File(PathBuf),
    Discovery,
}

struct Snapshot {
    read_at: Monotonic,
    keys: Vec<PublicKey>,
}

struct PublicKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Snapshot {
    /// The key with this id; without an id, the only one for the algorithm.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let mut fit = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm) && (kid.is_none() || key.kid.as_deref() == kid));
        match (fit.next(), fit.next()) {
            (Some(one), None) => Some(one.key.clone()),
            _ => None,
        }
    }
}

impl KeySet {
    /// No keys yet.
    #[must_use]
    pub fn new(identity: &Identity, times: &ApiSettings, clock: Arc<dyn Clock>, fetch: Arc<dyn Fetch>) -> Self {
        let source = match (&identity.jwks_url, &identity.jwks_file) {
            (Some(url), _) => Source::Url(url.clone()),
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => Source::Discovery,
        };
        let (keep, stale, pause) = (times.jwks_keep, times.jwks_stale, times.jwks_refresh);
        Self {
            issuer: identity.issuer.clone(),
            source,
            keep,
            stale,
            pause,
            clock,
            fetch,
            current: ArcSwapOption::empty(),
            reading: Arc::default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// The key that a token names, for the algorithm that it names.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn find(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, KeyError> {
        if let Some(key) = self.current_within(self.keep).and_then(|keys| keys.find(kid, algorithm)) {
            return Ok(key);
        }
        // Past `keep` a key is believed only after a reading, or after one that failed: it may have been withdrawn.
        let up_to_date = self.refresh(self.clock.monotonic()).await.ok_or(KeyError::Unavailable)?;
        let keys = self.current_within(self.stale).ok_or(KeyError::Unavailable)?;
        keys.find(kid, algorithm).ok_or(if up_to_date { KeyError::Unknown } else { KeyError::Unavailable })
    }

    fn current_within(&self, limit: Duration) -> Option<Arc<Snapshot>> {
        self.current.load_full().filter(|keys| self.clock.monotonic() < keys.read_at + limit)
    }

    /// Waits for keys that are read unless that was tried a moment ago; whoever comes meanwhile waits for the same reading. Says whether a reading that began after
    /// the token `came` brought keys: an older one may have missed the token's key. `None`: no reading ended in time, or there was no room to wait for it.
    async fn refresh(self: &Arc<Self>, came: Monotonic) -> Option<bool> {
        let Ok(_waiting) = self.waiting.try_acquire() else { return None };
        let read = async {
            let turn = self.reading.clone().lock_owned().await;
            match self.read_if_due(turn) {
                Ok(reader) => reader.await.unwrap_or(false),
                Err(turn) => turn.as_ref().is_some_and(|last| last.done && last.began >= came),
            }
        };
        tokio::time::timeout(WAIT, read).await.ok()
    }

    /// Begins to read in a task of its own, which goes on if the caller who wanted the keys leaves; gives the turn back if it is too early.
    fn read_if_due(self: &Arc<Self>, mut turn: Turn) -> Result<JoinHandle<bool>, Turn> {
        let began = self.clock.monotonic();
        if turn.as_ref().is_some_and(|last| began < last.began + self.pause) {
            return Err(turn);
        }
        *turn = Some(Reading { began, done: false });
        let reader = self.clone();
        Ok(tokio::spawn(async move { reader.read(turn).await }))
    }

    async fn read(&self, mut turn: Turn) -> bool {
        let read = self.download().await;
        match read {
            Ok(keys) => {
                tracing::debug!(issuer = %self.issuer, keys = keys.len(), "read the identity provider's keys");
                self.current.store(Some(Arc::new(Snapshot { read_at: self.clock.monotonic(), keys })));
                if let Some(reading) = turn.as_mut() {
                    reading.done = true;
                }
                true
            }
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, %error, "the identity provider's keys cannot be read; those from before are used on");
                false
            }
        }
    }

    async fn download(&self) -> Result<Vec<PublicKey>, FetchError> {
        let document = match &self.source {
            Source::Url(url) => self.fetch.fetch(url).await?,
            Source::File(path) => tokio::fs::read(path).await.map_err(|error| FetchError::Unreachable(error.to_string()))?,
            Source::Discovery => self.fetch.fetch(&self.discover().await?).await?,
        };
        let keys = parse(&document)?;
        if keys.is_empty() { Err(FetchError::Document("without a key that can be used")) } else { Ok(keys) }
    }

    /// Finds the address of the keys (OpenID Connect Discovery 1.0 section 4); the document must speak of the pinned issuer.
    async fn discover(&self) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document: Discovery =
            serde_json::from_slice(&self.fetch.fetch(&url).await?).map_err(|_| FetchError::Document("not a discovery document"))?;
        if document.issuer != self.issuer {
            return Err(FetchError::Document("of another issuer"));
        }
        Ok(document.jwks_uri)
    }
}

/// Takes the keys that can verify one of our algorithms; others are passed over, as a set may hold kinds that we do not know.
fn parse(document: &[u8]) -> Result<Vec<PublicKey>, FetchError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(document).map_err(|_| FetchError::Document("not a key set"))?;
    Ok(set.keys.into_iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value(key).ok()).filter_map(|key| usable(&key)).collect())
}

/// A key for signatures, with the algorithms of its family (or the only one that it names).
fn usable(jwk: &Jwk) -> Option<PublicKey> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let family = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if modulus_bytes(&rsa.n) >= RSA_BYTES_MIN => vec![Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        _ => return None,
    };
    let algorithms = match jwk.common.key_algorithm {
        None => family,
        Some(KeyAlgorithm::RS256) if family.contains(&Algorithm::RS256) => vec![Algorithm::RS256],
        Some(KeyAlgorithm::PS256) if family.contains(&Algorithm::PS256) => vec![Algorithm::PS256],
        Some(KeyAlgorithm::ES256) if family.contains(&Algorithm::ES256) => vec![Algorithm::ES256],
        Some(_) => return None,
    };
    Some(PublicKey { kid: jwk.common.key_id.clone(), algorithms, key: DecodingKey::from_jwk(jwk).ok()? })
}

fn modulus_bytes(n: &str) -> usize {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(n.trim_end_matches('='))
        .map_or(0, |bytes| bytes.iter().skip_while(|b| **b == 0).count())
}
