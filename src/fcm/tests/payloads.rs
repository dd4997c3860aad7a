//! FCM's words for a push: as agreed with the app, and never too many.

use std::time::Duration;

use postrider_actors::ids::EventKey;
use postrider_actors::ports::push_sender::{Content, Provider, Push, PushToken};
use postrider_actors::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fcm::payload::{TARGET, payload};
use crate::push_sender::testing::mail;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn push(content: Content) -> Push {
    Push {
        content,
        token: PushToken("device".into()),
        event: EventKey([1; 16]),
        badge: Some(7),
        count: 3,
        hashes: vec![EventKey([1; 16]), EventKey([2; 16])],
        expires_at: NOW + Duration::from_secs(3600),
        ..mail(Provider::Fcm, 1)
    }
}

fn read(push: &Push) -> Value {
    serde_json::from_slice(&payload(push, NOW, false)).unwrap()
}

fn details(sender: &str, subject: &str, preview: &str) -> Content {
    Content::Details { sender: sender.into(), subject: subject.into(), preview: preview.into() }
}

#[test]
fn a_mail_shows_sender_subject_and_preview_and_names_its_mails() {
    let expected = json!({"message": {
        "token": "device",
        "notification": {"title": "Ann", "body": "Hello\nHow are you?"},
        "data": {"pr_v": "1", "pr_k": "mail", "pr_n": "3", "pr_m": "AQEBAQEB,AgICAgIC", "pr_badge": "7"},
        "android": {"priority": "HIGH", "ttl": "3600s", "notification": {"tag": "AQEBAQEB", "sound": "default", "channel_id": "mail", "notification_count": 7}},
    }});
    assert_eq!(read(&push(details("Ann", "Hello", "How are you?"))), expected);
}

#[test]
fn the_device_is_named_by_the_field_that_violations_name() {
    let pointer = format!("/{}", TARGET.replace('.', "/"));
    assert_eq!(read(&push(Content::MailOnly)).pointer(&pointer), Some(&json!("device")));
}

#[test]
fn past_the_cut_off_only_that_there_is_mail() {
    assert_eq!(read(&push(Content::MailOnly))["message"]["notification"], json!({"title": "New mail", "body": "You have 3 new mails"}));
}

#[test]
fn a_badge_alone_is_silent_data_of_which_only_the_newest_is_kept() {
    let expected = json!({"message": {
        "token": "device",
        "data": {"pr_v": "1", "pr_k": "badge", "pr_badge": "7"},
        "android": {"priority": "NORMAL", "ttl": "3600s", "collapse_key": "badge"},
    }});
    assert_eq!(read(&push(Content::BadgeOnly)), expected);
}

#[test]
fn what_is_empty_is_left_out_and_a_title_is_always_there() {
    let shown = |content| read(&push(content))["message"]["notification"].clone();
    assert_eq!(shown(details("Ann", "", "text")), json!({"title": "Ann", "body": "text"}));
    assert_eq!(shown(details("Ann", "Hello", "")), json!({"title": "Ann", "body": "Hello"}));
    assert_eq!(shown(details("Ann", "", "")), json!({"title": "Ann"}));
    assert_eq!(shown(details("", "", "")), json!({"title": "New mail", "body": "You have new mail"}));
    assert_eq!(shown(details("Ann", "שלום", "text")), json!({"title": "Ann", "body": "\u{2068}שלום\u{2069}\ntext"}));
}

#[test]
fn the_provider_never_keeps_a_push_longer_than_allowed() {
    let ttl = |expires_at| {
        let value = read(&Push { expires_at, ..push(Content::MailOnly) });
        value["message"]["android"]["ttl"].as_str().unwrap().to_owned()
    };
    assert_eq!(ttl(NOW + Duration::from_micros(59_999_999)), "59s");
    assert_eq!(ttl(NOW), "0s");
    assert_eq!(ttl(Timestamp(0)), "0s");
    assert_eq!(ttl(Timestamp::NEVER), "2419200s");
}

#[test]
fn a_check_is_marked_as_such() {
    let value: Value = serde_json::from_slice(&payload(&push(Content::MailOnly), NOW, true)).unwrap();
    assert_eq!(value["validate_only"], json!(true));
}

/// Any text, and now and then far too much of it.
fn text() -> impl Strategy<Value = String> {
    (any::<String>(), prop_oneof![Just(1_usize), Just(1), Just(40), Just(3000)]).prop_map(|(text, times)| text.repeat(times))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_message_fits_and_is_json(sender in text(), subject in text(), preview in text(), hashes in 0_usize..20, badge in any::<Option<u32>>(), count in any::<u32>()) {
        let push = Push { badge, count, hashes: vec![EventKey([3; 16]); hashes], ..push(details(&sender, &subject, &preview)) };
        let bytes = payload(&push, NOW, false);
        prop_assert!(bytes.len() <= 4096, "{} bytes", bytes.len());
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert!(!value["message"]["notification"]["title"].as_str().unwrap().is_empty());
    }
}
