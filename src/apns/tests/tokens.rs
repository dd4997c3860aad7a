//! Provider tokens: one for each key, renewed in time, and not again and again.

use std::time::Duration;

use postrider_actors::time::{Monotonic, Timestamp};
use serde_json::Value;

use crate::apns::ProviderTokens;
use crate::apns::token::{ProviderToken, Token};
use crate::config::secret::Secret;
use crate::push_sender::testing::credentials;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
const START: Monotonic = Monotonic(1_000_000);
const PAUSE: Duration = Duration::from_secs(60);

fn key() -> Secret {
    Secret::new(credentials().apns_key.serialize_pem())
}

fn parts(token: &Token) -> (Value, Value) {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let jwt = token.header.to_str().unwrap().strip_prefix("bearer ").unwrap();
    let parts: Vec<Value> =
        jwt.split('.').take(2).map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()).collect();
    (parts[0].clone(), parts[1].clone())
}

#[test]
fn a_token_names_key_team_and_time_and_prints_nothing() {
    let token = signer().current(NOW, START).unwrap();
    let (header, claims) = parts(&token);
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("ES256"), Some("KEY1234567")));
    assert_eq!((claims["iss"].as_str(), claims["iat"].as_i64()), (Some("TEAM123456"), Some(1_700_000_000)));
    assert!(!format!("{token:?} {:?}", token.header).contains("ey"), "{token:?} {:?}", token.header);
}

#[test]
fn a_token_is_kept_for_twenty_minutes_and_gone_before_the_hour_at_times_that_differ() {
    let mut lives = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let signer = signer();
        let first = signer.current(NOW, START).unwrap();
        let renewed_at = (0..3600).find(|s| signer.current(NOW, START + Duration::from_secs(*s)).unwrap().header != first.header).unwrap();
        assert!((20 * 60..=50 * 60).contains(&renewed_at), "{renewed_at}");
        lives.insert(renewed_at);
    }
    assert!(lives.len() > 5, "nodes that share a key do not renew together: {lives:?}");
}

fn signer() -> ProviderToken {
    ProviderToken::new("TEAM123456", "KEY1234567", &key(), PAUSE).unwrap()
}

/// How many tokens are signed in that time if every push, one a second, is told that its token is refused.
fn signed_while_refused(seconds: u64, expired: bool, wall: impl Fn(u64) -> Timestamp) -> Vec<u64> {
    let (signer, mut signed, mut last) = (signer(), Vec::new(), None);
    for second in 0..seconds {
        let (now, at) = (wall(second), START + Duration::from_secs(second));
        let mut token = signer.current(now, at).unwrap();
        for _ in 0..2 {
            if last.as_ref() != Some(&token.header) {
                signed.push(second);
                last = Some(token.header.clone());
            }
            match signer.refused(&token, expired, now, at).unwrap() {
                Some(other) => token = other,
                None => break,
            }
        }
    }
    signed
}

#[test]
fn a_token_that_is_refused_is_signed_anew_when_the_first_pause_ends_and_then_every_twenty_minutes_at_most() {
    let steady = |second| NOW + Duration::from_secs(second);
    let signed = signed_while_refused(7_200, false, steady);
    assert_eq!(signed[..2], [0, 60]);
    assert!(signed.windows(2).skip(1).all(|two| two[1] - two[0] >= 20 * 60), "{signed:?}");
    assert!(signed.len() <= 8, "{signed:?}");
    let expired = signed_while_refused(7_200, true, steady);
    assert_eq!(expired[..2], [0, 0], "one that has expired is renewed at once");
    assert!(expired.windows(2).skip(1).all(|two| two[1] - two[0] >= 20 * 60), "{expired:?}");
}

#[test]
fn a_refused_token_is_signed_anew_at_once_when_the_clock_was_set_and_a_clock_that_dances_makes_no_storm() {
    // An hour behind until the second minute.
    let set = |second| NOW + Duration::from_secs(if second < 90 { second } else { 3_600 + second });
    let signed = signed_while_refused(300, false, set);
    assert_eq!(signed, [0, 60, 90]);
    let dances = |second: u64| NOW + Duration::from_secs(second + second / 30 % 2 * 3_600);
    let signed = signed_while_refused(1_200, false, dances);
    assert!(signed.len() <= 3, "{signed:?}");
}

#[test]
fn a_refused_token_is_renewed_once_for_all_who_carried_it_and_one_that_worked_meanwhile_begins_anew() {
    let signer = signer();
    let first = signer.current(NOW, START).unwrap();
    let second = signer.refused(&first, true, NOW, START).unwrap().expect("a first refusal is mended");
    assert_ne!(first.header, second.header);
    let other = signer.refused(&first, true, NOW, START).unwrap().expect("the one that came meanwhile serves");
    assert_eq!(other.header, second.header);
    let (now, later) = (NOW + Duration::from_secs(30), START + Duration::from_secs(30));
    assert!(signer.refused(&second, true, now, later).unwrap().is_none());
    signer.works(&second);
    assert!(signer.refused(&second, true, now, later).unwrap().is_some());
}

#[test]
fn apps_that_share_a_key_share_its_token() {
    let mut tokens = ProviderTokens::new(PAUSE);
    let one = tokens.of("TEAM123456", "KEY1234567", &key()).unwrap();
    let two = tokens.of("TEAM123456", "KEY1234567", &key()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&one, &two));
}

#[test]
fn keys_of_another_kind_are_refused_with_the_way_out() {
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    let cases = [
        (String::new(), "no EC private key in PEM"),
        ("AuthKey".into(), "no EC private key in PEM"),
        (credentials().fcm_key.serialize_pem(), "no EC private key in PEM"),
        (credentials().authority.ca_pem(), "no EC private key in PEM"),
        (p384, "not on the curve P-256"),
    ];
    for (text, expected) in cases {
        let problem = crate::apns::key_problem(&Secret::new(text)).unwrap_err();
        assert!(problem.contains(expected) && problem.contains(".p8"), "{problem}");
    }
    assert_eq!(crate::apns::key_problem(&key()), Ok(()));
}
