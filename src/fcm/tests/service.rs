//! The sender against Google, simulated over real TLS and HTTP/2: refusals, quota, faults.

use std::sync::Arc;

use postrider_actors::ports::push_sender::{Content, Provider, PushSender, Verdict};
use postrider_loadtest::push_faults::{PushFaults, Rates};
use postrider_loadtest::tls::Authority;

use crate::push_sender::testing::{Scripted, Stage, mail, stage, stage_with};

async fn with_faults(rates: Rates) -> Stage {
    stage_with(|_, google| google.faults = Arc::new(PushFaults::with_rates(7, rates)), |_| {}).await
}

fn mails(count: u32) -> impl Iterator<Item = postrider_actors::ports::push_sender::Push> {
    (0..count).map(|n| mail(Provider::Fcm, n))
}

#[tokio::test]
async fn many_pushes_of_every_kind_are_all_taken_and_no_rule_is_broken() {
    let stage = stage().await;
    let kinds = mails(500).enumerate().map(|(n, mut push)| {
        match n % 3 {
            0 => push.content = Content::MailOnly,
            1 => (push.content, push.count, push.hashes) = (Content::BadgeOnly, 0, Vec::new()),
            _ => {}
        }
        push
    });
    let verdicts = stage.send_all(kinds).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{:?}", verdicts.iter().find(|v| **v != Verdict::Accepted));
    assert_eq!(stage.ledger.judge().pushes_fcm, 500);
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn goodbyes_among_many_pushes_lose_and_double_none() {
    let stage = with_faults(Rates { go_away: 50, ..Rates::default() }).await;
    let verdicts = stage.send_all(mails(1000)).await;
    let other: Vec<&Verdict> = verdicts.iter().filter(|verdict| **verdict != Verdict::Accepted).collect();
    assert!(other.is_empty(), "{} not taken, such as {:?}", other.len(), other.first());
    assert_eq!(stage.ledger.judge().pushes_fcm, 1000, "and none was sent twice");
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_every_push_goes_through() {
    let stage = stage().await;
    assert_eq!(stage.send(mail(Provider::Fcm, 0)).await, Verdict::Accepted);
    stage.google.expire_tokens();
    let verdicts = stage.send_all(mails(50)).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{verdicts:?}");
    assert_eq!(stage.misuse(), Vec::<String>::new());
}

#[tokio::test]
async fn a_phone_without_the_app_is_gone_and_one_of_another_project_is_not() {
    let stage = stage().await;
    let (gone, foreign) = (mail(Provider::Fcm, 1), mail(Provider::Fcm, 2));
    stage.google.phones().remove(&gone.token.0, 1_000);
    stage.google.phones().install(&foreign.token.0, "another-project");
    assert_eq!(stage.send(gone).await, Verdict::DeviceGone { since: None, certain: true, reason: "UNREGISTERED".into() });
    assert_eq!(stage.send(foreign).await, Verdict::Refused { reason: "SENDER_ID_MISMATCH".into() });
    let mut nonsense = mail(Provider::Fcm, 3);
    nonsense.token.0 = "not a token".into();
    assert_eq!(stage.send(nonsense).await, Verdict::DeviceGone { since: None, certain: false, reason: "INVALID_ARGUMENT".into() });
}

#[tokio::test]
async fn a_wrong_project_for_everybody_forgets_nobody() {
    let stage = stage_with(|_, _| {}, |push| push.fcm[0].project = Some("other-project".into())).await;
    assert_eq!(stage.send(mail(Provider::Fcm, 1)).await, Verdict::Refused { reason: "NOT_FOUND".into() });
}

#[tokio::test]
async fn a_used_up_quota_is_told_with_its_wait_and_no_other_push_is_kept_from_asking() {
    let stage = stage_with(|_, google| google.quota_per_minute = 3, |_| {}).await;
    for n in 0..3 {
        assert_eq!(stage.send(mail(Provider::Fcm, n)).await, Verdict::Accepted);
    }
    let refused = stage.send(mail(Provider::Fcm, 3)).await;
    assert!(matches!(&refused, Verdict::Later { after: Some(_), reason } if &**reason == "QUOTA_EXCEEDED"), "{refused:?}");
    // It may have been the device's own quota: the core looks at who else is told so.
    assert!(stage.senders.permit(&mail(Provider::Fcm, 4).channel).await.is_ok());
}

fn error(status: u16, of: &str, code: &str) -> String {
    format!(
        r#"{{"error":{{"code":{status},"status":"{of}","details":[{{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"{code}"}}]}}}}"#
    )
}

fn body_names(body: &[u8], number: u32) -> bool {
    String::from_utf8_lossy(body).contains(&format!("{number:064x}"))
}

#[tokio::test]
async fn a_platform_without_a_credential_is_one_device_s_matter_and_no_token_is_fetched_for_it() {
    let fcm = Scripted::start(|_, _, body| {
        Some(match body_names(body, 7) {
            true => (401, error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")),
            false => (200, r#"{"name":"projects/p/messages/1"}"#.into()),
        })
    })
    .await;
    let stage = scripted(&fcm).await;
    for _ in 0..20 {
        assert_eq!(stage.send(mail(Provider::Fcm, 7)).await, Verdict::Undeliverable { reason: "THIRD_PARTY_AUTH_ERROR".into() });
        assert_eq!(stage.send(mail(Provider::Fcm, 8)).await, Verdict::Accepted);
    }
    assert_eq!(fcm.asked(), 40);
}

#[tokio::test]
async fn an_operator_s_check_passes_where_an_invalid_token_is_answered_without_a_field() {
    let fcm = Scripted::start(|_, _, _| Some((400, error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")))).await;
    let stage = scripted(&fcm).await;
    let steps = stage.senders.check(None).await;
    let judged = steps.last().unwrap();
    assert!(judged.tried.contains("judged") && judged.went == crate::probe::Went::Well, "{judged:?}");
}

/// A stage whose FCM answers by script; its token endpoint is the simulated one.
async fn scripted(fcm: &Scripted) -> Stage {
    let url = format!("https://localhost:{}", fcm.port);
    stage_with(|_, _| {}, |push| push.fcm[0].url = url).await
}

#[tokio::test]
async fn outages_are_for_later_and_cuts_leave_the_fate_unknown() {
    let stage = with_faults(Rates { unavailable: 10_000, ..Rates::default() }).await;
    let verdict = stage.send(mail(Provider::Fcm, 1)).await;
    assert!(matches!(&verdict, Verdict::Later { after: Some(_), reason } if &**reason == "UNAVAILABLE"), "{verdict:?}");
    let stage = with_faults(Rates { internal: 10_000, ..Rates::default() }).await;
    assert_eq!(stage.send(mail(Provider::Fcm, 1)).await, Verdict::Later { after: None, reason: "INTERNAL".into() });
    let stage = with_faults(Rates { cut_after: 10_000, ..Rates::default() }).await;
    let verdict = stage.send(mail(Provider::Fcm, 1)).await;
    assert!(matches!(&verdict, Verdict::Unknown { .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_gets_nothing() {
    let stranger = Scripted::with_authority(&Authority::new(), |_, _, _| Some((200, "{}".into()))).await;
    let stage = stage_with(|_, _| {}, |push| push.fcm[0].url = format!("https://localhost:{}", stranger.port)).await;
    let verdict = stage.send(mail(Provider::Fcm, 1)).await;
    assert!(matches!(&verdict, Verdict::Later { reason, .. } if reason.contains("certificate")), "{verdict:?}");
    assert_eq!(stranger.asked(), 0);
}
