//! OAuth 2.0 client credentials with a secret (RFC 6749, section 4.4): one token per tenant, shared and renewed ahead of its expiry.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use oauth2::basic::BasicClient;
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, RequestTokenError, Scope,
    TokenResponse, TokenUrl,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::config::secret::Secret;
use crate::exchange::{AuthError, Authenticator};
use crate::http::{Cause, body, cause_of, lifetime};
use crate::telemetry::metrics;

/// Longest answer of a token endpoint that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Deadline of one token request.
const DEADLINE: Duration = Duration::from_secs(20);
/// A token is renewed when less than this is left of it, or less than a fifth of its life, whichever is shorter.
const AHEAD: Duration = Duration::from_secs(300);
/// A token that took the place of a refused one and is refused this soon would not be helped by another.
const TOO_YOUNG_TO_RENEW: Duration = Duration::from_secs(10);
/// What a token lives that does not say how long.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// A failure is believed for so long, so that many mailboxes do not ask again and again.
const FAILURE_BELIEVED: Duration = Duration::from_secs(5);

type Endpoint = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// A token and its times.
#[derive(Clone)]
struct Token {
    header: HeaderValue,
    made: Instant,
    /// Whether its predecessor was refused.
    after_refusal: bool,
    renew_at: Instant,
    ends_at: Instant,
}

/// An application's id and secret at an identity provider, and the token that they bought. Prints nothing.
pub struct ClientCredentials {
    endpoint: Endpoint,
    scope: Scope,
    http: Carrier,
    token: Mutex<Option<Token>>,
    /// Whether the next token takes the place of a refused one.
    refused: AtomicBool,
    /// How often the identity provider refused.
    refusals: AtomicU64,
    /// Held while a token is asked for, with the last failure: nobody else asks meanwhile.
    asking: tokio::sync::Mutex<Option<(Instant, AuthError)>>,
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCredentials(…)")
    }
}

impl ClientCredentials {
    /// Takes the token endpoint (https), the application's id and secret, and the scope.
    ///
    /// # Errors
    /// A sentence for people when the address of the endpoint is none.
    pub fn new(token_url: &str, client_id: &str, secret: &Secret, scope: &str, http: reqwest::Client) -> Result<Self, String> {
        let token_url = TokenUrl::new(token_url.to_owned()).map_err(|error| format!("{token_url} is not an address ({error})"))?;
        let endpoint = BasicClient::new(ClientId::new(client_id.to_owned()))
            .set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(token_url);
        Ok(Self {
            endpoint,
            scope: Scope::new(scope.to_owned()),
            http: Carrier(http),
            token: Mutex::default(),
            refused: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
            asking: tokio::sync::Mutex::default(),
        })
    }

    fn held(&self) -> Option<Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for a token unless somebody did while we waited for our turn.
    async fn renew(&self, mut last_failure: tokio::sync::MutexGuard<'_, Option<(Instant, AuthError)>>) -> Result<HeaderValue, AuthError> {
        let now = Instant::now();
        if let Some(token) = self.held().filter(|token| token.renew_at > now) {
            return Ok(token.header);
        }
        if let Some((at, error)) = last_failure.as_ref().filter(|(at, _)| at.elapsed() < FAILURE_BELIEVED) {
            tracing::debug!(since = ?at.elapsed(), "the identity provider failed a moment ago");
            return Err(error.clone());
        }
        let asked = self.ask().await;
        metrics::token_renewals(metrics::TokenSource::Identity, asked.is_ok().into(), 1);
        match asked {
            Ok(token) => {
                *last_failure = None;
                let header = token.header.clone();
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                Ok(header)
            }
            Err(error) => {
                if let AuthError::Refused { .. } = error {
                    self.refusals.fetch_add(1, Ordering::Relaxed);
                }
                *last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<Token, AuthError> {
        let begun = Instant::now();
        let asked = self.endpoint.exchange_client_credentials().add_scope(self.scope.clone()).request_async(&self.http);
        let unavailable = |code: &str| AuthError::Unavailable { code: code.to_owned() };
        let answer = tokio::time::timeout(DEADLINE, asked).await.map_err(|_| unavailable("TokenDeadline"))?;
        let answer = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => {
                AuthError::Refused { code: refusal_code(refusal.error().as_ref(), refusal.error_description().map_or("", String::as_str)) }
            }
            RequestTokenError::Request(cause) => AuthError::Unavailable { code: cause.0.code.to_string() },
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unavailable("TokenMalformed"),
        })?;
        let life = answer.expires_in().unwrap_or(DEFAULT_LIFE);
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", answer.access_token().secret())).map_err(|_| unavailable("TokenMalformed"))?;
        header.set_sensitive(true);
        let ends_at = begun + life;
        let after_refusal = self.refused.swap(false, Ordering::Relaxed);
        Ok(Token { header, made: Instant::now(), after_refusal, renew_at: ends_at - AHEAD.min(life / 5), ends_at })
    }
}

#[async_trait]
impl Authenticator for ClientCredentials {
    fn kind(&self) -> &'static str {
        "OAuth client credentials"
    }

    fn scheme(&self) -> Option<&'static str> {
        Some("Bearer")
    }

    fn authority(&self) -> Option<String> {
        Some(self.endpoint.token_uri().url().to_string())
    }

    async fn authorization(&self) -> Result<HeaderValue, AuthError> {
        let now = Instant::now();
        let valid = match self.held() {
            Some(token) if token.renew_at > now => return Ok(token.header),
            Some(token) if token.ends_at > now => Some(token),
            _ => None,
        };
        let Some(token) = valid else {
            return self.renew(self.asking.lock().await).await;
        };
        // Valid for a while: one renews it, the others, and everybody if that fails, use it on.
        match self.asking.try_lock() {
            Ok(asking) => Ok(self.renew(asking).await.unwrap_or(token.header)),
            Err(_) => Ok(token.header),
        }
    }

    fn refused(&self, used: &HeaderValue) -> bool {
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref().filter(|token| token.header == *used) {
            Some(token) if token.after_refusal && token.made.elapsed() < TOO_YOUNG_TO_RENEW => false,
            Some(_) => {
                *held = None;
                self.refused.store(true, Ordering::Relaxed);
                true
            }
            None => true,
        }
    }

    fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }
}

/// The error code, with the provider's own number behind it where its description begins with one: `invalid_client AADSTS7000215`.
/// Nothing else of the description is kept, which may hold anything.
fn refusal_code(error: &str, description: &str) -> String {
    let error = crate::http::code::code(400, error);
    let number = description.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| {
        let digits = word.strip_prefix("AADSTS").unwrap_or_default();
        (4..=9).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    });
    number.map_or_else(|| error.to_string(), |number| format!("{error} {number}"))
}

/// Carries token requests over our own client. Its errors are text for people, without the address.
struct Carrier(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Carrier {
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TransportError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request).map_err(|error| TransportError(cause_of(&error)))?;
            let response = self.0.execute(request).await.map_err(|error| TransportError(cause_of(&error)))?;
            let (status, headers) = (response.status(), response.headers().clone());
            if status == http::StatusCode::TOO_MANY_REQUESTS {
                metrics::throttled(metrics::Peer::Identity, 1);
            }
            if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
                return Err(TransportError(Cause::named(&format!("HTTP {}", status.as_u16()), format!("HTTP {}", status.as_u16()))));
            }
            let body =
                body(response, MAX_ANSWER_BYTES).await.map_err(|error| TransportError(Cause::named("BrokenAnswer", error.to_string())))?;
            let mut answer = HttpResponse::new(with_believable_life(body.to_vec()));
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            Ok(answer)
        })
    }
}

/// The answer with `expires_in` as a number within bounds, whatever stood there; without it if nothing could be read.
fn with_believable_life(body: Vec<u8>) -> Vec<u8> {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(&body) else { return body };
    let Some(told) = answer.remove("expires_in") else { return body };
    if let Some(life) = lifetime(&told) {
        answer.insert("expires_in".into(), life.as_secs().into());
    }
    serde_json::to_vec(&answer).unwrap_or(body)
}

/// The token endpoint was not reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TransportError(Cause);
