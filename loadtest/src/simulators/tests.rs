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

#[tokio::test]
async fn exchange_takes_tokens_for_itself_alone_and_lets_only_the_entitled_impersonate() {
    let simulators = Simulators::start(Options::default()).await.unwrap();
    simulators.world().add_mailbox("ann@example.com");
    let root = reqwest::Certificate::from_pem(simulators.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let Endpoints { ews, oauth_token, .. } = simulators.endpoints().clone();
    let token = async |resource: &str| {
        let scope = format!("{resource}/.default");
        let secret = simulators.credentials().oauth_secret.as_str();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", Credentials::OAUTH_CLIENT_ID),
            ("client_secret", secret),
            ("scope", &scope),
        ];
        let answer = client.post(&oauth_token).form(&form).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
    };
    let ask = async |log_on: &dyn Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder| {
        const BODY: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"><s:Header><t:RequestServerVersion Version="Exchange2016"/><t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>ann@example.com</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation></s:Header><s:Body><m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds><t:DistinguishedFolderId Id="inbox"/></m:FolderIds></m:GetFolder></s:Body></s:Envelope>"#;
        let request = log_on(client.post(&ews)).header("content-type", "text/xml").body(BODY);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let exchange = token("https://outlook.office365.com").await;
    let (status, text) = ask(&|request| request.bearer_auth(&exchange)).await;
    assert!(status == 200 && text.contains("NoError"), "{status} {text}");
    let graph = token("https://graph.microsoft.com").await;
    assert_eq!(ask(&|request| request.bearer_auth(&graph)).await.0, 401);
    let password = simulators.credentials().basic_password.as_str();
    let (status, _) = ask(&|request| request.basic_auth(Credentials::BASIC_USER, Some(password))).await;
    assert_eq!(status, 200);
    let (status, text) = ask(&|request| request.basic_auth(Credentials::PLAIN_USER, Some(password))).await;
    assert!(status == 500 && text.contains("ErrorImpersonateUserDenied"), "{status} {text}");
    assert_eq!(simulators.ledger().judge().misuse_count(), 0);
    simulators.stop().await;
}

#[tokio::test]
async fn certificates_are_good_for_further_names() {
    let names = vec!["fcm.googleapis.com".to_owned()];
    let simulators = Simulators::start(Options { names, ..Options::default() }).await.unwrap();
    let root = reqwest::Certificate::from_pem(simulators.ca_pem().as_bytes()).unwrap();
    let at = simulators.google().address();
    let client =
        reqwest::Client::builder().tls_certs_only([root]).resolve("fcm.googleapis.com", at).resolve("x.example", at).build().unwrap();
    let answer = client.get(format!("https://fcm.googleapis.com:{}/", at.port())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    assert!(client.get(format!("https://x.example:{}/", at.port())).send().await.is_err());
}
