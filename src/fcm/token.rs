//! The access token: fetched with an assertion that the service account signs, shared by all pushes, renewed ahead of its end by one of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider_actors::ports::Clock;
use postrider_actors::time::{Monotonic, Timestamp};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::error::FcmError;
use crate::config::push::Fcm;
use crate::config::secret::Secret;
use crate::http::code::code;
use crate::http::{body, explain, lifetime, retry_after};
use crate::telemetry::metrics;

/// What a token is asked for.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// RFC 7523, section 2.1.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Google takes assertions that live at most an hour.
const ASSERTION_LIFE_SECS: i64 = 3600;
/// Longest answer of the token endpoint that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Longest that one attempt may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure nobody asks again for so long, doubled each time; a token that is still good is used meanwhile.
const REST: Duration = Duration::from_secs(1);
/// The longest such rest.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// A token that took the place of a refused one, never worked and is refused this soon would not be helped by another.
const TOO_YOUNG_TO_RENEW: Duration = Duration::from_secs(60);
/// What a token lives that does not say how long.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// The file of a service account, as far as it is used.
#[derive(Deserialize)]
struct AccountFile {
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    project_id: String,
    #[serde(default)]
    token_uri: String,
}

/// A service account that can sign.
pub struct ServiceAccount {
    email: String,
    key: EncodingKey,
    key_id: String,
    token_url: Url,
    /// The project whose devices it may push to.
    pub project: String,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccount(project {})", self.project)
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl ServiceAccount {
    /// Reads a key file, proves that it signs and that its tokens come from an allowed host.
    ///
    /// # Errors
    /// [`FcmError::Account`], [`FcmError::TokenHost`] or [`FcmError::Project`].
    pub fn parse(text: &Secret, fcm: &Fcm) -> Result<Self, FcmError> {
        let wrong = |what: &str| FcmError::Account(what.to_owned());
        // The parser's own message may quote the file.
        let file: AccountFile = serde_json::from_str(text.expose()).map_err(|_| wrong("it is not JSON, or not an object of texts"))?;
        let filled = [("client_email", &file.client_email), ("private_key", &file.private_key), ("token_uri", &file.token_uri)];
        if let Some((name, _)) = filled.iter().find(|(_, value)| value.is_empty()) {
            return Err(wrong(&format!("it has no {name}")));
        }
        let key = EncodingKey::from_rsa_pem(file.private_key.as_bytes()).map_err(|_| wrong("its private_key is no RSA key in PEM"))?;
        let token_url = Url::parse(&file.token_uri).ok().filter(|url| url.scheme() == "https");
        let token_url = token_url.ok_or_else(|| wrong("its token_uri is not an https address"))?;
        let host = token_url.host_str().unwrap_or_default();
        if !fcm.token_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
            return Err(FcmError::TokenHost { host: host.to_owned() });
        }
        let project = fcm.project.clone().unwrap_or(file.project_id);
        if project.is_empty() || !project.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.:".contains(&c)) {
            return Err(FcmError::Project(project));
        }
        let account = Self { email: file.client_email, key, key_id: file.private_key_id, token_url, project };
        account.assertion(Timestamp(0)).ok_or_else(|| wrong("its private_key does not sign"))?;
        Ok(account)
    }

    fn assertion(&self, now: Timestamp) -> Option<String> {
        let kid = Some(self.key_id.clone()).filter(|id| !id.is_empty());
        let header = Header { kid, ..Header::new(Algorithm::RS256) };
        let iat = now.epoch_seconds();
        let claims =
            Claims { iss: &self.email, scope: SCOPE, aud: self.token_url.as_str(), iat, exp: iat.saturating_add(ASSERTION_LIFE_SECS) };
        jsonwebtoken::encode(&header, &claims, &self.key).ok()
    }
}

/// A token in use; which one it is counts when it is refused.
#[derive(Clone)]
pub struct Access {
    /// The value of the `authorization` header, marked as sensitive.
    pub header: HeaderValue,
    number: u64,
    made: Monotonic,
    /// Fetched because its predecessor was refused.
    after_refusal: bool,
    renew_at: Monotonic,
    ends_at: Monotonic,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access(number {})", self.number)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// The endpoint refuses the account.
    Refused(Arc<str>),
    /// The endpoint cannot be reached or does not want to answer for the moment.
    Unavailable {
        /// When it may be asked again, if it said so.
        after: Option<Duration>,
        /// What happened.
        reason: Arc<str>,
    },
}

/// What failed last, until when that is taken for granted, and how often in a row.
type Failed = Option<(Monotonic, NoToken, u32)>;

/// The token of one service account.
pub struct AccessToken {
    account: ServiceAccount,
    client: Client,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<Access>>,
    /// Held by the one that fetches.
    fetching: tokio::sync::Mutex<Failed>,
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessToken({:?})", self.account)
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize, Default)]
struct Denied {
    #[serde(default)]
    error: String,
}

impl AccessToken {
    /// Prepares; nothing is fetched before the first push.
    #[must_use]
    pub fn new(account: ServiceAccount, client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { account, client, clock, current: Mutex::new(None), fetching: tokio::sync::Mutex::new(None) }
    }

    /// The token to use, by `deadline`. One caller renews it ahead of its end while the others use it up.
    ///
    /// # Errors
    /// [`NoToken`].
    pub async fn current(&self, deadline: Instant) -> Result<Access, NoToken> {
        let now = self.clock.monotonic();
        let Some(held) = self.held().filter(|held| now < held.ends_at) else {
            return self.fetch_unless(deadline, false, |held, now| now < held.ends_at).await;
        };
        if now < held.renew_at {
            return Ok(held);
        }
        match self.fetching.try_lock() {
            Err(_) => Ok(held),
            Ok(mut failed) => Ok(self.fetch(deadline, false, &mut failed).await.unwrap_or(held)),
        }
    }

    /// A token other than `refused`.
    ///
    /// # Errors
    /// [`NoToken`]; [`NoToken::Refused`] when the refused one only just took the place of another, so that a third would fare no better.
    pub async fn renewed(&self, refused: &Access, deadline: Instant) -> Result<Access, NoToken> {
        let in_vain = self.held().is_some_and(|held| held.number == refused.number && held.after_refusal);
        if in_vain && self.clock.monotonic().since(refused.made) < TOO_YOUNG_TO_RENEW {
            return Err(NoToken::Refused("fresh-token-refused".into()));
        }
        self.fetch_unless(deadline, true, |held, _| held.number != refused.number).await
    }

    /// A push with it was taken: refusals before that are over.
    pub fn works(&self, access: &Access) {
        if !access.after_refusal {
            return;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = current.as_mut().filter(|held| held.number == access.number) {
            held.after_refusal = false;
        }
    }

    fn held(&self) -> Option<Access> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches a token, unless the one held will do by the time that nobody else is fetching.
    async fn fetch_unless(
        &self,
        deadline: Instant,
        after_refusal: bool,
        will_do: impl Fn(&Access, Monotonic) -> bool,
    ) -> Result<Access, NoToken> {
        let late = |_| NoToken::Unavailable { after: None, reason: "no-token-in-time".into() };
        let mut failed = timeout_at(deadline, self.fetching.lock()).await.map_err(late)?;
        let now = self.clock.monotonic();
        if let Some(held) = self.held().filter(|held| will_do(held, now)) {
            return Ok(held);
        }
        self.fetch(deadline, after_refusal, &mut failed).await
    }

    async fn fetch(&self, deadline: Instant, after_refusal: bool, failed: &mut Failed) -> Result<Access, NoToken> {
        let times = failed.as_ref().map_or(0, |(_, _, times)| *times);
        if let Some((until, error, _)) = failed
            && self.clock.monotonic() < *until
        {
            return Err(error.clone());
        }
        let deadline = deadline.min(Instant::now() + FETCH_TIMEOUT);
        let granted = timeout_at(deadline, self.ask()).await;
        let late = |_| NoToken::Unavailable { after: None, reason: "no-token-in-time".into() };
        let result = granted.map_err(late).and_then(|granted| self.keep(granted?, after_refusal));
        metrics::token_renewals(metrics::TokenSource::Fcm, result.is_ok().into(), 1);
        *failed = result.as_ref().err().map(|error| {
            let own = (REST * (1 << times.min(6))).min(LONGEST_REST);
            let rest = match error {
                NoToken::Unavailable { after: Some(after), .. } => own.max(*after),
                _ => own,
            };
            (self.clock.monotonic() + rest, error.clone(), times + 1)
        });
        result
    }

    fn keep(&self, granted: Granted, after_refusal: bool) -> Result<Access, NoToken> {
        let header = HeaderValue::try_from(format!("Bearer {}", granted.access_token));
        let mut header = header.map_err(|_| unavailable("token-answer-unreadable"))?;
        header.set_sensitive(true);
        let made = self.clock.monotonic();
        let life = lifetime(&granted.expires_in).unwrap_or(DEFAULT_LIFE);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let number = current.as_ref().map_or(0, |held| held.number + 1);
        let access = Access { header, number, made, after_refusal, renew_at: made + life * 4 / 5, ends_at: made + life };
        *current = Some(access.clone());
        Ok(access)
    }

    async fn ask(&self) -> Result<Granted, NoToken> {
        let refused = || NoToken::Refused("key-does-not-sign".into());
        let assertion = self.account.assertion(self.clock.now()).ok_or_else(refused)?;
        let form = [("grant_type", GRANT_TYPE), ("assertion", &assertion)];
        let sent = self.client.post(self.account.token_url.clone()).form(&form).send().await;
        let answer = sent.map_err(|error| unavailable(&format!("token endpoint: {}", explain(&error))))?;
        let status = answer.status().as_u16();
        let after = retry_after(answer.headers(), self.clock.now());
        let body = body(answer, MAX_ANSWER_BYTES).await.map_err(|error| unavailable(&format!("token endpoint: {error}")))?;
        match status {
            200 => serde_json::from_slice(&body).map_err(|_| unavailable("token-answer-unreadable")),
            408 | 429 | 500..=599 => Err(NoToken::Unavailable { after, reason: format!("token-{}", code(status, "")).into() }),
            _ => {
                let denied: Denied = serde_json::from_slice(&body).unwrap_or_default();
                Err(NoToken::Refused(code(status, &denied.error)))
            }
        }
    }
}

fn unavailable(reason: &str) -> NoToken {
    NoToken::Unavailable { after: None, reason: reason.into() }
}
