//! Mistakes are all found at once, named by key, and never show a secret.

use super::*;

const GOOD: &str = r#"
[tenant.acme]
allowed_domains = ["corp.net"]
[tenant.acme.mail]
basic = { user = 'CORP\push', password = { env = "PATH" } }
"#;

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    Overrides::from_environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn keys(result: Result<Config, ConfigError>) -> Vec<String> {
    result.expect_err("the configuration has mistakes").problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn a_short_configuration_gets_the_cores_defaults() {
    let config = Config::parse(GOOD, Overrides::default()).expect("good");
    assert_eq!(config.core.settings(), postrider_actors::settings::Settings::default());
    assert_eq!(config.placement.tuning(), postrider_actors::placement::tuning::Tuning::default());
    assert_eq!(config.tenant["acme"].allowed_domains, ["corp.net"]);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = r#"
        surprise = 1
        [core]
        windw = "3s"
        badge_delay = 20
        max_users = -1
        [node]
        threads = 100000
        [store]
        url = "sqlite:/nonexistent/postrider.db"
        [http]
        roots = ["/nonexistent/ca.pem"]
        [telemetry]
        format = "xml"
        [tenant.acme]
        allowed_domains = "example.com"
        [tenant.acme.mail.basic]
        user = "push"
        password = "secret in the file"
        [tenant.other]
        allowed_domains = ["b.example"]
        [tenant.other.mail.oauth]
        client_id = "x"
        client_secret = { file = "/nonexistent/secret" }
    "#;
    let error = Config::parse(text, Overrides::default()).expect_err("mistakes");
    let found: Vec<&str> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
    for key in [
        "surprise",
        "core.windw",
        "core.badge_delay",
        "core.max_users",
        "node.threads",
        "store.url",
        "http.roots",
        "telemetry.format",
        "tenant.acme.allowed_domains",
        "tenant.acme.mail.basic.password",
        "tenant.other.mail.oauth.token_url",
        "tenant.other.mail.oauth.client_secret",
    ] {
        assert!(found.contains(&key), "{key} is missing from {found:?}");
    }
    let text = error.to_string();
    assert!(text.contains("did you mean `window`"), "{text}");
    assert!(text.contains("\"20s\" for 20 seconds"), "{text}");
    assert!(!text.contains("secret in the file"), "{text}");
}

#[test]
fn values_that_do_not_go_together_are_named() {
    let text = format!("{GOOD}[core]\nobserve_dead = \"3s\"\nmargin = \"100ms\"\n[store]\nurl = \"sqlite:/nonexistent/x.db\"\n");
    let found = keys(Config::parse(&text, Overrides::default()));
    for key in ["core.observe_dead", "core.margin", "store.url"] {
        assert!(found.contains(&key.to_owned()), "{key} is missing from {found:?}");
    }
}

#[test]
fn the_environment_stands_above_the_file() {
    let given = overrides(&[
        ("POSTRIDER_CORE__WINDOW", "5s"),
        ("POSTRIDER_CORE__MAX_USERS", "77"),
        ("POSTRIDER_TENANT__ACME__ALLOW_ENROLMENT", "false"),
        ("POSTRIDER_KEY", "not an override"),
        ("HOME", "/root"),
    ]);
    let config = Config::parse(GOOD, given).expect("good");
    assert_eq!(config.core.window, std::time::Duration::from_secs(5));
    assert_eq!(config.core.max_users, 77);
    assert!(!config.tenant["acme"].allow_enrolment);
}

#[test]
fn an_override_of_no_key_or_of_the_wrong_type_is_a_mistake() {
    let given = overrides(&[("POSTRIDER_CORE__WINDOWS", "5s"), ("POSTRIDER_CORE__MAX_USERS", "many")]);
    let error = Config::parse(GOOD, given).expect_err("mistakes");
    let text = error.to_string();
    assert_eq!(error.problems.len(), 2, "{text}");
    assert!(text.contains("POSTRIDER_CORE__WINDOWS"), "{text}");
    assert!(text.contains("(from the environment)"), "{text}");
}

#[test]
fn what_is_not_toml_is_told_by_line_without_its_content() {
    let error = Config::parse("[core]\nwindow = \"3s\npassword = hunter2\n", Overrides::default()).expect_err("not TOML");
    let text = error.to_string();
    assert!(text.contains("line 2"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_changeable_email_claim_needs_a_clear_word() {
    let identity = "[tenant.acme.identity]\nissuer = \"https://id.corp.net\"\naudience = \"push\"\njwks_url = \"https://id.corp.net/keys\"\nclaim = \"email\"\n";
    let found = keys(Config::parse(&format!("{GOOD}{identity}"), Overrides::default()));
    assert_eq!(found, ["tenant.acme.identity.claim"]);
    Config::parse(&format!("{GOOD}{identity}allow_email_claim = true\n"), Overrides::default()).expect("allowed by word");
}

#[test]
fn the_default_file_is_a_configuration_once_a_tenant_is_added() {
    Config::parse(&format!("{}{GOOD}", reference::default_toml()), Overrides::default()).expect("the default file has no mistake");
}
