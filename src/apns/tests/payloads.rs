//! Apple's words for a push: as agreed with the app, and never too many.

use postrider_actors::ids::EventKey;
use postrider_actors::ports::push_sender::{Content, Provider, Push};
use postrider_actors::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::apns::payload::{collapse_id, expiration, payload, priority};
use crate::push_sender::testing::mail;

fn push(content: Content) -> Push {
    Push { content, badge: Some(7), count: 3, hashes: vec![EventKey([1; 16]), EventKey([2; 16])], ..mail(Provider::Apns, 1) }
}

fn read(push: &Push) -> Value {
    serde_json::from_slice(&payload(push, 4096)).unwrap()
}

fn details(sender: &str, subject: &str, preview: &str) -> Content {
    Content::Details { sender: sender.into(), subject: subject.into(), preview: preview.into() }
}

#[test]
fn a_mail_shows_sender_subject_and_preview_and_names_its_mails() {
    let expected = json!({
        "aps": {"alert": {"title": "Ann", "subtitle": "Hello", "body": "How \"are\" you?"}, "badge": 7, "sound": "default", "thread-id": "inbox", "mutable-content": 1},
        "pr": {"v": 1, "k": "mail", "n": 3, "m": ["AQEBAQEB", "AgICAgIC"]},
    });
    assert_eq!(read(&push(details("Ann", "Hello", "How \"are\"\nyou?"))), expected);
}

#[test]
fn past_the_cut_off_only_that_there_is_mail() {
    let one = Push { count: 1, ..push(Content::MailOnly) };
    assert_eq!(read(&one)["aps"]["alert"], json!({"title": "New mail", "body": "You have new mail"}));
    let several = read(&push(Content::MailOnly));
    assert_eq!(several["aps"]["alert"], json!({"title": "New mail", "body": "You have 3 new mails"}));
    assert_eq!(several["pr"], json!({"v": 1, "k": "mail", "n": 3, "m": ["AQEBAQEB", "AgICAgIC"]}));
}

#[test]
fn a_badge_alone_makes_no_noise_and_waits_for_a_convenient_moment() {
    let badge = push(Content::BadgeOnly);
    assert_eq!(read(&badge), json!({"aps": {"badge": 7}, "pr": {"v": 1, "k": "badge"}}));
    assert_eq!((priority(&badge), collapse_id(&badge).as_str()), ("5", "badge"));
    assert_eq!(priority(&push(Content::MailOnly)), "10");
}

#[test]
fn what_is_empty_is_left_out_and_a_title_is_always_there() {
    assert_eq!(read(&push(details("Ann", "", "text")))["aps"]["alert"], json!({"title": "Ann", "body": "text"}));
    assert_eq!(read(&push(details("", "Hello", "")))["aps"]["alert"], json!({"title": "New mail", "subtitle": "Hello"}));
    assert_eq!(read(&push(details("\u{202e}", "\n", " ")))["aps"]["alert"], json!({"title": "New mail", "body": "You have new mail"}));
}

#[test]
fn an_unknown_badge_is_not_set() {
    let push = Push { badge: None, ..push(Content::MailOnly) };
    assert_eq!(read(&push)["aps"].get("badge"), None);
}

#[test]
fn a_long_mail_loses_its_preview_first_and_keeps_sender_subject_and_hashes() {
    let push = Push { hashes: vec![EventKey([9; 16]); 20], ..push(details("Ann", "Hello", &"слово ".repeat(2000))) };
    let bytes = payload(&push, 4096);
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(bytes.len() <= 4096 && bytes.len() > 4096 - 20, "{} bytes: the room is used", bytes.len());
    assert_eq!((&value["aps"]["alert"]["title"], &value["aps"]["alert"]["subtitle"]), (&json!("Ann"), &json!("Hello")));
    assert_eq!(value["pr"]["m"].as_array().unwrap().len(), 16);
    assert!(value["aps"]["alert"]["body"].as_str().unwrap().ends_with('…'));
}

#[test]
fn the_provider_never_keeps_a_push_longer_than_allowed() {
    let at = |expires_at| expiration(&Push { expires_at, ..push(Content::MailOnly) });
    assert_eq!(at(Timestamp(1_700_000_000_999_999)), 1_700_000_000, "whole seconds, rounded down");
    assert_eq!(at(Timestamp(-1)), 0);
    assert_eq!(at(Timestamp::NEVER), u32::MAX);
}

/// Any text, and now and then far too much of it.
fn text() -> impl Strategy<Value = String> {
    (any::<String>(), prop_oneof![Just(1_usize), Just(1), Just(40), Just(3000)]).prop_map(|(text, times)| text.repeat(times))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_payload_fits_and_is_json(sender in text(), subject in text(), preview in text(), hashes in 0_usize..20, badge in any::<Option<u32>>(), count in any::<u32>(), max in prop_oneof![Just(4096_usize), Just(2048)]) {
        let push = Push { badge, count, hashes: vec![EventKey([3; 16]); hashes], ..push(details(&sender, &subject, &preview)) };
        let bytes = payload(&push, max);
        prop_assert!(bytes.len() <= max, "{} bytes", bytes.len());
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert!(!value["aps"]["alert"]["title"].as_str().unwrap().is_empty());
        prop_assert_eq!(value["pr"]["m"].as_array().map_or(0, Vec::len), hashes.min(16));
    }
}
