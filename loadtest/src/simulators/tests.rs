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
