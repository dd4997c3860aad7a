//! What the claims of a token with a good signature must say (RFC 7519): pinned issuer and audience, a time, and the user's address in the pinned claim.

use postrider_actors::ids::Smtp;
use postrider_actors::time::Timestamp;
use serde_json::{Map, Value};

use crate::api::fields;
use crate::config::tenants::Identity;

/// How far the identity provider's clock may differ from ours, seconds.
const SKEW_SECONDS: f64 = 60.0;

/// The claims of a token.
pub type Claims = Map<String, Value>;

/// Whether a token with these claims is meant for us under these settings; it chooses the settings, it believes nothing.
#[must_use]
pub fn names(claims: &Claims, settings: &Identity) -> bool {
    claims.get("iss").and_then(Value::as_str) == Some(settings.issuer.as_str()) && has_audience(claims, settings)
}

/// The address of the user whom the token speaks for.
///
/// # Errors
/// What is wrong with it, for the caller.
pub fn check(claims: &Claims, settings: &Identity, now: Timestamp) -> Result<Smtp, &'static str> {
    if !names(claims, settings) {
        return Err("the token is of another issuer or for another audience");
    }
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in f64 for millions of years")]
    let now = now.epoch_seconds() as f64;
    match claims.get("exp").and_then(Value::as_f64) {
        Some(exp) if now < exp + SKEW_SECONDS => {}
        Some(_) => return Err("the token has expired"),
        None => return Err("the token does not say when it expires"),
    }
    match claims.get("nbf").map(Value::as_f64) {
        None => {}
        Some(Some(nbf)) if now + SKEW_SECONDS >= nbf => {}
        Some(_) => return Err("the token is not valid yet"),
    }
    if settings.claim == "email" && !settings.allow_email_claim {
        return Err("the claim email is not believed");
    }
    let address =
        claims.get(&settings.claim).and_then(Value::as_str).ok_or("the token has no mail address in the claim that is asked for")?;
    fields::smtp(address).map_err(|_| "the token's claim does not hold an SMTP address")
}

fn has_audience(claims: &Claims, settings: &Identity) -> bool {
    let ours = |value: &Value| value.as_str().is_some_and(|text| text == settings.audience);
    match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(ours),
        Some(one) => ours(one),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn settings() -> Identity {
        crate::config::from_toml("issuer = 'https://id.example.com'\naudience = 'push'\nclaim = 'upn'").unwrap()
    }

    fn good() -> Value {
        json!({"iss": "https://id.example.com", "aud": "push", "exp": NOW + 300, "upn": "Ann@example.com"})
    }

    fn with(change: Value) -> Result<Smtp, &'static str> {
        let mut claims = good().as_object().unwrap().clone();
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.remove(key)
            } else {
                claims.insert(key.clone(), value.clone())
            };
        }
        check(&claims, &settings(), Timestamp(NOW * 1_000_000))
    }

    #[test]
    fn a_token_speaks_for_the_address_in_its_claim() {
        for change in [json!({}), json!({"aud": ["x", "push"]}), json!({"exp": NOW - 59}), json!({"nbf": NOW + 60}), json!({"exp": 1.9e9})]
        {
            assert_eq!(with(change.clone()).unwrap().as_str(), "ann@example.com", "{change}");
        }
    }

    #[test]
    fn a_token_that_is_not_for_us_or_not_for_this_moment_is_refused() {
        for change in [
            json!({"iss": null}),
            json!({"iss": ["https://id.example.com"]}),
            json!({"iss": "https://id.example.com/"}),
            json!({"aud": null}),
            json!({"aud": "other"}),
            json!({"aud": []}),
            json!({"aud": {"push": 1}}),
            json!({"aud": ["pus", 5]}),
            json!({"exp": null}),
            json!({"exp": NOW - 60}),
            json!({"exp": "1900000000"}),
            json!({"exp": [NOW + 5]}),
            json!({"nbf": NOW + 61}),
            json!({"nbf": "0"}),
            json!({"nbf": []}),
            json!({"upn": null}),
            json!({"upn": ["ann@example.com"]}),
            json!({"upn": {}}),
            json!({"upn": 5}),
            json!({"upn": "ann"}),
            json!({"upn": ""}),
        ] {
            assert!(with(change.clone()).is_err(), "{change}");
        }
    }

    #[test]
    fn email_is_believed_only_where_the_tenant_says_so() {
        let mut settings = Identity { claim: "email".into(), ..settings() };
        let claims = json!({"iss": "https://id.example.com", "aud": "push", "exp": NOW + 300, "email": "ann@example.com"});
        let claims = claims.as_object().unwrap();
        assert!(check(claims, &settings, Timestamp(NOW * 1_000_000)).is_err());
        settings.allow_email_claim = true;
        assert!(check(claims, &settings, Timestamp(NOW * 1_000_000)).is_ok());
    }
}
