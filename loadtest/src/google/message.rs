//! The body of a message to FCM: its fields and sizes checked, and what it says about mail.

use std::collections::BTreeMap;

use crate::ledger::{Expiry, PushKind, ShortHash, says_only_that_there_is_mail};

use super::error::{Code, Refusal};
use super::fields::{AndroidNotification, Message, Request};

/// "The maximum payload for both message types is 4096 bytes" (Firebase).
const MAX_BYTES: usize = 4_096;
/// "The maximum value for the time to live is 4 weeks" (Firebase).
const MAX_TTL_S: f64 = 2_419_200.0;
/// So many mails are named in one push; the rest is counted.
const MAX_HASHES: usize = 16;
/// Long device tokens exist, endless ones do not.
const MAX_TOKEN: usize = 1_024;

/// What a message says.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) validate_only: bool,
    /// `None` for a message to a topic or a condition, which names no device.
    pub(super) token: Option<String>,
    pub(super) tag: String,
    pub(super) kind: PushKind,
    pub(super) count: u32,
    pub(super) hashes: Vec<ShortHash>,
    pub(super) details: bool,
    pub(super) badge: Option<u64>,
    pub(super) expiry: Expiry,
}

/// Reads a message as FCM would, and its mail part by the product's own contract.
pub(super) fn read(body: &[u8], arrived_ms: i64) -> Result<Said, Refusal> {
    let request: Request = serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Refusal::unreadable(&place).blame("message-not-readable", place)
    })?;
    let message = request.message.ok_or_else(|| Refusal::field("message", "is missing").blame("message-not-readable", "no message"))?;
    message.fits()?;
    message.plausible()?;
    let token = message.token()?;
    let android = message.android.as_ref();
    let expiry = expiry(android.and_then(|a| a.ttl.as_deref()), arrived_ms)?;
    let tag = android.and_then(|a| a.notification.as_ref()?.tag.clone()).unwrap_or_default();
    let mail = MailPart::read(&message.data).ok_or_else(|| wrong("data", "mail-part-wrong"))?;
    if mail.kind == PushKind::Mail && message.notification.is_some() && tag.is_empty() {
        return Err(wrong("message.android.notification.tag", "tag-missing"));
    }
    Ok(Said {
        validate_only: request.validate_only,
        token: token.map(str::to_owned),
        tag,
        kind: mail.kind,
        count: mail.count,
        hashes: mail.hashes,
        details: message.details(),
        badge: mail.badge,
        expiry,
    })
}

fn wrong(field: &str, rule: &'static str) -> Refusal {
    Refusal::field(field, "is wrong").blame(rule, field)
}

impl Message {
    /// The device, if the message is for one. "Target to send a message to": exactly one of the kinds.
    fn token(&self) -> Result<Option<&str>, Refusal> {
        let target = [&self.token, &self.fid, &self.topic, &self.condition];
        if target.into_iter().flatten().count() != 1 {
            return Err(Refusal::fcm(Code::InvalidArgument).blame("no-recipient", "none, or more than one"));
        }
        let Some(token) = self.token.as_deref().or(self.fid.as_deref()) else {
            return Ok(None);
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':');
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(fits) {
            return Err(Refusal::field("message.token", "Invalid registration token"));
        }
        Ok(Some(token))
    }

    /// Size as FCM counts it: keys and values of data and notification.
    fn fits(&self) -> Result<(), Refusal> {
        let data: usize = self.data.iter().map(|(k, v)| k.len() + v.len()).sum();
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let shown = self.notification.as_ref().map_or(0, |n| length(&n.title) + length(&n.body) + length(&n.image));
        let android = self.android.as_ref().and_then(|a| a.notification.as_ref());
        let android = android.map_or(0, |n| {
            let args = n.title_loc_args.iter().chain(&n.body_loc_args);
            [&n.title, &n.body, &n.tag, &n.sound, &n.channel_id, &n.icon].map(length).iter().sum::<usize>()
                + args.map(String::len).sum::<usize>()
        });
        let size = data + shown + android;
        if size > MAX_BYTES {
            let refusal = Refusal::field("message", "is too big");
            return Err(refusal.blame("message-too-large", format!("{size} bytes")));
        }
        Ok(())
    }

    fn plausible(&self) -> Result<(), Refusal> {
        let reserved = |key: &&String| {
            matches!(key.as_str(), "from" | "message_type" | "notification") || key.starts_with("google") || key.starts_with("gcm")
        };
        if let Some(key) = self.data.keys().find(reserved) {
            return Err(wrong(&format!("message.data[{key}]"), "reserved-data-key"));
        }
        let Some(android) = &self.android else {
            return Ok(());
        };
        if !matches!(android.priority.as_deref(), None | Some("HIGH" | "NORMAL" | "high" | "normal")) {
            return Err(wrong("message.android.priority", "bad-priority"));
        }
        android.notification.as_ref().map_or(Ok(()), AndroidNotification::plausible)
    }

    /// Whether it shows, or hands to the app, anything but the agreed words and the mail part.
    fn details(&self) -> bool {
        let agreed = |key: &String| matches!(key.as_str(), "pr_v" | "pr_k" | "pr_n" | "pr_m" | "pr_badge");
        let shown = self
            .notification
            .as_ref()
            .is_some_and(|n| n.image.is_some() || !says_only_that_there_is_mail(n.title.as_deref(), n.body.as_deref()));
        let android = self.android.as_ref().and_then(|a| a.notification.as_ref());
        let android = android.is_some_and(AndroidNotification::shows_words);
        shown || android || !self.data.keys().all(agreed)
    }
}

impl AndroidNotification {
    fn plausible(&self) -> Result<(), Refusal> {
        let count = self.notification_count.is_none_or(|count| count >= 0);
        let color = self.color.as_deref().is_none_or(|color| color.len() == 7 && color.starts_with('#'));
        let visibility = matches!(self.visibility.as_deref(), None | Some("VISIBILITY_UNSPECIFIED" | "PRIVATE" | "PUBLIC" | "SECRET"));
        let priority = self.notification_priority.as_deref().is_none_or(|priority| priority.starts_with("PRIORITY_"));
        if count && color && visibility && priority {
            return Ok(());
        }
        Err(wrong("message.android.notification", "android-field-wrong"))
    }

    fn shows_words(&self) -> bool {
        let args = !self.title_loc_args.is_empty() || !self.body_loc_args.is_empty();
        let keys = self.title_loc_key.is_some() || self.body_loc_key.is_some();
        let words = self.title.is_some() || self.body.is_some();
        (words && !says_only_that_there_is_mail(self.title.as_deref(), self.body.as_deref())) || (args && keys)
    }
}

struct MailPart {
    kind: PushKind,
    count: u32,
    hashes: Vec<ShortHash>,
    badge: Option<u64>,
}

impl MailPart {
    fn read(data: &BTreeMap<String, String>) -> Option<Self> {
        let get = |key: &str| data.get(key).map(String::as_str);
        let badge = match get("pr_badge") {
            None => None,
            Some(text) => Some(text.parse().ok()?),
        };
        let mut part = Self { kind: PushKind::Badge, count: 0, hashes: Vec::new(), badge };
        match (get("pr_v"), get("pr_k")) {
            (None, None) => Some(part),
            (Some("1"), Some("badge")) if badge.is_some() => Some(part),
            (Some("1"), Some("mail")) => {
                part.kind = PushKind::Mail;
                part.count = get("pr_n")?.parse().ok()?;
                let names = get("pr_m")?.split(',').map(ShortHash::parse);
                part.hashes = names.collect::<Option<_>>()?;
                let many = part.hashes.len();
                (many <= MAX_HASHES && part.count as usize >= many).then_some(part)
            }
            _ => None,
        }
    }
}

/// `ttl` is a protobuf Duration in JSON: decimal seconds with an `s`.
fn expiry(ttl: Option<&str>, arrived_ms: i64) -> Result<Expiry, Refusal> {
    let Some(ttl) = ttl else {
        return Ok(Expiry::Unbounded);
    };
    let seconds = ttl.strip_suffix('s').and_then(|s| s.parse::<f64>().ok());
    match seconds {
        Some(0.0) => Ok(Expiry::AtOnce),
        Some(s) if (0.0..=MAX_TTL_S).contains(&s) => Ok(Expiry::At(arrived_ms + (s * 1_000.0) as i64)),
        _ => Err(wrong("message.android.ttl", "bad-ttl")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn message() -> Value {
        json!({"message": {
            "token": "abc:DEF-1_2",
            "notification": {"title": "Ann", "body": "Hello\n..."},
            "data": {"pr_v": "1", "pr_k": "mail", "pr_n": "3", "pr_m": "ungWv48B,AAAAAAAA", "pr_badge": "7"},
            "android": {"priority": "HIGH", "ttl": "60s", "notification":
                {"tag": "t", "sound": "default", "channel_id": "mail", "notification_count": 7}},
        }})
    }

    fn rule(message: &Value) -> &'static str {
        let refusal = read(message.to_string().as_bytes(), 0).unwrap_err();
        refusal.misuse.map_or("nobody is to blame", |(rule, _)| rule)
    }

    #[test]
    fn a_mail_with_details_is_read_whole() {
        let said = read(message().to_string().as_bytes(), 1_000).unwrap();
        assert_eq!((said.kind, said.count, said.badge), (PushKind::Mail, 3, Some(7)));
        assert_eq!(said.hashes[0], ShortHash::of_item("abc"));
        assert_eq!(said.expiry, Expiry::At(61_000));
        assert!(said.details && said.tag == "t");
    }

    #[test]
    fn the_agreed_words_are_no_details_but_a_foreign_data_field_is() {
        let mut plain = message();
        plain["message"]["notification"] = json!({"title": "New mail", "body": "You have 3 new mails"});
        assert!(!read(plain.to_string().as_bytes(), 0).unwrap().details);
        plain["message"]["data"]["subject"] = json!("secret");
        assert!(read(plain.to_string().as_bytes(), 0).unwrap().details);
    }

    #[test]
    fn a_badge_is_a_data_message() {
        let badge = json!({"message": {"token": "t", "data": {"pr_v": "1", "pr_k": "badge", "pr_badge": "5"},
            "android": {"priority": "NORMAL", "collapse_key": "badge", "ttl": "0s"}}});
        let said = read(badge.to_string().as_bytes(), 0).unwrap();
        assert_eq!((said.kind, said.badge, said.details), (PushKind::Badge, Some(5), false));
        assert_eq!(said.expiry, Expiry::AtOnce);
    }

    #[test]
    fn wrong_fields_are_refused_by_rule() {
        let with = |pointer: &str, value: Value| {
            let mut message = message();
            *message.pointer_mut(pointer).unwrap() = value;
            rule(&message)
        };
        assert_eq!(with("/message/android/ttl", json!("60")), "bad-ttl");
        assert_eq!(with("/message/android/ttl", json!("2419201s")), "bad-ttl");
        assert_eq!(with("/message/android/priority", json!("URGENT")), "bad-priority");
        assert_eq!(with("/message/data/pr_n", json!(3)), "message-not-readable");
        assert_eq!(with("/message/data/pr_n", json!("1")), "mail-part-wrong");
        assert_eq!(with("/message/android/notification/tag", json!("")), "tag-missing");
        assert_eq!(with("/message/notification/body", json!("x".repeat(4_097))), "message-too-large");
        assert_eq!(with("/message/token", json!("no spaces")), "nobody is to blame");
        let mut message = message();
        message["message"]["data"]["google.x"] = json!("1");
        assert_eq!(rule(&message), "reserved-data-key");
        message["message"]["subject"] = json!("t");
        assert_eq!(rule(&message), "message-not-readable");
    }

    #[test]
    fn both_spellings_and_every_field_of_the_reference_are_read() {
        let android = |count: &str, timings: &str| {
            json!({"priority": "high", "ttl": "3.5s", "collapseKey": "", "directBootOk": true, "bandwidthConstrainedOk": true,
                "fcmOptions": {"analyticsLabel": "x"}, "data": {"a": "b"}, "restrictedPackageName": "com.example.mail",
                "notification": {"tag": "t", "ticker": "x", "sticky": true, "eventTime": "2026-01-01T00:00:00Z", "localOnly": false,
                    "notificationPriority": "PRIORITY_HIGH", "defaultSound": true, "sound": "s", count: 2, timings: ["1s", "0.5s"],
                    "lightSettings": {"color": {"red": 1}, "lightOnDuration": "1s", "lightOffDuration": "1s"},
                    "defaultLightSettings": false, "proxy": "ALLOW", "visibility": "PRIVATE", "image": "https://example.com/x"}})
        };
        for (count, timings) in [("notificationCount", "vibrateTimings"), ("notification_count", "vibrate_timings")] {
            let mut message = message();
            message["message"]["android"] = android(count, timings);
            message["message"]["apns"] = json!({"headers": {"apns-priority": "5"}, "payload": {"aps": {}}});
            message["message"]["webpush"] = json!({"headers": {}});
            message["message"]["fcmOptions"] = json!({"analyticsLabel": "x"});
            message["validateOnly"] = json!(true);
            let said = read(message.to_string().as_bytes(), 0).unwrap();
            assert!(said.validate_only && said.expiry == Expiry::At(3_500));
            message["message"]["android"]["notification"][count] = json!(-1);
            assert_eq!(rule(&message), "android-field-wrong");
        }
    }

    #[test]
    fn a_message_is_for_a_device_a_topic_or_a_condition_and_for_one_of_them() {
        let reads = |mut target: Value| {
            target["notification"] = json!({"title": "x"});
            read(json!({ "message": target }).to_string().as_bytes(), 0)
        };
        assert_eq!(reads(json!({"topic": "news"})).unwrap().token, None);
        assert_eq!(reads(json!({"condition": "'a' in topics"})).unwrap().token, None);
        assert_eq!(reads(json!({"fid": "t"})).unwrap().token.as_deref(), Some("t"));
        for target in [json!({"token": "t", "fid": "t"}), json!({}), json!({"token": "t", "topic": "news"})] {
            assert_eq!(reads(target).unwrap_err().misuse.unwrap().0, "no-recipient");
        }
    }
}
