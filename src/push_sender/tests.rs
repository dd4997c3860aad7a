//! Channels find their credentials, and one provider's trouble is not another's.

use std::time::Duration;

use postrider_actors::ports::push_sender::{Provider, PushSender, Verdict};

use super::testing::{Scripted, configuration, mail, stage, stage_with};
use super::*;
use crate::probe::Went;

#[tokio::test]
async fn each_environment_and_provider_of_an_app_is_a_channel_and_others_have_no_credential() {
    let stage = stage().await;
    let found: Vec<Provider> = stage.senders.channels().map(|channel| channel.provider).collect();
    assert_eq!(found, [Provider::Apns, Provider::ApnsSandbox, Provider::Fcm]);
    let mut push = mail(Provider::Apns, 1);
    push.channel.app = "com.example.other".into();
    assert!(!stage.senders.serves(&push.channel));
    let kept = Verdict::Later { after: Some(NO_CREDENTIAL_PAUSE), reason: "no-credential".into() };
    assert_eq!(stage.send(push).await, kept, "a credential that is put back finds what waited for it");
}

#[tokio::test]
async fn a_full_provider_puts_pushes_off_and_the_others_go_on() {
    let stage = stage_with(
        |_, _| {},
        |push| {
            push.apns[0].in_flight = 1;
            push.room_timeout = Duration::from_millis(20);
        },
    )
    .await;
    let held = stage.senders.permit(&mail(Provider::Apns, 1).channel).await.unwrap();
    assert_eq!(stage.send(mail(Provider::Apns, 2)).await, Verdict::Later { after: None, reason: "no-room".into() });
    assert_eq!(stage.send(mail(Provider::ApnsSandbox, 2)).await, Verdict::Accepted);
    assert_eq!(stage.send(mail(Provider::Fcm, 2)).await, Verdict::Accepted);
    drop(held);
    assert_eq!(stage.send(mail(Provider::Apns, 2)).await, Verdict::Accepted);
}

#[tokio::test]
async fn an_operator_s_check_says_that_good_credentials_are_good() {
    let stage = stage().await;
    let steps = stage.senders.check(Some(&TenantId("somebody else".into()))).await;
    assert!(steps.is_empty());
    // The services take every phone but the one that nobody can have.
    let steps = stage.senders.check(None).await;
    assert_eq!(steps.len(), 6);
    for step in steps {
        assert_eq!(step.went, Went::Well, "{step:?}");
    }
}

#[tokio::test]
async fn an_operator_s_check_says_what_to_do_about_bad_ones() {
    let apns = Scripted::start(|_, _, _| Some((403, r#"{"reason":"InvalidProviderToken"}"#.into()))).await;
    let fcm = Scripted::start(|_, _, _| Some((400, r#"{"error":"invalid_grant"}"#.into()))).await;
    let (push, _files) = configuration(apns.port, fcm.port);
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock::default());
    let steps = PushSenders::new(&push, &clock).unwrap().check(None).await;
    let advice: Vec<String> = steps.into_iter().filter(|step| step.went == Went::Wrong).map(|step| step.told).collect();
    assert_eq!(advice.len(), 3, "both environments of Apple, and Google's token: {advice:?}");
    assert!(advice[0].contains("InvalidProviderToken") && advice[0].contains("key_id"), "{advice:?}");
    assert!(advice[2].contains("invalid_grant") && advice[2].contains("service account"), "{advice:?}");
}

#[test]
fn a_wrong_key_file_is_named_with_its_entry_and_what_would_be_right() {
    let (mut push, files) = configuration(1, 1);
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock::default());
    let wrong = files.path().join("wrong");
    std::fs::write(&wrong, "not a key").unwrap();
    let good = std::mem::replace(&mut push.apns[0].key, crate::config::secret::SecretSource::File(wrong.clone()));
    let text = PushSenders::new(&push, &clock).unwrap_err().to_string();
    assert!(text.starts_with("push.apns[0] (tenant example, app com.example.mail)") && text.contains("AuthKey_<key id>.p8"), "{text}");
    push.apns[0].key = good;
    push.fcm[0].service_account = crate::config::secret::SecretSource::File(wrong);
    let text = PushSenders::new(&push, &clock).unwrap_err().to_string();
    assert!(text.starts_with("push.fcm[0]") && text.contains("Google Cloud console"), "{text}");
}
