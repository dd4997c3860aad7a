//! What phones and administrators may write into a path, a query or a body, field by field; messages say what is wanted and never repeat what came.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::Smtp;
use postrider_actors::ports::push_sender::{Provider, PushToken};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::error::ApiError;

/// The longest SMTP address: 64 characters, `@`, 255 characters (RFC 5321 section 4.5.3.1).
const ADDRESS_MAX: usize = 320;
/// `pushDowngradeCutoffSec` of a device that says nothing: 12 hours.
pub const CUTOFF_DEFAULT: Duration = Duration::from_secs(43_200);
/// The largest `pushDowngradeCutoffSec`: 3 days.
const CUTOFF_MAX_SEC: u64 = 259_200;
/// The longest APNs device token, in hexadecimal characters (Apple: "APNs device tokens are of variable length"; 64 today).
const APNS_TOKEN_MAX: usize = 200;
/// The longest FCM registration token, in characters (no limit is documented; about 160 today).
const FCM_TOKEN_MAX: usize = 4_096;

/// Reads an SMTP address: one `@`, something on both sides, no space and no control character, at most 320 characters. The whole is taken in lower case.
///
/// # Errors
/// A sentence that says what an address must be.
pub fn smtp(text: &str) -> Result<Smtp, ApiError> {
    let wrong = |detail: &'static str| Err(ApiError::invalid("smtp", detail));
    if text.chars().count() > ADDRESS_MAX {
        return wrong("an SMTP address has at most 320 characters");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || is_invisible(c)) {
        return wrong("an SMTP address has no spaces, control characters or invisible characters");
    }
    if text.chars().any(|c| !c.is_ascii() && c.to_lowercase().any(|lower| lower.is_ascii())) {
        return wrong("an SMTP address has no letters that become others in lower case");
    }
    let Some((local, domain)) = text.split_once('@') else { return wrong("an SMTP address has an @ in it") };
    if local.is_empty() || domain.contains('@') {
        return wrong("an SMTP address has exactly one @, with a name before it");
    }
    if !domain.split('.').all(is_label) {
        return wrong("the part behind the @ must be a mail domain such as example.com");
    }
    if text.contains(['/', '\\', '<', '>', '"', '(', ')', ',', ';', ':', '[', ']']) {
        return wrong("an SMTP address has none of / \\ < > \" ( ) , ; : [ ]");
    }
    Ok(Smtp::new(text))
}

/// Letters, digits and hyphens (not at the ends) in any script: names in IDNA's Unicode form stay as they are.
fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '-' || (!c.is_ascii() && !c.is_control());
    !label.is_empty() && label.chars().count() <= 63 && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Zero-width and direction-changing characters make two addresses look like one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Reads a device's name: 1 to 128 characters of `[A-Za-z0-9._-]`.
///
/// # Errors
/// A sentence that says what a name must be.
pub fn device(text: &str) -> Result<String, ApiError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > 128 || !text.bytes().all(good) || text.bytes().all(|b| b == b'.') {
        return Err(ApiError::invalid("device", "a device name is 1 to 128 characters of A-Z a-z 0-9 . _ - and not only dots"));
    }
    Ok(text.to_owned())
}

/// The body of a registration.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RegisterBody {
    /// `apns` or `fcm`.
    #[schema(value_type = ProviderName)]
    provider: ProviderName,
    /// Which APNs environment the token belongs to; only with `apns`.
    #[serde(default)]
    #[schema(value_type = Option<EnvironmentName>)]
    environment: Option<EnvironmentName>,
    /// Bundle id or package name.
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[A-Za-z0-9._-]+$")]
    app: AppName,
    /// The provider's token: hexadecimal for APNs, visible ASCII for FCM.
    #[schema(value_type = String, min_length = 1, max_length = 4096)]
    token: TokenText,
    /// After how many seconds without activity pushes lose sender, subject and preview; 0 = they never have them.
    #[serde(default)]
    #[schema(value_type = u32, default = 43200, minimum = 0, maximum = 259200)]
    push_downgrade_cutoff_sec: Cutoff,
}

/// The body of a change.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChangeBody {
    /// After how many seconds without activity pushes lose sender, subject and preview; 0 = they never have them.
    #[schema(value_type = u32, minimum = 0, maximum = 259200)]
    pub push_downgrade_cutoff_sec: Cutoff,
}

/// The body of the switch that pauses all sending.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendingBody {
    /// Whether pushes may leave, on all nodes.
    #[schema(value_type = bool)]
    pub allowed: Switch,
}

/// What a registration says, after its fields were looked at together.
pub struct Registering {
    /// The provider and its environment.
    pub provider: Provider,
    /// The app.
    pub app: Arc<str>,
    /// The token, in lower case for APNs: its hexadecimal form is not unique otherwise.
    pub token: PushToken,
    /// The cut-off.
    pub cutoff: Duration,
}

impl RegisterBody {
    /// Looks at the fields that depend on each other.
    ///
    /// # Errors
    /// The field that does not go with the provider.
    pub fn check(self) -> Result<Registering, ApiError> {
        let (provider, token) = match (self.provider, self.environment) {
            (ProviderName::Fcm, Some(_)) => return Err(ApiError::invalid("environment", "goes with the provider apns only; leave it out")),
            (ProviderName::Fcm, None) => (Provider::Fcm, fcm_token(self.token.0)?),
            (ProviderName::Apns, Some(EnvironmentName::Sandbox)) => (Provider::ApnsSandbox, apns_token(&self.token.0)?),
            (ProviderName::Apns, _) => (Provider::Apns, apns_token(&self.token.0)?),
        };
        Ok(Registering { provider, app: self.app.0, token: PushToken(token), cutoff: self.push_downgrade_cutoff_sec.0 })
    }
}

fn apns_token(text: &str) -> Result<Box<str>, ApiError> {
    if text.len() > APNS_TOKEN_MAX || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ApiError::invalid("token", "an APNs device token is 1 to 200 hexadecimal characters"));
    }
    Ok(text.to_ascii_lowercase().into())
}

fn fcm_token(text: Box<str>) -> Result<Box<str>, ApiError> {
    if text.len() > FCM_TOKEN_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ApiError::invalid("token", "an FCM registration token is 1 to 4096 visible ASCII characters"));
    }
    Ok(text)
}

/// Declares a field type that is read from any JSON value by one function, so that no message of the parser repeats the value.
macro_rules! field {
    ($name:ident, $read:expr, $wanted:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let read: fn(Value) -> Option<Self> = $read;
                read(Value::deserialize(from)?).ok_or_else(|| D::Error::custom($wanted))
            }
        }
    };
}

/// The provider's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ProviderName {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
}

field!(
    ProviderName,
    |value| match value.as_str()? {
        "apns" => Some(Self::Apns),
        "fcm" => Some(Self::Fcm),
        _ => None,
    },
    "must be \"apns\" or \"fcm\""
);

/// The APNs environment's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum EnvironmentName {
    /// Apps from the store, TestFlight and in-house distribution.
    Production,
    /// Apps that run from a development machine.
    Sandbox,
}

field!(
    EnvironmentName,
    |value| match value.as_str()? {
        "production" => Some(Self::Production),
        "sandbox" => Some(Self::Sandbox),
        _ => None,
    },
    "must be \"production\" or \"sandbox\""
);

struct AppName(Arc<str>);

field!(
    AppName,
    |value| {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let text = value.as_str()?;
        (!text.is_empty() && text.len() <= 255 && text.bytes().all(good)).then(|| Self(text.into()))
    },
    "must be a bundle id or package name: 1 to 255 characters of A-Z a-z 0-9 . _ -"
);

struct TokenText(Box<str>);

field!(
    TokenText,
    |value| {
        let text = value.as_str()?;
        (!text.is_empty() && text.len() <= FCM_TOKEN_MAX).then(|| Self(text.into()))
    },
    "must be a string of 1 to 4096 characters: the token that the provider gave to the app"
);

/// `pushDowngradeCutoffSec`.
pub struct Cutoff(pub Duration);

impl Default for Cutoff {
    fn default() -> Self {
        Self(CUTOFF_DEFAULT)
    }
}

field!(
    Cutoff,
    |value| value.as_u64().filter(|sec| *sec <= CUTOFF_MAX_SEC).map(|sec| Self(Duration::from_secs(sec))),
    "must be a whole number of seconds from 0 to 259200 (3 days)"
);

/// `true` or `false`.
pub struct Switch(pub bool);

field!(Switch, |value| value.as_bool().map(Self), "must be true or false");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_lower_case() {
        for (text, taken) in [
            ("Ann.Lee@Example.COM", "ann.lee@example.com"),
            ("o'neil+x@sub.example.com", "o'neil+x@sub.example.com"),
            ("jürgen@bücher.example", "jürgen@bücher.example"),
            ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
            ("a@localhost", "a@localhost"),
        ] {
            assert_eq!(smtp(text).unwrap().as_str(), taken);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(320));
        for text in [
            "",
            "a",
            "@",
            "a@",
            "@b.c",
            "a@b@c",
            "a b@c.d",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b.c",
            "a\u{0}@b.c",
            "a\n@b.c",
            "a@b/c",
            "\u{feff}a@b.c",
            "a@b\u{202e}.c",
            "a/../x@b.c",
            "<a@b.c>",
            "a@[127.0.0.1]",
            "a@b:80",
            "a@b?c",
            "a@b#c",
            "an\u{212a}@b.c",
            "\u{130}@b.c",
            &long,
        ] {
            assert!(matches!(smtp(text), Err(ApiError::Invalid { .. })), "{text:?}");
        }
    }

    #[test]
    fn the_cut_off_is_a_whole_number_within_three_days() {
        let read = |text: &str| serde_json::from_str::<Cutoff>(text).ok().map(|cutoff| cutoff.0.as_secs());
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("259200"), Some(259_200));
        for wrong in ["259201", "-1", "1.5", "1e3", "\"60\"", "null", "[]", "true", "18446744073709551616"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(Cutoff::default().0.as_secs(), 43_200);
    }

    #[test]
    fn a_token_must_look_like_its_provider_made_it() {
        let check = |text: &str| serde_json::from_str::<RegisterBody>(text).ok().and_then(|body| body.check().ok());
        let apns = check(r#"{"provider":"apns","environment":"sandbox","app":"com.example.mail","token":"AB12"}"#).unwrap();
        assert_eq!((apns.provider, &*apns.token.0), (Provider::ApnsSandbox, "ab12"));
        assert!(check(r#"{"provider":"fcm","app":"com.example.mail","token":"AB:_-z"}"#).is_some());
        for wrong in [
            r#"{"provider":"fcm","environment":"sandbox","app":"a","token":"x"}"#,
            r#"{"provider":"apns","app":"a","token":"xyz"}"#,
            r#"{"provider":"fcm","app":"a","token":"x y"}"#,
            r#"{"provider":"fcm","app":"a","token":"ü"}"#,
            r#"{"provider":"fcm","app":"a","token":""}"#,
            r#"{"provider":"fcm","app":"a b","token":"x"}"#,
        ] {
            assert!(check(wrong).is_none(), "{wrong}");
        }
    }
}
