//! The token endpoint for service accounts: client credentials with a secret, errors as Microsoft Entra words them.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

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
    fn new(status: u16, error: &'static str, number: u32, text: &'static str) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), error, number, text, is_misuse: false }
    }

    fn misuse(self) -> Self {
        Self { is_misuse: true, ..self }
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

/// Answers `POST /{tenant}/oauth2/v2.0/token` with this form.
pub(super) fn issue(options: &IdentityOptions, tenant: &str, form: &[(String, String)]) -> Result<Value, Refused> {
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    if !options.tenants.iter().any(|known| known == tenant) {
        return Err(Refused::new(400, "invalid_request", 90_002, "Tenant not found."));
    }
    let missing = || {
        let text = "The request body must contain all required parameters.";
        Refused::new(400, "invalid_request", 900_144, text).misuse()
    };
    if field("grant_type").ok_or_else(missing)? != "client_credentials" {
        let text = "The app requested an unsupported grant type.";
        return Err(Refused::new(400, "unsupported_grant_type", 70_003, text).misuse());
    }
    let (id, scope) = (field("client_id").ok_or_else(missing)?, field("scope").ok_or_else(missing)?);
    let client = options.clients.iter().find(|client| client.id == id);
    let client = client.ok_or_else(|| {
        let text = "Application was not found in the directory.";
        Refused::new(400, "unauthorized_client", 700_016, text)
    })?;
    let secret = field("client_secret").ok_or_else(|| {
        let text = "The request body must contain client_assertion or client_secret.";
        Refused::new(401, "invalid_client", 7_000_218, text).misuse()
    })?;
    let known = client.secret.as_bytes();
    if aws_lc_rs::constant_time::verify_slices_are_equal(known, secret.as_bytes()).is_err() {
        let text = "Invalid client secret provided.";
        return Err(Refused::new(401, "invalid_client", 7_000_215, text));
    }
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
        "access_token": options.accounts.issue(&client.id, resource, lifetime),
    }))
}
