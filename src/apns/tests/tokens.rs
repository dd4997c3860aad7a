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
    let token = ProviderToken::new("TEAM123456", "KEY1234567", &key()).unwrap().current(NOW, START).unwrap();
    let (header, claims) = parts(&token);
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("ES256"), Some("KEY1234567")));
    assert_eq!((claims["iss"].as_str(), claims["iat"].as_i64()), (Some("TEAM123456"), Some(1_700_000_000)));
    assert!(!format!("{token:?} {:?}", token.header).contains("ey"), "{token:?} {:?}", token.header);
}

#[test]
fn a_token_is_kept_for_twenty_minutes_and_gone_before_the_hour_at_times_that_differ() {
    let mut lives = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let signer = ProviderToken::new("TEAM123456", "KEY1234567", &key()).unwrap();
        let first = signer.current(NOW, START).unwrap();
        let renewed_at = (0..3600).find(|s| signer.current(NOW, START + Duration::from_secs(*s)).unwrap().header != first.header).unwrap();
        assert!((20 * 60..=50 * 60).contains(&renewed_at), "{renewed_at}");
        lives.insert(renewed_at);
    }
    assert!(lives.len() > 5, "nodes that share a key do not renew together: {lives:?}");
}

#[test]
fn a_refused_token_is_renewed_once_for_all_who_carried_it_and_not_at_once_again() {
    let signer = ProviderToken::new("TEAM123456", "KEY1234567", &key()).unwrap();
    let first = signer.current(NOW, START).unwrap();
    let second = signer.renewed(&first, NOW, START).unwrap().expect("a first refusal is mended");
    assert_ne!(first.header, second.header);
    let other = signer.renewed(&first, NOW, START).unwrap().expect("the one that came meanwhile serves");
    assert_eq!(other.header, second.header);
    assert!(signer.renewed(&second, NOW, START + Duration::from_secs(1)).unwrap().is_none());
    assert!(signer.renewed(&second, NOW, START + Duration::from_secs(3)).unwrap().is_some());
}

#[test]
fn apps_that_share_a_key_share_its_token() {
    let mut tokens = ProviderTokens::default();
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
