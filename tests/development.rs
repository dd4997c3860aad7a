//! The configuration for development fits the simulators that it is meant for.

use std::path::Path;

use postrider::config::Config;
use postrider::config::overrides::Overrides;
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::simulators::Ports;

/// The only test of this file, because it changes the folder that the process works in.
#[test]
fn the_development_configuration_has_no_mistake_once_the_simulators_made_their_files() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/development.toml")).expect("the file is there");
    let folder = tempfile::tempdir().expect("a folder");
    std::env::set_current_dir(folder.path()).expect("the folder can be entered");

    let missing = Config::parse(&text, Overrides::default()).expect_err("nothing was made yet").to_string();
    for file in ["dev/ca.pem", "dev/oauth-client-secret", "dev/apns.p8", "dev/fcm.json"] {
        assert!(missing.contains(file), "{file} is not named in\n{missing}");
    }

    let credentials = Credentials::load_or_create(Path::new("dev")).expect("the simulators make their files");
    let ports = Ports::DEVELOPMENT;
    let account = credentials.fcm_account_json(&format!("https://localhost:{}/token", ports.fcm));
    std::fs::write("dev/fcm.json", account).expect("the folder can be written");
    std::fs::set_permissions("dev/fcm.json", std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    let config = Config::parse(&text, Overrides::default()).unwrap_or_else(|error| panic!("{error}"));

    let tenant = &config.tenant["example"];
    let oauth = tenant.mail.oauth.as_ref().expect("the simulators speak OAuth");
    assert_eq!(oauth.token_url, format!("https://localhost:{}/{}/oauth2/v2.0/token", ports.identity, Credentials::TENANT));
    assert_eq!(oauth.client_id, Credentials::OAUTH_CLIENT_ID);
    assert_eq!(tenant.identity.as_ref().map(|identity| identity.issuer.clone()), Some(format!("https://localhost:{}", ports.identity)));
    let apns = &config.push.apns[0];
    assert_eq!(
        (apns.app.as_str(), apns.team_id.as_str(), apns.key_id.as_str()),
        (Credentials::APP, Credentials::APNS_TEAM, Credentials::APNS_KID)
    );
    assert_eq!(
        [&apns.url, &apns.sandbox_url],
        [&format!("https://localhost:{}", ports.apns), &format!("https://localhost:{}", ports.apns_sandbox)]
    );
    assert_eq!(config.push.fcm[0].url, format!("https://localhost:{}", ports.fcm));
}
