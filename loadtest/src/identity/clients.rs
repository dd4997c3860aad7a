//! How an application shows at the token endpoint who it is: a secret in the form or in the header, or an assertion that its certificate signed.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::server::IdentityOptions;
use super::tokens::Refused;

/// "client_assertion_type" of a JWT (RFC 7523, section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Clocks differ.
const LEEWAY_S: f64 = 300.0;

/// A certificate that an application may sign assertions with.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The application's client id.
    pub client_id: String,
    /// The certificate, by whose hash an assertion names it.
    pub der: Vec<u8>,
    /// Its RSA key (PKCS #1).
    pub public_key: Vec<u8>,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// Whether a JOSE header means it: by `x5t#S256` (SHA-256) or by the older `x5t` (SHA-1).
    fn is_named_by(&self, header: &jsonwebtoken::Header) -> bool {
        let is = |algorithm, given: &Option<String>| {
            let hash = URL_SAFE_NO_PAD.encode(digest::digest(algorithm, &self.der));
            given.as_deref().map(|text| text.trim_end_matches('=')) == Some(&hash)
        };
        is(&digest::SHA256, &header.x5t_s256) || is(&digest::SHA1_FOR_LEGACY_USE_ONLY, &header.x5t)
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    /// Seconds, not always whole ones (RFC 7519, section 2, NumericDate).
    exp: f64,
    nbf: Option<f64>,
    jti: Option<String>,
}

/// What a token request says about its sender.
#[derive(Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    pub(super) client_id: Option<&'a str>,
    pub(super) secret: Option<&'a str>,
    pub(super) assertion_type: Option<&'a str>,
    pub(super) assertion: Option<&'a str>,
    /// The `Authorization` header.
    pub(super) header: Option<&'a str>,
}

/// Name and secret of a Basic header; both are encoded like a form's fields (RFC 6749, section 2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, value) = header.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| super::server::form_of(format!("x={text}").as_bytes()).pop().map(|(_, value)| value);
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    Some((plain(id)?, plain(secret)?))
}

/// The id of the application that asks; `audiences` are the names of this endpoint.
pub(super) fn identify(options: &IdentityOptions, shown: Shown<'_>, audiences: &[String]) -> Result<String, Refused> {
    let from_header = shown.header.and_then(basic);
    if from_header.is_some() && (shown.secret.is_some() || shown.assertion.is_some()) {
        // "The client MUST NOT use more than one authentication method in each request" (RFC 6749, section 2.3).
        return Err(Refused::new(400, "invalid_request", 900_144, "More than one way of client authentication.").misuse());
    }
    let claimed = shown.client_id.or(from_header.as_ref().map(|(id, _)| id.as_str()));
    let id = claimed.ok_or_else(Refused::missing)?;
    let known = options.clients.iter().find(|client| client.id == id);
    let client = known.ok_or_else(|| Refused::new(400, "unauthorized_client", 700_016, "Application was not found in the directory."))?;
    if let Some(assertion) = shown.assertion {
        if shown.assertion_type != Some(JWT_BEARER) {
            let text = "The client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer.";
            return Err(Refused::new(400, "invalid_request", 50_027, text).misuse());
        }
        return check_assertion(options, id, assertion, audiences).map(|()| client.id.clone());
    }
    let secret = match (&from_header, shown.secret) {
        (Some((name, secret)), _) if name == id => secret.as_str(),
        (None, Some(secret)) => secret,
        _ => {
            let text = "The request body must contain client_assertion or client_secret.";
            return Err(Refused::new(401, "invalid_client", 7_000_218, text).misuse());
        }
    };
    aws_lc_rs::constant_time::verify_slices_are_equal(client.secret.as_bytes(), secret.as_bytes())
        .map_err(|_| Refused::new(401, "invalid_client", 7_000_215, "Invalid client secret provided."))?;
    Ok(client.id.clone())
}

fn check_assertion(options: &IdentityOptions, id: &str, assertion: &str, audiences: &[String]) -> Result<(), Refused> {
    let malformed = || Refused::new(400, "invalid_request", 50_027, "JWT token is invalid or malformed.").misuse();
    let header = jsonwebtoken::decode_header(assertion).map_err(|_| malformed())?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::PS256) {
        return Err(malformed());
    }
    let own = options.certificates.iter().filter(|certificate| certificate.client_id == id);
    let unknown = || {
        let text = "Client assertion failed signature validation: the key was not found by its thumbprint.";
        Refused::new(401, "invalid_client", 700_027, text)
    };
    let certificate = own.into_iter().find(|certificate| certificate.is_named_by(&header)).ok_or_else(unknown)?;
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(assertion, &DecodingKey::from_rsa_der(&certificate.public_key), &validation)
        .map_err(|_| Refused::new(401, "invalid_client", 700_027, "Client assertion failed signature validation."))?
        .claims;
    if claims.iss != id || claims.sub != id || claims.jti.is_none_or(|jti| jti.is_empty()) {
        let text = "The client assertion must name the application as issuer and subject, and carry a jti.";
        return Err(Refused::new(401, "invalid_client", 700_021, text).misuse());
    }
    if !audiences.contains(&claims.aud) {
        return Err(Refused::new(401, "invalid_client", 700_023, "Client assertion audience claim does not match Realm issuer.").misuse());
    }
    let now = Timestamp::now().as_second() as f64;
    if claims.exp + LEEWAY_S < now || claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY_S) {
        return Err(Refused::new(401, "invalid_client", 700_024, "Client assertion is not within its valid time range."));
    }
    Ok(())
}
