//! Mistakes that people make when they write the file: each is named with its line, and none hides another.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Line and key of each mistake.
fn told(text: &str) -> Vec<(Option<usize>, String)> {
    let Err(error) = Config::parse(text, Overrides::default()) else { return Vec::new() };
    let line = |place: Option<Place>| match place {
        Some(Place::Line(line)) => Some(line),
        _ => None,
    };
    error.problems.into_iter().map(|problem| (line(problem.place), problem.key)).collect()
}

fn text_of(text: &str) -> String {
    Config::parse(text, Overrides::default()).expect_err("it has mistakes").to_string()
}

/// A file with one mistake of each of many kinds.
const WRONG: &str = r#"[ews]
calls = "ten"
seeding_calls = 20
retry_first = "60s"
retry_limit = "2s"
[api]
listen = "0.0.0.0:80"
jwks_keep = 5
[tenant.acme]
allowed_domains = "corp.net"
ews_url = "https://mail.corp.net/EWS/Exchange.asmx"
[tenant.acme.mail]
ews_url = "https://mail.corp.net"
autodiscover_url = "https://svc:hunter2@mail.corp.net/autodiscover.svc"
[tenant.acme.mail.basic]
user = ""
password = "hunter2"
[tenant.other]
allowed_domains = ["b.net", "CORP.org"]
[tenant.other.mail.oauth]
token_url = "https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token"
client_id = "CHANGE-ME"
client_secret = { env = "PATH" }
[tenant.third]
allowed_domains = ["corp.org"]
[tenant.third.mail]
ews_url = "https://mail.corp.org/EWS/Exchange.asmx"
[push.apns]
tenant = "nobody"
app = "org.corp.mail"
team_id = "short"
key_id = "KEY1234567"
key = { env = "PATH" }
url = "https://api.push.apple.com/3/device"
"#;

#[test]
fn no_mistake_hides_another() {
    let wanted = [
        (2, "ews.calls"),
        (4, "ews.retry_first"),
        (7, "api.listen"),
        (8, "api.jwks_keep"),
        (10, "tenant.acme.allowed_domains"),
        (11, "tenant.acme.ews_url"),
        (13, "tenant.acme.mail.ews_url"),
        (14, "tenant.acme.mail.autodiscover_url"),
        (16, "tenant.acme.mail.basic.user"),
        (17, "tenant.acme.mail.basic.password"),
        (21, "tenant.other.mail.oauth.token_url"),
        (22, "tenant.other.mail.oauth.client_id"),
        (25, "tenant.third.allowed_domains[0]"),
        (26, "tenant.third.mail"),
        (28, "push.apns"),
        (29, "push.apns[0].tenant"),
        (31, "push.apns[0].team_id"),
        (33, "push.apns[0].key"),
        (34, "push.apns[0].url"),
    ];
    let found = told(WRONG);
    let found: Vec<(usize, &str)> = found.iter().map(|(line, key)| (line.unwrap_or(0), key.as_str())).collect();
    assert_eq!(found, wanted);
    let text = text_of(WRONG);
    for said in [
        "belongs below, to [tenant.acme.mail]",
        "usually https://mail.corp.net/EWS/Exchange.asmx",
        "write [[push.apns]], in double brackets",
        "`<tenant>` is a placeholder",
        "is a domain of tenant.other",
        "write it in brackets",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_slip_of_the_pen_hides_no_other_mistake_and_makes_none() {
    let text = "[core]\nwindow = \"3s\nsurprise = 1\n[tenant.acme]\nallowed_domains = [\"corp.net\"]\n[tenant.acme.mail.basic]\nuser = \"CORP\\push\"\npassword = { env = \"PATH\" }\n[ews]\ncalls = 0\n";
    let found = told(text);
    let found: Vec<(usize, &str)> = found.iter().map(|(line, key)| (line.unwrap_or(0), key.as_str())).collect();
    assert_eq!(found, [(2, ""), (3, "core.surprise"), (7, ""), (10, "ews.calls")]);
    assert!(text_of(text).contains("write 'DOMAIN\\user', between single quotes"), "{}", text_of(text));
}

#[test]
fn brackets_of_the_wrong_kind_are_told_with_the_right_ones() {
    for (text, key, said) in [
        ("[[api]]\nburst = 1", "api", "write [api], in single brackets"),
        ("[[tenant]]\nallowed_domains = ['a.b']", "tenant", "[tenant.NAME]"),
        ("[tenant]\nallowed_domains = ['a.b']", "tenant.allowed_domains", "[tenant.NAME]"),
        ("[[tenant.acme]]\nallowed_domains = ['a.b']\n[[tenant.acme]]\n", "tenant.acme", "in single brackets"),
        ("[push.fcm]\ntenant = 'acme'", "push.fcm", "write [[push.fcm]], in double brackets"),
        ("api = 5", "api", "write it as [api]"),
    ] {
        let found = told(text);
        assert!(found.iter().any(|(line, found)| found == key && line.is_some()), "{text}: {found:?}");
        assert!(text_of(text).contains(said), "{}", text_of(text));
    }
}

#[test]
fn texts_that_look_empty_or_hold_what_no_name_holds_are_mistakes() {
    let user = |user: &str| {
        format!("[tenant.acme]\nallowed_domains = ['corp.net']\n[tenant.acme.mail.basic]\nuser = {user}\npassword = {{ env = 'PATH' }}\n")
    };
    assert_eq!(told(&user("'CORP\\svc'")), []);
    for wrong in ["''", "'  '", "' svc'", "\"CORP\\tsvc\"", "\"\"\"\nsvc\n\"\"\""] {
        assert_eq!(told(&user(wrong)), [(Some(4), "tenant.acme.mail.basic.user".to_owned())], "{wrong}");
    }
    assert!(text_of(&user("\"CORP\\tsvc\"")).contains("between single quotes"));
}

#[test]
fn a_secret_that_others_can_read_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let text = format!(
        "[tenant.acme]\nallowed_domains = ['corp.net']\n[tenant.acme.mail.basic]\nuser = 'svc'\npassword = {{ file = '{}' }}\n",
        file.display()
    );
    let with = |content: &str, mode: u32| {
        std::fs::write(&file, content).expect("it can be written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        told(&text)
    };
    let told = vec![(Some(5), "tenant.acme.mail.basic.password".to_owned())];
    assert_eq!(with("7Gq-hush", 0o600), []);
    assert_eq!(with("7Gq-hush", 0o400), []);
    for mode in [0o644, 0o640, 0o604, 0o660, 0o622] {
        assert_eq!(with("7Gq-hush", mode), told, "{mode:o}");
    }
    assert!(text_of(&text).contains(&format!("(mode 0622): chmod 600 {}", file.display())), "{}", text_of(&text));
    for left in ["CHANGE-ME\n", "<password>", "\n"] {
        assert_eq!(with(left, 0o600), told, "{left}");
    }
}

#[test]
fn a_mistake_in_the_environment_names_its_variable() {
    let given = Overrides::from_environment([("POSTRIDER_EWS__CALLS".to_owned(), "many".to_owned())].into_iter());
    let text =
        "[tenant.acme]\nallowed_domains = ['corp.net']\nmail.basic = { user = 'u', password = { env = 'PATH' } }\n[ews]\ncalls = 3\n";
    let error = Config::parse(text, given).expect_err("a mistake");
    assert_eq!(error.problems.len(), 1, "{error}");
    assert_eq!(error.problems[0].place, Some(Place::Variable("POSTRIDER_EWS__CALLS".into())));
    assert!(error.to_string().contains("\n  POSTRIDER_EWS__CALLS: ews.calls: "), "{error}");
}
