//! Access tokens: fetched once for everybody, renewed ahead, from allowed hosts only; and service accounts that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_actors::ports::push_sender::{Provider, Verdict};
use serde_json::Value;

use crate::config::secret::Secret;
use crate::fcm::service_account_problem;
use crate::push_sender::testing::{Scripted, Stage, configuration, credentials, mail, stage_with};

const GRANTED: &str = r#"{"access_token":"abc","expires_in":3600,"token_type":"Bearer"}"#;

/// A stage whose FCM is a script.
async fn with_fcm(fcm: &Scripted) -> Stage {
    let (scripted, files) = configuration(1, fcm.port);
    let stage = stage_with(|_, _| {}, |push| push.fcm = scripted.fcm).await;
    drop(files);
    stage
}

fn mails(count: u32) -> impl Iterator<Item = postrider_actors::ports::push_sender::Push> {
    (0..count).map(|n| mail(Provider::Fcm, n))
}

/// A Google that grants, and counts grants by refusing to send until somebody asks.
async fn granting() -> Scripted {
    Scripted::start(|_, path, _| Some((200, if path == "/token" { GRANTED.into() } else { "{}".into() }))).await
}

#[tokio::test]
async fn many_pushes_wait_for_one_token() {
    let fcm = granting().await;
    let stage = with_fcm(&fcm).await;
    assert!(stage.send_all(mails(50)).await.iter().all(|verdict| *verdict == Verdict::Accepted));
    assert_eq!(fcm.asked(), 51, "fifty pushes, one token");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_by_one_push() {
    let fcm = granting().await;
    let stage = with_fcm(&fcm).await;
    assert_eq!(stage.send(mail(Provider::Fcm, 0)).await, Verdict::Accepted);
    stage.clock.forward(Duration::from_secs(3600 * 4 / 5 - 60));
    stage.send_all(mails(10)).await;
    assert_eq!(fcm.asked(), 2 + 10, "it is kept for four fifths of its life");
    stage.clock.forward(Duration::from_secs(120));
    stage.send_all(mails(10)).await;
    assert_eq!(fcm.asked(), 12 + 10 + 1);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_ahead_is_used_up() {
    let down = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&down);
    let fcm = Scripted::start(move |_, path, _| match (path, seen.load(Ordering::SeqCst)) {
        ("/token", true) => Some((503, String::new())),
        ("/token", false) => Some((200, GRANTED.into())),
        _ => Some((200, "{}".into())),
    })
    .await;
    let stage = with_fcm(&fcm).await;
    assert_eq!(stage.send(mail(Provider::Fcm, 0)).await, Verdict::Accepted);
    down.store(true, Ordering::SeqCst);
    stage.clock.forward(Duration::from_secs(3000));
    assert_eq!(stage.send(mail(Provider::Fcm, 1)).await, Verdict::Accepted);
    stage.clock.forward(Duration::from_secs(601));
    assert_eq!(stage.send(mail(Provider::Fcm, 2)).await, Verdict::Later { after: None, reason: "token-http-503".into() });
    down.store(false, Ordering::SeqCst);
    stage.clock.forward(Duration::from_secs(2));
    assert_eq!(stage.send(mail(Provider::Fcm, 3)).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_service_account_that_google_does_not_know_is_a_matter_of_credentials_and_not_asked_about_again_at_once() {
    let fcm = Scripted::start(|_, _, _| Some((400, r#"{"error":"invalid_grant","error_description":"Invalid JWT"}"#.into()))).await;
    let stage = with_fcm(&fcm).await;
    for verdict in stage.send_all(mails(20)).await {
        assert_eq!(verdict, Verdict::Credentials { reason: "invalid_grant".into() });
    }
    assert_eq!(fcm.asked(), 1);
}

#[test]
fn files_that_are_no_service_account_are_refused_with_the_way_out_and_no_key_in_it() {
    let (push, _files) = configuration(1, 2);
    let good: Value = serde_json::from_str(&credentials().fcm_account_json("https://localhost:2/token")).unwrap();
    let with = |key: &str, value: &str| {
        let mut account = good.clone();
        account[key] = value.into();
        account.to_string()
    };
    let cases = [
        (String::new(), "not JSON"),
        ("[1]".into(), "not JSON"),
        (r#"{"installed":{"client_id":"x"}}"#.into(), "has no client_email"),
        (with("private_key", "-----BEGIN"), "no RSA key"),
        (with("private_key", &credentials().apns_key.serialize_pem()), "no RSA key"),
        (with("token_uri", "http://localhost/token"), "not an https address"),
        (with("token_uri", "https://evil.example/token"), "names evil.example, which is not in `token_hosts`"),
        (with("token_uri", "https://localhost@evil.example/token"), "names evil.example"),
        (with("project_id", "../other"), "not the id of a project"),
    ];
    for (text, expected) in cases {
        let problem = service_account_problem(&Secret::new(text), &push.fcm[0]).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
        assert!(!problem.contains("PRIVATE KEY"), "{problem}");
    }
    assert_eq!(service_account_problem(&Secret::new(good.to_string()), &push.fcm[0]), Ok(()));
}

#[tokio::test]
async fn a_token_s_life_is_read_as_text_and_never_believed_beyond_reason() {
    for life in ["\"3600\"", "18446744073709551615", "1e300", "-1", "null", "\"soon\"", "[]"] {
        let fcm = Scripted::start(move |_, path, _| {
            let granted = format!("{{\"access_token\":\"abc\",\"expires_in\":{life},\"token_type\":\"Bearer\"}}");
            Some((200, if path == "/token" { granted } else { "{}".into() }))
        })
        .await;
        let stage = with_fcm(&fcm).await;
        assert!(stage.send_all(mails(5)).await.iter().all(|verdict| *verdict == Verdict::Accepted), "{life}");
        assert_eq!(fcm.asked(), 6, "{life}");
    }
}
