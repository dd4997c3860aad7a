//! The documents by which clients find a tenant's endpoints, and whether an authority is one at all.

use serde_json::{Value, json};

use super::server::IdentityOptions;
use super::tokens::Refused;

/// Names in the place of a tenant under which the documents of all tenants are found; their issuer is a pattern.
pub(super) const FOR_ALL: [&str; 3] = ["common", "organizations", "consumers"];

/// The provider as a client sees it: by the name under which it was asked.
pub(super) struct Place<'a> {
    /// The `Host` header.
    pub(super) host: &'a str,
    pub(super) options: &'a IdentityOptions,
}

impl<'a> Place<'a> {
    /// `/{tenant}/oauth2/v2.0/token`, and `/token`, which the issuer's own document names: that is of the first tenant.
    pub(super) fn tenant_of_token_endpoint<'p>(&self, path: &'p str) -> Option<&'p str>
    where
        'a: 'p,
    {
        if path == "/token" {
            return self.options.tenants.first().map(String::as_str);
        }
        path.strip_prefix('/')?.strip_suffix("/oauth2/v2.0/token")
    }

    pub(super) fn tenant_of_discovery<'p>(&self, path: &'p str) -> Option<&'p str> {
        let tenant = path.strip_prefix('/')?.strip_suffix("/.well-known/openid-configuration")?;
        Some(tenant.strip_suffix("/v2.0").unwrap_or(tenant))
    }

    pub(super) fn is_key_set(&self, path: &str) -> bool {
        self.is_of_tenant(path, "/discovery/v2.0/keys")
    }

    pub(super) fn is_authorization(&self, path: &str) -> bool {
        self.is_of_tenant(path, "/oauth2/v2.0/authorize")
    }

    fn is_of_tenant(&self, path: &str, end: &str) -> bool {
        let tenant = path.strip_prefix('/').and_then(|path| path.strip_suffix(end));
        tenant.is_some_and(|tenant| self.options.has_tenant(tenant) || FOR_ALL.contains(&tenant))
    }

    /// What an assertion may name as its audience: the token endpoint under each of its names, or the tenant as issuer.
    pub(super) fn audiences(&self, own: &str, tenant: &str) -> Vec<String> {
        let bases = [own.to_owned(), format!("https://{}", self.host)];
        let of = |base: &String| [format!("{base}/{tenant}/oauth2/v2.0/token"), format!("{base}/{tenant}/v2.0"), format!("{base}/token")];
        bases.iter().flat_map(of).collect()
    }
}

/// The discovery document of a tenant (OpenID Connect Discovery 1.0), as Entra words it.
pub(super) fn tenant(place: &Place<'_>, tenant: &str) -> Value {
    let base = format!("https://{}/{tenant}", place.host);
    let issuer = if FOR_ALL.contains(&tenant) { format!("https://{}/{{tenantid}}/v2.0", place.host) } else { format!("{base}/v2.0") };
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "response_modes_supported": ["query"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
    })
}

/// Whether the authority that a client was told of is known, and where its tenant's document is (instance discovery).
pub(super) fn instance(place: &Place<'_>, query: &[(String, String)]) -> Result<Value, Refused> {
    let asked = query.iter().find(|(key, _)| key == "authorization_endpoint").map(|(_, value)| value.as_str());
    let asked = asked.and_then(|url| reqwest::Url::parse(url).ok()).ok_or_else(Refused::missing)?;
    let named = match (asked.host_str(), asked.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    if named != place.host {
        return Err(Refused::new(400, "invalid_instance", 50_049, "Unknown or invalid instance."));
    }
    let tenant = asked.path_segments().and_then(|mut parts| parts.next()).unwrap_or_default();
    Ok(json!({
        "tenant_discovery_endpoint": format!("https://{named}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": named, "preferred_cache": named, "aliases": [named] }],
    }))
}
