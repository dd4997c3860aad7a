//! How a handler gets what it works on out of a request: path, query and body, each refused as a problem that names the field.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use postrider_actors::ids::Smtp;
use postrider_actors::ports::registry_change::AuditAsk;
use postrider_actors::time::Timestamp;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::api::error::ApiError;
use crate::api::{Shared, fields};

/// The longest field name that an error repeats.
const FIELD_NAME_MAX: usize = 64;

/// The mailbox in the path, well-formed; whether the caller may reach it is another question.
pub struct SmtpPath(pub Smtp);

/// The mailbox and the device in the path, well-formed.
pub struct DevicePath(pub Smtp, pub String);

impl<S: Send + Sync> FromRequestParts<S> for SmtpPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(fields::smtp(&path_parameter(parts, state, "smtp").await?)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let smtp = fields::smtp(&path_parameter(parts, state, "smtp").await?)?;
        Ok(Self(smtp, fields::device(&path_parameter(parts, state, "device").await?)?))
    }
}

/// The path of a mailbox, for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
pub struct MailboxParams {
    /// SMTP address of the mailbox.
    #[param(max_length = 320)]
    smtp: String,
}

/// The path of a device, for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
pub struct DeviceParams {
    /// SMTP address of the mailbox.
    #[param(max_length = 320)]
    smtp: String,
    /// The app's own name of the device.
    #[param(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._-]+$")]
    device: String,
}

/// One path segment, percent-decoded; the router refuses what is not UTF-8 then.
async fn path_parameter<S: Send + Sync>(parts: &mut Parts, state: &S, name: &'static str) -> Result<String, ApiError> {
    let found = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::invalid(name, "is not UTF-8 after percent-decoding"))?;
    found.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).ok_or(ApiError::Internal)
}

/// Which page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The last address of the page before.
    pub after: Option<Smtp>,
    /// How many, 1 to 1,000.
    pub limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        page(&parts.uri)
    }
}

fn page(uri: &Uri) -> Result<Page, ApiError> {
    let unreadable = || ApiError::invalid("", "the query is not `after=<address>&limit=<number>`");
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| unreadable())?.0;
    let (mut after, mut limit) = (None, None);
    for (key, value) in pairs {
        match key.as_str() {
            "after" if after.is_none() => {
                after = Some(fields::smtp(&value).map_err(|_| ApiError::invalid("after", "must be an SMTP address"))?)
            }
            "limit" if limit.is_none() => {
                let number = value.parse().ok().filter(|n| (1..=1_000).contains(n));
                limit = Some(number.ok_or_else(|| ApiError::invalid("limit", "must be a whole number from 1 to 1000"))?);
            }
            _ => return Err(unreadable()),
        }
    }
    Ok(Page { after, limit: limit.unwrap_or(100) })
}

/// Which lines of the audit trail; whose is the handler's.
pub struct AuditPage(pub AuditAsk);

impl<S: Send + Sync> FromRequestParts<S> for AuditPage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        audit_page(&parts.uri).map(Self)
    }
}

fn audit_page(uri: &Uri) -> Result<AuditAsk, ApiError> {
    let unreadable = || ApiError::invalid("", "the query takes before, limit, since, until, who, what and object, each once");
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| unreadable())?.0;
    let mut ask = AuditAsk { limit: 100, ..AuditAsk::default() };
    let mut seen = BTreeSet::new();
    for (key, value) in pairs {
        if !seen.insert(key.clone()) {
            return Err(unreadable());
        }
        let wrong = |detail: &'static str| ApiError::invalid(key.clone(), detail);
        match key.as_str() {
            "before" => {
                let number = value.parse().ok().filter(|number: &i64| *number >= 1);
                ask.before = Some(number.ok_or_else(|| wrong("must be a whole number from 1 on"))?);
            }
            "limit" => {
                let number = value.parse().ok().filter(|number| (1..=1_000).contains(number));
                ask.limit = number.ok_or_else(|| wrong("must be a whole number from 1 to 1000"))?;
            }
            "since" => ask.since = Some(moment(&value).ok_or_else(|| wrong("must be a time as in 2027-01-15T08:00:00Z"))?),
            "until" => ask.until = Some(moment(&value).ok_or_else(|| wrong("must be a time as in 2027-01-15T08:00:00Z"))?),
            "who" | "what" | "object" => {
                if value.is_empty() || value.chars().count() > 200 || value.contains('\0') {
                    return Err(wrong("must have 1 to 200 characters, none of them NUL"));
                }
                match key.as_str() {
                    "who" => ask.who = Some(value),
                    "what" => ask.what = Some(value),
                    _ => ask.object = Some(value),
                }
            }
            _ => return Err(unreadable()),
        }
    }
    Ok(ask)
}

/// A point in time as RFC 3339 has it.
fn moment(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_microsecond()))
}

/// A JSON body of at most the configured size.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::MediaType);
        }
        let limit = state.settings.body_limit.len();
        let bytes = tokio::time::timeout(state.settings.read_timeout, Bytes::from_request(request, state)).await;
        let bytes = bytes.map_err(|_| ApiError::SlowBody)?.map_err(|refused| ApiError::unreadable_body(refused.status(), limit))?;
        parse(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoded = headers.contains_key(CONTENT_ENCODING) && !text(CONTENT_ENCODING).eq_ignore_ascii_case("identity");
    essence == "application/json" && !encoded
}

/// Reads an object strictly: unknown, missing and doubled fields are mistakes. Field types word their own messages without the value.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(ApiError::invalid("", "the body must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        describe(&path, error.inner())
    })?;
    reader.end().map_err(|_| ApiError::invalid("", "something follows the JSON object in the body"))?;
    Ok(value)
}

fn describe(path: &str, error: &serde_json::Error) -> ApiError {
    if !error.is_data() {
        return ApiError::invalid("", format!("the body is not valid JSON at line {}, column {}", error.line(), error.column()));
    }
    let field = if path == "." { "" } else { path };
    let position = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let detail: String = text.strip_suffix(&position).unwrap_or(&text).chars().take(300).collect();
    ApiError::invalid(field.chars().take(FIELD_NAME_MAX).collect::<String>(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::{ChangeBody, RegisterBody};

    fn detail<T: DeserializeOwned>(body: &[u8]) -> (String, String) {
        match parse::<T>(body).map(|_| ()) {
            Err(ApiError::Invalid { field, detail }) => (field.into_owned(), detail.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_field_is_named_and_its_value_is_not_repeated() {
        let (field, text) = detail::<RegisterBody>(br#"{"provider":"apns","app":"a","token":{"x":"hush"}}"#);
        assert_eq!(field, "token");
        assert!(text.starts_with("must be a string") && !text.contains("hush"), "{text}");
        assert_eq!(detail::<RegisterBody>(br#"{"provider":"apns","app":"a"}"#), (String::new(), "missing field `token`".into()));
        assert_eq!(
            detail::<ChangeBody>(br#"{"pushDowngradeCutoffSec":1,"pushDowngradeCutoffSec":2}"#).1,
            "duplicate field `pushDowngradeCutoffSec`"
        );
        assert_eq!(detail::<ChangeBody>(br#"{"pushDowngradeCutoffSec":1} x"#).1, "something follows the JSON object in the body");
        assert!(detail::<ChangeBody>(br#"{"x":1}"#).1.starts_with("unknown field `x`"));
    }

    #[test]
    fn what_is_no_json_object_is_told_by_its_place() {
        for (body, wanted) in [
            (&b""[..], "the body must be a JSON object"),
            (b"[]", "the body must be a JSON object"),
            (b"\"hush\"", "the body must be a JSON object"),
            (b"{", "the body is not valid JSON at line 1, column 1"),
            (b"{\"a\": hush}", "the body is not valid JSON"),
            (b"{\"pushDowngradeCutoffSec\": \"\xff\"}", "the body is not valid JSON"),
        ] {
            let (_, text) = detail::<ChangeBody>(body);
            assert!(text.starts_with(wanted) || text.starts_with("unknown field `a`"), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn pages_have_a_size_and_a_beginning() {
        let page = |query: &str| page(&format!("/x{query}").parse::<Uri>().unwrap());
        assert_eq!(page("").unwrap(), Page { after: None, limit: 100 });
        assert_eq!(page("?after=A%40b.c&limit=5").unwrap(), Page { after: Some(Smtp::new("a@b.c")), limit: 5 });
        for wrong in ["?limit=0", "?limit=1001", "?limit=x", "?limit=-1", "?limit=1&limit=2", "?after=x", "?other=1", "?after=%ff"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
