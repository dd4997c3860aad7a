//! The token endpoint for service accounts: client credentials, errors as Microsoft Entra words them.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::clients::{Shown, identify};
use super::server::IdentityOptions;

/// A refusal: status, OAuth error (RFC 6749, section 5.2), Entra's own number, and a sentence.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    error: &'static str,
    number: u32,
    text: &'static str,
    /// The client broke the protocol, rather than being misconfigured.
    pub(super) is_misuse: bool,
}

impl Refused {
    pub(super) fn new(status: u16, error: &'static str, number: u32, text: &'static str) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), error, number, text, is_misuse: false }
    }

    pub(super) fn misuse(self) -> Self {
        Self { is_misuse: true, ..self }
    }

    pub(super) fn missing() -> Self {
        Self::new(400, "invalid_request", 900_144, "The request body must contain all required parameters.").misuse()
    }

    pub(super) fn no_tenant() -> Self {
        Self::new(400, "invalid_request", 90_002, "Tenant not found.")
    }

    /// The body.
    pub(super) fn json(&self) -> Value {
        json!({
            "error": self.error,
            "error_description": format!("AADSTS{}: {}", self.number, self.text),
            "error_codes": [self.number],
            "timestamp": Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            "trace_id": "00000000-0000-0000-0000-00000000aaaa",
            "correlation_id": "00000000-0000-0000-0000-00000000bbbb",
        })
    }
}

/// Answers `POST /{tenant}/oauth2/v2.0/token` with this form and this `Authorization` header; `audiences` are the endpoint's names.
pub(super) fn issue(
    options: &IdentityOptions,
    tenant: &str,
    form: &[(String, String)],
    header: Option<&str>,
    audiences: &[String],
) -> Result<Value, Refused> {
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    if !options.has_tenant(tenant) {
        return Err(Refused::no_tenant());
    }
    if field("grant_type").ok_or_else(Refused::missing)? != "client_credentials" {
        let text = "The app requested an unsupported grant type.";
        return Err(Refused::new(400, "unsupported_grant_type", 70_003, text).misuse());
    }
    let scope = field("scope").ok_or_else(Refused::missing)?;
    let shown = Shown {
        client_id: field("client_id"),
        secret: field("client_secret"),
        assertion_type: field("client_assertion_type"),
        assertion: field("client_assertion"),
        header,
    };
    let client = identify(options, shown, audiences)?;
    let Some(resource) = scope.strip_suffix("/.default") else {
        let text = "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.";
        return Err(Refused::new(400, "invalid_scope", 1_002_012, text).misuse());
    };
    if !options.resources.iter().any(|known| known.trim_end_matches('/') == resource) {
        let text = "The resource principal was not found in the tenant.";
        return Err(Refused::new(400, "invalid_resource", 500_011, text));
    }
    let lifetime = options.token_lifetime;
    let seconds = lifetime.as_secs();
    Ok(json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": options.accounts.issue(&client, resource, lifetime),
    }))
}
