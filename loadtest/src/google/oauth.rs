//! Google's token endpoint: a signed assertion of a service account in, an access token out.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// The scope that FCM asks for.
pub const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// A scope that includes it, as Google's own SDKs ask for.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// "exp ... a maximum of 1 hour after the issued time" (Google, OAuth 2.0 for server to server applications).
const MAX_LIFETIME_S: i64 = 3_600;
const CLOCKS_DIFFER_S: i64 = 300;
/// More tokens than this at a time are not remembered.
const REMEMBERED: usize = 4_096;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    scope: String,
    aud: String,
    iat: i64,
    exp: i64,
}

/// A refusal of the token endpoint (RFC 6749, section 5.2): HTTP 400 with these two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) error: &'static str,
    pub(super) description: &'static str,
}

const fn denied(error: &'static str, description: &'static str) -> Denied {
    Denied { error, description }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Until(i64),
    Revoked,
}

/// What an access token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    Good,
    /// It was good once and its time is over.
    Expired,
    /// It was taken back before its time.
    Revoked,
    /// Nobody gave it out.
    Unknown,
}

/// The service account's public key and the access tokens given out for it.
pub(super) struct AccessTokens {
    account: RwLock<Option<(String, DecodingKey)>>,
    audiences: Vec<String>,
    lifetime: Duration,
    issued: RwLock<HashMap<String, State>>,
}

impl AccessTokens {
    pub(super) fn new(audiences: Vec<String>, lifetime: Duration) -> Self {
        Self { account: RwLock::default(), audiences, lifetime, issued: RwLock::default() }
    }

    /// Registers a service account by its address and the DER (PKCS #1) of its public RSA key.
    pub(super) fn set_account(&self, email: &str, public_der: &[u8]) {
        let key = DecodingKey::from_rsa_der(public_der);
        let mut account = self.account.write().unwrap_or_else(PoisonError::into_inner);
        *account = Some((email.to_owned(), key));
    }

    /// Answers a token request; the form's fields are `grant_type` and `assertion`.
    pub(super) fn grant(&self, form: &HashMap<String, String>, now_s: i64) -> Result<(String, u64), Denied> {
        if form.get("grant_type").map(String::as_str) != Some(GRANT) {
            return Err(denied("unsupported_grant_type", "Invalid grant_type"));
        }
        let assertion = form.get("assertion").ok_or(denied("invalid_request", "Missing assertion"))?;
        self.check(assertion, now_s)?;
        let token = format!("ya29.{:032x}", rand::random::<u128>());
        let until = now_s + self.lifetime.as_secs() as i64;
        let mut issued = self.issued.write().unwrap_or_else(PoisonError::into_inner);
        if issued.len() >= REMEMBERED {
            issued.clear();
        }
        issued.insert(token.clone(), State::Until(until));
        Ok((token, self.lifetime.as_secs()))
    }

    fn check(&self, assertion: &str, now_s: i64) -> Result<(), Denied> {
        let account = self.account.read().unwrap_or_else(PoisonError::into_inner);
        let (email, key) = account.as_ref().ok_or(denied("invalid_grant", "Invalid grant: account not found"))?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(assertion, key, &validation)
            .map_err(|_| denied("invalid_grant", "Invalid JWT Signature."))?
            .claims;
        if claims.iss != *email {
            return Err(denied("invalid_grant", "Invalid grant: account not found"));
        }
        if !claims.scope.split(' ').any(|scope| scope == SCOPE || scope == CLOUD_PLATFORM) {
            return Err(denied("invalid_scope", "Invalid OAuth scope"));
        }
        if !self.audiences.contains(&claims.aud) {
            return Err(denied("invalid_grant", "Invalid JWT: wrong audience"));
        }
        let short = claims.exp - claims.iat <= MAX_LIFETIME_S;
        let timely = claims.iat <= now_s + CLOCKS_DIFFER_S && claims.exp > now_s;
        if !short || !timely {
            return Err(denied(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe",
            ));
        }
        Ok(())
    }

    pub(super) fn worth(&self, token: &str, now_s: i64) -> Worth {
        let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
        match issued.get(token) {
            Some(State::Until(until)) if now_s < *until => Worth::Good,
            Some(State::Until(_)) => Worth::Expired,
            Some(State::Revoked) => Worth::Revoked,
            None => Worth::Unknown,
        }
    }

    /// Every token given out so far is void.
    pub(super) fn revoke_all(&self) {
        let mut issued = self.issued.write().unwrap_or_else(PoisonError::into_inner);
        issued.values_mut().for_each(|state| *state = State::Revoked);
    }
}
