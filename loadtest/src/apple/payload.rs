//! The body of a push to Apple: what must be in it, what may be, and what it says about mail.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::ledger::{PushKind, ShortHash, says_only_that_there_is_mail};

use super::refusal::{Reason, Refusal};

/// "For all other remote notifications, the maximum payload size is 4 KB (4096 bytes)" (Apple).
pub(super) const MAX_BYTES: usize = 4_096;
/// So many mails are named in one push; the rest is counted.
const MAX_HASHES: usize = 16;

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    aps: Option<Aps<'a>>,
    #[serde(borrow)]
    pr: Option<Pr<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(borrow)]
    alert: Option<Alert<'a>>,
    badge: Option<u32>,
    sound: Option<Value>,
    thread_id: Option<Cow<'a, str>>,
    category: Option<Cow<'a, str>>,
    content_available: Option<u8>,
    mutable_content: Option<u8>,
    interruption_level: Option<Cow<'a, str>>,
    relevance_score: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Alert<'a> {
    #[expect(dead_code, reason = "that it is words is all that matters")]
    Words(#[serde(borrow)] Cow<'a, str>),
    Parts(#[serde(borrow)] Parts<'a>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Parts<'a> {
    #[serde(borrow)]
    title: Option<Cow<'a, str>>,
    subtitle: Option<Cow<'a, str>>,
    body: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Pr<'a> {
    v: u32,
    k: Cow<'a, str>,
    n: Option<u32>,
    #[serde(default)]
    m: Vec<Cow<'a, str>>,
}

/// What a payload says, as far as the ledger wants to know.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) kind: PushKind,
    pub(super) count: u32,
    pub(super) hashes: Vec<ShortHash>,
    pub(super) details: bool,
    pub(super) badge: Option<u64>,
    pub(super) alert: bool,
    /// Only to wake the app: an alert, a badge and a sound are all missing.
    pub(super) background: bool,
}

/// Reads a payload as Apple would, and its mail part by the product's own contract.
pub(super) fn read(body: &[u8]) -> Result<Said, Refusal> {
    if body.is_empty() {
        return Err(Refusal::misuse(Reason::PayloadEmpty, "payload-empty", ""));
    }
    if body.len() > MAX_BYTES {
        return Err(Refusal::misuse(Reason::PayloadTooLarge, "payload-too-large", format!("{} bytes", body.len())));
    }
    let Ok(payload) = serde_json::from_slice::<Payload<'_>>(body) else {
        let rule = match serde_json::from_slice::<Value>(body) {
            Ok(_) => "payload-field-of-wrong-type",
            Err(_) => "payload-not-json",
        };
        return Err(broken(rule));
    };
    let aps = payload.aps.ok_or_else(|| broken("payload-without-aps"))?;
    if !aps.plausible() {
        return Err(broken("aps-field-out-of-range"));
    }
    let Some(pr) = payload.pr else {
        return Ok(aps.says(PushKind::Badge, 0, Vec::new()));
    };
    let hashes = pr.hashes().ok_or_else(|| broken("mail-part-wrong"))?;
    match (&*pr.k, pr.n) {
        ("mail", Some(count)) if count as usize >= hashes.len() && !hashes.is_empty() => Ok(aps.says(PushKind::Mail, count, hashes)),
        ("badge", _) if hashes.is_empty() => Ok(aps.says(PushKind::Badge, 0, hashes)),
        _ => Err(broken("mail-part-wrong")),
    }
}

/// Apple names no reason for a payload that it cannot read; this is the nearest.
fn broken(rule: &'static str) -> Refusal {
    Refusal::misuse(Reason::PayloadEmpty, rule, "")
}

impl Pr<'_> {
    fn hashes(&self) -> Option<Vec<ShortHash>> {
        if self.v != 1 || self.m.len() > MAX_HASHES {
            return None;
        }
        self.m.iter().map(|text| ShortHash::parse(text)).collect()
    }
}

impl Aps<'_> {
    fn plausible(&self) -> bool {
        let level =
            self.interruption_level.as_deref().is_none_or(|level| ["passive", "active", "time-sensitive", "critical"].contains(&level));
        let sound = self.sound.as_ref().is_none_or(|sound| sound.is_string() || sound.is_object());
        let flag = |value: Option<u8>| value.is_none_or(|value| value <= 1);
        let score = self.relevance_score.is_none_or(|s| (0.0..=1.0).contains(&s));
        let named = |name: &Option<Cow<'_, str>>| name.as_ref().is_none_or(|n| !n.is_empty());
        level
            && sound
            && score
            && flag(self.content_available)
            && flag(self.mutable_content)
            && named(&self.thread_id)
            && named(&self.category)
    }

    fn says(&self, kind: PushKind, count: u32, hashes: Vec<ShortHash>) -> Said {
        Said {
            kind,
            count,
            hashes,
            details: self.alert.as_ref().is_some_and(|alert| !alert.mail_only()),
            badge: self.badge.map(u64::from),
            alert: self.alert.is_some(),
            background: self.alert.is_none() && self.badge.is_none() && self.sound.is_none(),
        }
    }
}

impl Alert<'_> {
    /// Whether it says only that there is mail; anything else counts as details.
    fn mail_only(&self) -> bool {
        match self {
            Alert::Words(_) => false,
            Alert::Parts(parts) => parts.subtitle.is_none() && says_only_that_there_is_mail(parts.title.as_deref(), parts.body.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(body: &str) -> &'static str {
        let refusal = read(body.as_bytes()).unwrap_err();
        refusal.misuse.unwrap().0
    }

    #[test]
    fn a_mail_push_with_details_is_read_whole() {
        let said = read(
            br#"{"aps":{"alert":{"title":"Ann","subtitle":"Hi \u00e9","body":"x"},"badge":7,"sound":"default",
            "thread-id":"inbox","mutable-content":1},"pr":{"v":1,"k":"mail","n":3,"m":["ungWv48B"]}}"#,
        )
        .unwrap();
        assert_eq!((said.kind, said.count), (PushKind::Mail, 3));
        assert_eq!(said.hashes, [ShortHash::of_item("abc")]);
        assert!(said.details && said.alert);
        assert_eq!(said.badge, Some(7));
    }

    #[test]
    fn only_the_agreed_words_count_as_free_of_details() {
        let details = |alert: &str| {
            let body = format!(r#"{{"aps":{{"alert":{alert}}},"pr":{{"v":1,"k":"mail","n":1,"m":["ungWv48B"]}}}}"#);
            read(body.as_bytes()).unwrap().details
        };
        assert!(!details(r#"{"title":"New mail","body":"You have new mail"}"#));
        assert!(!details(r#"{"title":"New mail","body":"You have 12 new mails"}"#));
        assert!(details(r#"{"title":"New mail","body":"You have 12 new mails from Ann"}"#));
        assert!(details(r#"{"title":"New mail","subtitle":"s","body":"You have new mail"}"#));
        assert!(details(r#"{"title":"Ann","body":"You have new mail"}"#));
        assert!(details(r#""Ann wrote""#));
    }

    #[test]
    fn a_badge_alone_is_a_push_without_alert() {
        let said = read(br#"{"aps":{"badge":5},"pr":{"v":1,"k":"badge"}}"#).unwrap();
        assert_eq!((said.kind, said.badge), (PushKind::Badge, Some(5)));
        assert!(!said.alert && !said.details && !said.background);
    }

    #[test]
    fn what_apple_could_not_read_is_refused_by_rule() {
        assert_eq!(rule(""), "payload-empty");
        assert_eq!(rule(&" ".repeat(4_097)), "payload-too-large");
        assert_eq!(rule("{"), "payload-not-json");
        assert_eq!(rule(r#"{"pr":{"v":1,"k":"badge"}}"#), "payload-without-aps");
        assert_eq!(rule(r#"{"aps":{"badge":"7"}}"#), "payload-field-of-wrong-type");
        assert_eq!(rule(r#"{"aps":{"badge":-1}}"#), "payload-field-of-wrong-type");
        assert_eq!(rule(r#"{"aps":{"mutable-content":2}}"#), "aps-field-out-of-range");
        assert_eq!(rule(r#"{"aps":{"interruption-level":"loud"}}"#), "aps-field-out-of-range");
    }

    #[test]
    fn the_mail_part_must_be_as_agreed() {
        let bad = [
            r#"{"v":2,"k":"mail","n":1,"m":["ungWv48B"]}"#,
            r#"{"v":1,"k":"mail","n":0,"m":["ungWv48B"]}"#,
            r#"{"v":1,"k":"mail","n":1,"m":[]}"#,
            r#"{"v":1,"k":"mail","n":1,"m":["short"]}"#,
            r#"{"v":1,"k":"else","n":1,"m":["ungWv48B"]}"#,
            r#"{"v":1,"k":"badge","m":["ungWv48B"]}"#,
        ];
        for pr in bad {
            assert_eq!(rule(&format!(r#"{{"aps":{{"badge":1}},"pr":{pr}}}"#)), "mail-part-wrong");
        }
    }
}
