//! The sender against Apple, simulated over real TLS and HTTP/2: limits, goodbyes, cuts, refusals.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ports::push_sender::{Content, Provider, Push, Verdict};
use postrider_actors::time::Timestamp;
use postrider_loadtest::push_faults::{PushFaults, Rates};
use postrider_loadtest::tls::Authority;

use crate::push_sender::testing::{Scripted, Stage, credentials, mail, stage, stage_with};

async fn with_faults(rates: Rates) -> Stage {
    stage_with(|apple, _| apple.faults = Arc::new(PushFaults::with_rates(7, rates)), |_| {}).await
}

fn mails(count: u32) -> impl Iterator<Item = Push> {
    (0..count).map(|n| mail(Provider::Apns, n))
}

#[tokio::test]
async fn far_more_pushes_than_streams_are_all_taken_and_no_rule_is_broken() {
    let stage = stage_with(|apple, _| apple.max_streams = 20, |_| {}).await;
    let verdicts = stage.send_all(mails(2000)).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{:?}", verdicts.iter().find(|v| **v != Verdict::Accepted));
    assert_eq!(stage.ledger.judge().pushes_apns, 2000);
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn goodbyes_among_two_thousand_pushes_lose_and_double_none() {
    let stage = with_faults(Rates { go_away: 50, ..Rates::default() }).await;
    let verdicts = stage.send_all(mails(2000)).await;
    let other: Vec<&Verdict> = verdicts.iter().filter(|verdict| **verdict != Verdict::Accepted).collect();
    assert!(other.is_empty(), "{} not taken, such as {:?}", other.len(), other.first());
    assert!(stage.refused("goodbye") >= 3, "connections did end: {}", stage.refused("goodbye"));
    assert_eq!(stage.ledger.judge().pushes_apns, 2000, "and none was sent twice");
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn a_connection_cut_before_the_answer_leaves_the_fate_unknown() {
    let stage = with_faults(Rates { cut_after: 10_000, ..Rates::default() }).await;
    let verdict = stage.send(mail(Provider::Apns, 1)).await;
    assert!(matches!(&verdict, Verdict::Unknown { .. }), "{verdict:?}");
    assert_eq!(stage.ledger.judge().pushes_apns, 1, "it had been taken");
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_and_every_push_goes_through() {
    let stage = stage().await;
    assert_eq!(stage.send(mail(Provider::Apns, 0)).await, Verdict::Accepted);
    stage.apple.expire_tokens();
    let verdicts = stage.send_all(mails(100)).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{verdicts:?}");
    assert!(stage.refused("ExpiredProviderToken") >= 1);
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_that_stays_expired_is_a_matter_of_credentials() {
    let apple = Scripted::start(|_, _, _| Some((403, r#"{"reason":"ExpiredProviderToken"}"#.into()))).await;
    let stage = stage_with(|_, _| {}, |push| push.apns[0].url = format!("https://localhost:{}", apple.port)).await;
    assert_eq!(stage.send(mail(Provider::Apns, 1)).await, Verdict::Credentials { reason: "ExpiredProviderToken".into() });
    assert_eq!(apple.asked(), 2, "the push and one repeat");
}

#[tokio::test]
async fn a_phone_without_the_app_is_gone_since_the_time_that_apple_says() {
    let stage = stage().await;
    let gone = mail(Provider::Apns, 5);
    stage.apple.phones().remove(&gone.token.0, 1_725_000_000_123);
    let expected = Verdict::DeviceGone { since: Some(Timestamp(1_725_000_000_123_000)), certain: true, reason: "Unregistered".into() };
    assert_eq!(stage.send(gone).await, expected);
}

#[tokio::test]
async fn overload_and_outage_are_for_later_and_slowness_is_waited_for() {
    let stage = with_faults(Rates { too_many: 10_000, ..Rates::default() }).await;
    assert_eq!(stage.send(mail(Provider::Apns, 1)).await, Verdict::Later { after: None, reason: "TooManyRequests".into() });
    let stage = with_faults(Rates { unavailable: 10_000, ..Rates::default() }).await;
    let verdict = stage.send(mail(Provider::Apns, 1)).await;
    assert!(matches!(&verdict, Verdict::Later { after: Some(after), .. } if *after >= Duration::from_secs(1)), "{verdict:?}");
    let stage = with_faults(Rates { slow: 10_000, ..Rates::default() }).await;
    assert!(stage.send_all(mails(20)).await.iter().all(|verdict| *verdict == Verdict::Accepted));
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_leaves_the_fate_unknown() {
    let silent = Scripted::start(|_, _, _| None).await;
    let stage = stage_with(
        |_, _| {},
        |push| {
            push.apns[0].url = format!("https://localhost:{}", silent.port);
            push.timeout = Duration::from_millis(700);
        },
    )
    .await;
    assert_eq!(stage.send(mail(Provider::Apns, 1)).await, Verdict::Unknown { reason: "no answer in time".into() });
    assert_eq!(silent.asked(), 1, "what may have been taken is not repeated here");
}

#[tokio::test]
async fn a_wrong_topic_or_key_for_everybody_forgets_nobody() {
    let stage = stage_with(|_, _| {}, |push| push.apns[0].topic = Some("com.example.other".into())).await;
    assert_eq!(stage.send(mail(Provider::Apns, 1)).await, Verdict::Credentials { reason: "TopicDisallowed".into() });
    let stage = stage_with(|_, _| {}, |push| push.apns[0].key_id = "OTHERKEY01".into()).await;
    assert_eq!(stage.send(mail(Provider::Apns, 1)).await, Verdict::Credentials { reason: "InvalidProviderToken".into() });
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_gets_nothing() {
    let stranger = Scripted::with_authority(&Authority::new(), |_, _, _| Some((200, String::new()))).await;
    let stage = stage_with(|_, _| {}, |push| push.apns[0].url = format!("https://localhost:{}", stranger.port)).await;
    let verdict = stage.send(mail(Provider::Apns, 1)).await;
    assert!(matches!(&verdict, Verdict::Later { reason, .. } if reason.contains("certificate")), "{verdict:?}");
    assert_eq!(stranger.asked(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_negotiate_the_protocol_is_spoken_to_in_http_2_all_the_same() {
    let stage = stage_with(|apple, _| apple.tls = Arc::new(credentials().authority.server_config(&["localhost"], &[])), |_| {}).await;
    assert!(stage.send_all(mails(10)).await.iter().all(|verdict| *verdict == Verdict::Accepted));
}

#[tokio::test]
async fn a_push_that_expires_where_time_ends_is_taken_and_a_badge_too() {
    let stage = stage().await;
    let push = Push { expires_at: Timestamp::NEVER, ..mail(Provider::Apns, 1) };
    assert_eq!(stage.send(push).await, Verdict::Accepted);
    let badge =
        Push { content: Content::BadgeOnly, count: 0, hashes: Vec::new(), expires_at: Timestamp(0), ..mail(Provider::ApnsSandbox, 2) };
    assert_eq!(stage.send(badge).await, Verdict::Accepted);
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_there_is_for_later() {
    let stage = stage_with(|_, _| {}, |push| push.apns[0].url = "https://localhost:1".into()).await;
    let verdict = stage.send(mail(Provider::Apns, 1)).await;
    assert!(matches!(&verdict, Verdict::Later { .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_payload_that_apple_finds_too_large_is_shortened_and_repeated_once() {
    let picky = Scripted::start(|_, _, body| {
        Some(if body.len() > 2048 { (413, r#"{"reason":"PayloadTooLarge"}"#.into()) } else { (200, String::new()) })
    })
    .await;
    let stage = stage_with(|_, _| {}, |push| push.apns[0].url = format!("https://localhost:{}", picky.port)).await;
    let mut long = mail(Provider::Apns, 1);
    long.content = Content::Details { sender: "Ann".into(), subject: "Hello".into(), preview: "word ".repeat(2000) };
    assert_eq!(stage.send(long).await, Verdict::Accepted);
    assert_eq!(picky.asked(), 2);
}

#[tokio::test]
async fn a_device_token_that_would_change_the_address_is_not_sent() {
    let stage = stage().await;
    let mut push = mail(Provider::Apns, 1);
    push.token.0 = "../../elsewhere?x".into();
    assert_eq!(stage.send(push).await, Verdict::Undeliverable { reason: "token-malformed".into() });
}
