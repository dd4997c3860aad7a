//! The whole simulated world starts, serves and stops.

use super::*;

#[tokio::test]
async fn everything_starts_under_one_authority_and_stops() {
    let simulators = Simulators::start(Options::default()).await.unwrap();
    let root = reqwest::Certificate::from_pem(simulators.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let Endpoints { exchange, jwks, fcm_token, .. } = simulators.endpoints().clone();
    for url in [exchange, jwks, fcm_token] {
        client.get(&url).send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    assert!(simulators.phone_user_token("ann@example.com").split('.').count() == 3);
    simulators.stop().await;
}

#[tokio::test]
async fn a_storm_touches_autodiscover_and_the_token_endpoints_until_it_has_passed() {
    let simulators = Simulators::start(Options { faults: FaultLevel::Storm, ..Options::default() }).await.unwrap();
    let root = reqwest::Certificate::from_pem(simulators.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let Endpoints { autodiscover, oauth_token, fcm_token, .. } = simulators.endpoints().clone();
    for url in [autodiscover, oauth_token, fcm_token] {
        // Whoever is looked at is told that his request is wrong.
        let failures = async || {
            let mut failures = 0;
            for _ in 0..40 {
                let answer = client.post(&url).send().await;
                failures += u32::from(answer.is_err() || answer.is_ok_and(|answer| [429, 500, 503].contains(&answer.status().as_u16())));
            }
            failures
        };
        simulators.set_faults_active(true);
        let failed = failures().await;
        assert!(failed > 0 && failed < 30, "{url}: {failed} of 40");
        simulators.set_faults_active(false);
        assert_eq!(failures().await, 0, "{url}");
    }
    assert!(simulators.service_faults.iter().all(|faults| faults.met() > 0));
}

#[tokio::test]
async fn the_development_files_hold_what_a_product_needs_and_stay_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let credentials = Credentials::load_or_create(dir.path()).unwrap();
        let simulators = Simulators::start_with(Options::default(), credentials).await.unwrap();
        simulators.write_development_files(dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("ca.pem"), simulators.ca_pem());
        assert_eq!(read("apns.p8"), simulators.apns_key_pem());
        let account: serde_json::Value = serde_json::from_str(&read("fcm.json")).unwrap();
        assert_eq!(account["token_uri"], simulators.endpoints().fcm_token);
        assert!(!read("oauth-client-secret").is_empty() && !read("basic-password").is_empty());
        let summary: serde_json::Value = serde_json::from_str(&read("simulators.json")).unwrap();
        assert_eq!(summary["endpoints"]["apns"], simulators.endpoints().apns);
    }
}
