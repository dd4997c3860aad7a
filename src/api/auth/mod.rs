//! Who calls, and how far he reaches: a user his own mailbox, a mobile-management server the devices of its tenant, an administrator everything of it.

pub mod claims;
pub mod fetch;
pub mod jwks;
pub mod jwt;
pub mod key_cache;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postrider_actors::ids::{Smtp, TenantId};
use postrider_actors::ports::registry_store::Role;

use crate::api::audit::Trail;
use crate::api::error::ApiError;
use crate::api::key::{PREFIX, Presented};
use crate::api::{Shared, Tenant};

/// A caller whose credentials were believed.
#[derive(Clone)]
pub struct Caller {
    /// Whose settings apply: the tenant that the key or the issuer belongs to.
    pub tenant: Arc<Tenant>,
    /// Who, as the audit trail and the limits name him: a key's id, or a hash of a user's subject.
    pub name: Arc<str>,
    /// What he is.
    pub kind: Kind,
}

/// What a caller is.
#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    /// A user, by a token of the company's identity provider; his address by the pinned claim.
    User(Smtp),
    /// A key with its role.
    Key(Role),
}

impl Caller {
    /// Whether the caller reaches devices of the mailbox, and whether the tenant has its domain: before anything is looked up.
    ///
    /// # Errors
    /// `Forbidden` for another user's mailbox, `ForeignDomain` for a domain that the tenant does not have.
    pub fn reach(&self, smtp: &Smtp) -> Result<&TenantId, ApiError> {
        if let Kind::User(own) = &self.kind
            && own != smtp
        {
            return Err(ApiError::Forbidden("a user reaches only the devices of his own mailbox"));
        }
        if !self.tenant.allows(smtp) {
            return Err(ApiError::ForeignDomain);
        }
        Ok(&self.tenant.id)
    }

    /// Whether registering a device may bring the mailbox with it.
    #[must_use]
    pub fn may_create_mailbox(&self) -> bool {
        match self.kind {
            Kind::User(_) => self.tenant.users_enrol,
            Kind::Key(Role::DeviceManager) => self.tenant.keys_enrol,
            Kind::Key(Role::Admin) => true,
        }
    }

    fn is_admin(&self) -> bool {
        self.kind == Kind::Key(Role::Admin)
    }
}

/// Lets in whoever presents believed credentials; the handler decides how far he reaches.
pub async fn authenticate(State(api): State<Shared>, mut request: Request, next: Next) -> Response {
    match recognise(&api, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => refused(&api, &request, error),
    }
}

/// The answer to a caller who was not let in, who is counted and now and then logged.
fn refused(api: &Shared, request: &Request, error: ApiError) -> Response {
    if let ApiError::Unauthenticated(why) | ApiError::NoCredentials(why) | ApiError::Forbidden(why) = &error {
        let address = api.limits.caller(request.extensions(), request.headers());
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        api.strangers.note(address, route, why, api.clock.monotonic());
    }
    error.into_response()
}

/// Lets in administrators only.
pub async fn authenticate_admin(State(api): State<Shared>, mut request: Request, next: Next) -> Response {
    let found = recognise(&api, request.headers()).await;
    if let (Ok(caller), Some(trail)) = (&found, request.extensions().get::<Trail>()) {
        trail.by(caller);
    }
    match found {
        Ok(caller) if caller.is_admin() => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(_) => refused(&api, &request, ApiError::Forbidden("this needs a key with the role admin")),
        Err(error) => refused(&api, &request, error),
    }
}

/// Looks at `Authorization: Bearer <key or token>`; what begins like a key is a key.
async fn recognise(api: &Shared, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let credentials = bearer(headers)?;
    let caller = if credentials.starts_with(PREFIX) { by_key(api, credentials).await? } else { api.jwt.recognise(credentials).await? };
    api.limits.subject(&caller.name)?;
    Ok(caller)
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let wanted = "send one header Authorization: Bearer, with an API key or a token of the identity provider";
    let value = values.next().ok_or(ApiError::NoCredentials(wanted))?;
    if values.next().is_some() {
        return Err(ApiError::Unauthenticated(wanted));
    }
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    match text {
        Some((scheme, credentials)) if scheme.eq_ignore_ascii_case("bearer") && !credentials.trim().is_empty() => Ok(credentials.trim()),
        _ => Err(ApiError::NoCredentials("the Authorization header must be of the scheme Bearer")),
    }
}

async fn by_key(api: &Shared, credentials: &str) -> Result<Caller, ApiError> {
    const REFUSED: ApiError = ApiError::Unauthenticated("the API key is not known, is revoked or is mistyped");
    let presented = Presented::read(credentials).ok_or(REFUSED)?;
    let kept = api.keys.find(presented.id, api.clock.monotonic(), &*api.registry).await?.ok_or(REFUSED)?;
    if !presented.matches(&kept) {
        return Err(REFUSED);
    }
    let tenant =
        api.tenants.get(&kept.tenant).ok_or(ApiError::Unauthenticated("the API key belongs to a tenant that is not configured"))?;
    Ok(Caller { tenant: tenant.clone(), name: format!("key {}", kept.id).into(), kind: Kind::Key(kept.role) })
}
