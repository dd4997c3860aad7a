//! A push in FCM's words: the JSON message, never larger than allowed.

use std::collections::BTreeMap;

use postrider_actors::ports::push_sender::{Content, Push};
use postrider_actors::time::Timestamp;
use serde::Serialize;

use crate::notification::{self, MAX_PAYLOAD_BYTES, NEW_MAIL, Words, shorten_all};

/// The version of our own part of the message.
const PART_VERSION: &str = "1";
/// Most hashes in a push.
const MAX_HASHES: usize = 16;
/// FCM keeps a message for at most four weeks.
const LONGEST_TTL_SECS: u64 = 28 * 24 * 3600;

/// The field of a message that names the device, as field violations name it. Google's SDKs announce that it will be called `fid`:
/// its name stands here and in `Message` only.
pub const TARGET: &str = "message.token";

/// The body of `messages:send` (FCM, "REST resource: projects.messages").
#[derive(Serialize)]
struct Send<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    validate_only: bool,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "token")]
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<Notification>,
    data: BTreeMap<&'static str, String>,
    android: Android,
}

#[derive(Serialize)]
struct Notification {
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    body: String,
}

#[derive(Serialize)]
struct Android {
    priority: &'static str,
    ttl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<AndroidNotification>,
}

#[derive(Serialize)]
struct AndroidNotification {
    tag: String,
    sound: &'static str,
    channel_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_count: Option<u32>,
}

/// The message of a push, at most 4096 bytes long however long its words are: the preview is cut first, then the subject, then the sender.
#[must_use]
pub fn payload(push: &Push, now: Timestamp, validate_only: bool) -> Vec<u8> {
    match &push.content {
        Content::Details { sender, subject, preview } => {
            let words = [sender, subject, preview].map(|raw| Words::new(raw));
            details(push, now, validate_only, words)
        }
        Content::MailOnly => {
            let (title, body) = notification::mail_only(push.count);
            json(push, now, validate_only, Some(Notification { title: title.to_owned(), body }))
        }
        Content::BadgeOnly => json(push, now, validate_only, None),
    }
}

fn details(push: &Push, now: Timestamp, validate_only: bool, mut words: [Words; 3]) -> Vec<u8> {
    let whole = json(push, now, validate_only, Some(shown(&words)));
    if whole.len() <= MAX_PAYLOAD_BYTES {
        return whole;
    }
    let wordy: usize = words.iter().map(Words::json_len).sum();
    let [sender, subject, preview] = &mut words;
    // The title that stands for a missing sender is no word of the mail; room for it is kept.
    let fixed = whole.len() - wordy + NEW_MAIL.len();
    shorten_all(&mut [sender, subject, preview], MAX_PAYLOAD_BYTES.saturating_sub(fixed));
    json(push, now, validate_only, Some(shown(&words)))
}

fn shown([sender, subject, preview]: &[Words; 3]) -> Notification {
    if [sender, subject, preview].iter().all(|words| words.is_empty()) {
        let (title, body) = notification::mail_only(1);
        return Notification { title: title.to_owned(), body };
    }
    let title = if sender.is_empty() { NEW_MAIL.to_owned() } else { sender.shown().into_owned() };
    let body = if subject.is_empty() || preview.is_empty() {
        (subject.shown() + &*preview.shown()).into_owned()
    } else {
        format!("{}\n{}", subject.shown(), preview.shown())
    };
    Notification { title, body }
}

fn json(push: &Push, now: Timestamp, validate_only: bool, notification: Option<Notification>) -> Vec<u8> {
    let mail = notification.is_some();
    let send = Send {
        validate_only,
        message: Message { target: &push.token.0, notification, data: data(push, mail), android: android(push, now, mail) },
    };
    serde_json::to_vec(&send).expect("texts and numbers always become JSON")
}

/// Our part, for the app: which mails the push announces. FCM takes texts only.
fn data(push: &Push, mail: bool) -> BTreeMap<&'static str, String> {
    let kind = if mail { "mail" } else { "badge" };
    let mut data = BTreeMap::from([("pr_v", PART_VERSION.to_owned()), ("pr_k", kind.to_owned())]);
    if mail {
        let hashes: Vec<String> = push.hashes.iter().take(MAX_HASHES).map(|hash| hash.short()).collect();
        data.insert("pr_n", push.count.to_string());
        data.insert("pr_m", hashes.join(","));
    }
    if let Some(badge) = push.badge {
        data.insert("pr_badge", badge.to_string());
    }
    data
}

fn android(push: &Push, now: Timestamp, mail: bool) -> Android {
    Android {
        priority: if mail { "HIGH" } else { "NORMAL" },
        ttl: ttl(push, now),
        // At most four collapse keys are kept for a device: one for all badges, none for mails, whose notifications are replaced by tag.
        collapse_key: (!mail).then_some("badge"),
        notification: mail.then(|| AndroidNotification {
            tag: push.event.short(),
            sound: "default",
            channel_id: "mail",
            notification_count: push.badge,
        }),
    }
}

/// Whole seconds until the push expires, rounded down so that it is never later; `0s` means at once or never.
fn ttl(push: &Push, now: Timestamp) -> String {
    format!("{}s", push.expires_at.since(now).as_secs().min(LONGEST_TTL_SECS))
}
