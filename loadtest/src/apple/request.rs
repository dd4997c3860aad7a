//! Path and headers of a push to Apple, checked in the order in which Apple looks at them.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, request::Parts};
use uuid::Uuid;

use crate::ledger::Expiry;

use super::refusal::{Reason, Refusal};
use super::token::{ConnectionToken, ProviderTokens};

/// "apns-collapse-id ... must not exceed 64 bytes" (Apple, sending notification requests to APNs).
const MAX_COLLAPSE_ID: usize = 64;
const MAX_TOPIC: usize = 255;
const HEADERS: [&str; 7] =
    ["authorization", "apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id", "apns-id"];

/// Apple's `apns-push-type`s.
const PUSH_TYPES: [&str; 12] = [
    "alert",
    "background",
    "complication",
    "controls",
    "fileprovider",
    "liveactivity",
    "location",
    "mdm",
    "pushtotalk",
    "voip",
    "widgets",
    "urgent",
];

/// What a topic ends in for the types that have one of their own (Apple, sending notification requests to APNs).
const SUFFIXES: [(&str, &str); 8] = [
    (".voip", "voip"),
    (".complication", "complication"),
    (".pushkit.fileprovider", "fileprovider"),
    (".location-query", "location"),
    (".push-type.liveactivity", "liveactivity"),
    (".push-type.controls", "controls"),
    (".push-type.widgets", "widgets"),
    (".voip-ptt", "pushtotalk"),
];

/// The head of a push that passed.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) token: String,
    pub(super) topic: String,
    pub(super) id: String,
    pub(super) background: bool,
    pub(super) priority: u8,
    pub(super) expiry: Expiry,
    /// A rule that Apple documents but does not enforce.
    pub(super) careless: Option<&'static str>,
}

/// What the answer needs whether or not the request passes.
pub(super) struct Checked {
    /// The `apns-id` to echo.
    pub(super) id: String,
    /// Whether the provider token was good: that raises the connection's stream limit.
    pub(super) token_good: bool,
    pub(super) head: Result<Head, Refusal>,
}

/// Checks everything about a request but its body.
pub(super) fn check(parts: &Parts, tokens: &ProviderTokens, connection: &mut ConnectionToken, topics: &[String], now_s: i64) -> Checked {
    let (id, bad_id) = match header(&parts.headers, "apns-id") {
        Some(id) if is_canonical_uuid(id) => (id.to_owned(), false),
        given => (Uuid::from_u128(rand::random()).to_string(), given.is_some()),
    };
    let device = device_token(parts);
    let bearer = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let signed = device.and_then(|device| {
        tokens.check(connection, bearer, now_s)?;
        Ok(device)
    });
    let token_good = signed.is_ok();
    let head = signed.and_then(|device| {
        if bad_id {
            return Err(Refusal::misuse(Reason::BadMessageId, "bad-apns-id", ""));
        }
        read_head(parts, device, &id, topics)
    });
    Checked { id, token_good, head }
}

fn device_token(parts: &Parts) -> Result<&str, Refusal> {
    if parts.method != Method::POST {
        let seen = parts.method.to_string();
        return Err(Refusal::misuse(Reason::MethodNotAllowed, "method", seen));
    }
    let rest = parts.uri.path().strip_prefix("/3/device");
    match rest.and_then(|rest| rest.strip_prefix('/').or(rest.is_empty().then_some(""))) {
        None => Err(Refusal::misuse(Reason::BadPath, "path", "")),
        Some("") => Err(Refusal::misuse(Reason::MissingDeviceToken, "missing-device-token", "")),
        Some(token) if token.contains('/') => Err(Refusal::misuse(Reason::BadPath, "path", "")),
        Some(token) => Ok(token),
    }
}

fn read_head(parts: &Parts, device: &str, id: &str, topics: &[String]) -> Result<Head, Refusal> {
    let headers = &parts.headers;
    if let Some(name) = HEADERS.iter().find(|name| headers.get_all(**name).iter().nth(1).is_some()) {
        return Err(Refusal::misuse(Reason::DuplicateHeaders, "duplicate-headers", *name));
    }
    let topic = topic(headers, topics)?;
    let (background, careless) = push_type(headers, topic)?;
    let priority = priority(headers, background)?;
    let expiry = expiry(headers)?;
    if header(headers, "apns-collapse-id").is_some_and(|id| id.len() > MAX_COLLAPSE_ID)
        || (header(headers, "apns-collapse-id").is_none() && headers.contains_key("apns-collapse-id"))
    {
        return Err(Refusal::misuse(Reason::BadCollapseId, "bad-collapse-id", ""));
    }
    // Apple's device tokens are 32 bytes in hexadecimal, and may become longer.
    if device.len() < 64 || device.len() > 200 || !device.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Refusal::plain(Reason::BadDeviceToken));
    }
    Ok(Head { token: device.to_ascii_lowercase(), topic: topic.to_owned(), id: id.to_owned(), background, priority, expiry, careless })
}

fn topic<'a>(headers: &'a HeaderMap, allowed: &[String]) -> Result<&'a str, Refusal> {
    let missing = || Refusal::misuse(Reason::MissingTopic, "missing-topic", "");
    let bad = || Refusal::misuse(Reason::BadTopic, "bad-topic", "");
    let topic = headers.get("apns-topic").ok_or_else(missing)?;
    let topic = topic.to_str().map_err(|_| bad())?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if topic.is_empty() || topic.len() > MAX_TOPIC || !topic.bytes().all(fits) {
        return Err(bad());
    }
    // A wrong bundle id is a setting, not a broken rule: nobody is blamed, so that this can be tried on purpose.
    if !allowed.iter().any(|known| known == app_of(topic).0) {
        return Err(Refusal::plain(Reason::TopicDisallowed));
    }
    Ok(topic)
}

/// The bundle id of a topic and what follows it.
fn app_of(topic: &str) -> (&str, &str) {
    let kind = SUFFIXES.iter().find_map(|(suffix, _)| topic.strip_suffix(suffix).map(|app| (app, *suffix)));
    kind.unwrap_or((topic, ""))
}

/// The type, which must be one of those that the topic is for.
fn push_type(headers: &HeaderMap, topic: &str) -> Result<(bool, Option<&'static str>), Refusal> {
    let Some(given) = headers.get("apns-push-type") else {
        return Ok((false, Some("push-type-missing")));
    };
    let kind = given.to_str().ok().filter(|kind| PUSH_TYPES.contains(kind));
    let kind = kind.ok_or_else(|| Refusal::misuse(Reason::InvalidPushType, "bad-push-type", ""))?;
    let (_, suffix) = app_of(topic);
    let wanted = SUFFIXES.iter().find(|(_, of)| *of == kind).map_or("", |(suffix, _)| *suffix);
    // Management of devices has topics of its own form.
    if suffix != wanted && kind != "mdm" {
        return Err(Refusal::misuse(Reason::InvalidPushType, "push-type-of-another-topic", kind));
    }
    Ok((kind == "background", None))
}

fn priority(headers: &HeaderMap, background: bool) -> Result<u8, Refusal> {
    let bad = |detail: &str| Refusal::misuse(Reason::BadPriority, "bad-priority", detail);
    let Some(given) = headers.get("apns-priority") else {
        return Ok(10);
    };
    match given.as_bytes() {
        b"10" if background => Err(bad("a background push at priority 10")),
        b"10" => Ok(10),
        b"5" => Ok(5),
        b"1" => Ok(1),
        _ => Err(bad("neither 10 nor 5 nor 1")),
    }
}

fn expiry(headers: &HeaderMap) -> Result<Expiry, Refusal> {
    let Some(given) = headers.get("apns-expiration") else {
        return Ok(Expiry::Unbounded);
    };
    let seconds = given.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    match seconds {
        None => Err(Refusal::misuse(Reason::BadExpirationDate, "bad-expiration", "")),
        Some(0) => Ok(Expiry::AtOnce),
        Some(seconds) => Ok(Expiry::At(i64::from(seconds) * 1_000)),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Apple wants the canonical form: 8-4-4-4-12 hexadecimal digits.
fn is_canonical_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}
