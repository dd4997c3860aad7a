//! Bearer tokens of the company's identity provider: which tenant they are for, which key signed them, whom they speak for.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Header, Validation};
use postrider_actors::ports::Clock;

use crate::api::Tenant;
use crate::api::auth::claims::{self, Claims};
use crate::api::auth::fetch::Fetch;
use crate::api::auth::jwks::{KeyError, KeySet};
use crate::api::auth::{Caller, Kind};
use crate::api::error::ApiError;
use crate::config::api::Api as ApiSettings;
use crate::config::tenants::Identity;

/// The longest token that is looked at, bytes.
const TOKEN_MAX: usize = 8 * 1024;
/// The signatures that are believed. Each belongs to one family of keys, so a public key can never be taken for a shared secret.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256];

const REFUSED: ApiError = ApiError::Unauthenticated("the token is not a signed token of this company's identity provider");

struct Issuer {
    tenant: Arc<Tenant>,
    settings: Identity,
    keys: Arc<KeySet>,
}

/// The identity providers of all tenants.
pub struct Issuers {
    issuers: Vec<Issuer>,
    clock: Arc<dyn Clock>,
}

impl Issuers {
    /// Takes those of the tenants that have one. Nothing is fetched before a token wants it.
    #[must_use]
    pub fn new<'a>(
        tenants: impl Iterator<Item = &'a Arc<Tenant>>,
        times: &ApiSettings,
        clock: &Arc<dyn Clock>,
        fetch: &Arc<dyn Fetch>,
    ) -> Self {
        let issuer = |tenant: &Arc<Tenant>| {
            let settings = tenant.identity.clone()?;
            let keys = Arc::new(KeySet::new(&settings, times, clock.clone(), fetch.clone()));
            Some(Issuer { tenant: tenant.clone(), settings, keys })
        };
        Self { issuers: tenants.filter_map(issuer).collect(), clock: clock.clone() }
    }

    /// Recognises the user whom a token speaks for.
    ///
    /// # Errors
    /// `Unauthenticated` if the token is not believed, `IdentityProvider` if that cannot be said for lack of keys.
    pub async fn recognise(&self, token: &str) -> Result<Caller, ApiError> {
        let header = header_of(token)?;
        let issuer = self.issuer_of(token)?;
        let key = issuer.keys.find(header.kid.as_deref(), header.alg).await.map_err(|error| match error {
            KeyError::Unknown => ApiError::Unauthenticated("the token is signed with a key that the identity provider does not publish"),
            KeyError::Unavailable => ApiError::IdentityProvider,
        })?;
        let signed = jsonwebtoken::decode::<Claims>(token, &key, &signature_only(header.alg)).map_err(|_| REFUSED)?;
        let smtp = claims::check(&signed.claims, &issuer.settings, self.clock.now()).map_err(ApiError::Unauthenticated)?;
        let name = format!("user {}", subject(&issuer.settings.issuer, &signed.claims, smtp.as_str()));
        Ok(Caller { tenant: issuer.tenant.clone(), name: name.into(), kind: Kind::User(smtp) })
    }

    /// Chooses the tenant by what the token says of itself; the signature, checked with that tenant's pinned keys, decides whether it is true.
    fn issuer_of(&self, token: &str) -> Result<&Issuer, ApiError> {
        let says: Claims = jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| REFUSED)?.claims;
        let not_ours = ApiError::Unauthenticated("the token is of another issuer or for another audience");
        self.issuers.iter().find(|issuer| claims::names(&says, &issuer.settings)).ok_or(not_ours)
    }
}

/// Reads the header; refuses algorithms that are not ours (`none` and HMAC among them) and extensions that must be understood (`crit`, RFC 7515 section 4.1.11).
fn header_of(token: &str) -> Result<Header, ApiError> {
    if token.len() > TOKEN_MAX {
        return Err(ApiError::Unauthenticated("the token is too long"));
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| REFUSED)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(ApiError::Unauthenticated("the token must be signed with RS256, PS256 or ES256"));
    }
    if header.crit.is_some() || header.enc.is_some() || header.kid.as_ref().is_some_and(|kid| kid.len() > 256) {
        return Err(REFUSED);
    }
    Ok(header)
}

/// The library checks the signature; claims are checked by our clock in `claims`.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}

/// A user in the audit trail and the limits: a hash, the same for all tokens of the same user at the same issuer.
fn subject(issuer: &str, claims: &Claims, address: &str) -> String {
    let subject = claims.get("sub").and_then(serde_json::Value::as_str).unwrap_or(address);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{issuer}\n{subject}").as_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
