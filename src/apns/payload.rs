//! A push in Apple's words: the JSON payload, never larger than allowed, and the headers beside it.

use std::borrow::Cow;

use postrider_actors::ports::push_sender::{Content, Push};
use serde::Serialize;

use crate::notification::{self, NEW_MAIL, Words, shorten_all};

/// The version of our own part of the payload, `pr`.
const PART_VERSION: u32 = 1;
/// Most hashes in a push.
const MAX_HASHES: usize = 16;

/// The payload (Apple, "Generating a remote notification").
#[derive(Serialize)]
struct Payload<'a> {
    aps: Aps<'a>,
    pr: Part<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutable_content: Option<u8>,
}

#[derive(Serialize)]
struct Alert<'a> {
    title: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    subtitle: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: Cow<'a, str>,
}

/// Our part: which mails the push announces, for the app.
#[derive(Serialize)]
struct Part<'a> {
    v: u32,
    k: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    m: &'a [String],
}

/// The payload of a push, at most `max_bytes` long however long its words are: the preview is cut first, then the subject, then the sender.
#[must_use]
pub fn payload(push: &Push, max_bytes: usize) -> Vec<u8> {
    let hashes: Vec<String> = push.hashes.iter().take(MAX_HASHES).map(|hash| hash.short()).collect();
    match &push.content {
        Content::Details { sender, subject, preview } => {
            let words = [sender, subject, preview].map(|raw| Words::new(raw));
            details(push, words, &hashes, max_bytes)
        }
        Content::MailOnly => {
            let (title, body) = notification::mail_only(push.count);
            json(push, &hashes, Some(Alert { title: title.into(), subtitle: "".into(), body: body.into() }))
        }
        Content::BadgeOnly => json(push, &[], None),
    }
}

fn details(push: &Push, mut words: [Words; 3], hashes: &[String], max_bytes: usize) -> Vec<u8> {
    let whole = json(push, hashes, Some(alert(&words)));
    if whole.len() <= max_bytes {
        return whole;
    }
    let wordy: usize = words.iter().map(Words::json_len).sum();
    let [sender, subject, preview] = &mut words;
    // The title that stands for a missing sender is no word of the mail; room for it is kept.
    let fixed = whole.len() - wordy + NEW_MAIL.len();
    shorten_all(&mut [sender, subject, preview], max_bytes.saturating_sub(fixed));
    json(push, hashes, Some(alert(&words)))
}

fn alert([sender, subject, preview]: &[Words; 3]) -> Alert<'_> {
    if [sender, subject, preview].iter().all(|words| words.is_empty()) {
        let (title, body) = notification::mail_only(1);
        return Alert { title: title.into(), subtitle: "".into(), body: body.into() };
    }
    let title = if sender.is_empty() { NEW_MAIL.into() } else { sender.shown() };
    Alert { title, subtitle: subject.shown(), body: preview.shown() }
}

fn json(push: &Push, hashes: &[String], alert: Option<Alert<'_>>) -> Vec<u8> {
    let mail = alert.is_some();
    let payload = Payload {
        aps: Aps {
            alert,
            // A payload without alert and badge would show nothing, which Apple wants to be another type of push.
            badge: if mail { push.badge } else { Some(push.badge.unwrap_or(0)) },
            sound: mail.then_some("default"),
            thread_id: mail.then_some("inbox"),
            mutable_content: mail.then_some(1),
        },
        pr: Part { v: PART_VERSION, k: if mail { "mail" } else { "badge" }, n: mail.then_some(push.count), m: hashes },
    };
    serde_json::to_vec(&payload).expect("texts and numbers always become JSON")
}

/// `apns-priority`: 10 (at once) for mail, 5 (when the device finds it convenient) for a badge.
#[must_use]
pub fn priority(push: &Push) -> &'static str {
    if push.content == Content::BadgeOnly { "5" } else { "10" }
}

/// `apns-collapse-id` (at most 64 bytes): a repeat replaces what it repeats, a later badge the one before.
#[must_use]
pub fn collapse_id(push: &Push) -> String {
    if push.content == Content::BadgeOnly { "badge".to_owned() } else { push.event.short() }
}

/// `apns-expiration`: whole seconds since 1970, rounded down so that it is never later than the push's own expiry; Apple reads 32 bits, and 0 as "try once".
#[must_use]
pub fn expiration(push: &Push) -> u32 {
    u32::try_from(push.expires_at.epoch_seconds().max(0)).unwrap_or(u32::MAX)
}
