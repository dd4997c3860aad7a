//! The example of a production configuration has no mistake once its files are there and its names are a company's own.

mod node;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use node::process::run;
use postrider_loadtest::credentials::Credentials;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/production.example.toml");
const PLACE: &str = "/etc/postrider/";

/// What a company puts in the place of the example's names.
const OWN: [(&str, &str); 6] = [
    ("example.com", "corp.net"),
    ("EXAMPLE\\", "CORP\\"),
    ("com.example.mail", "net.corp.mail"),
    ("ABCDE12345", "TEAM567890"),
    ("ABC123DEFG", "KEY4567890"),
    ("\"example\"", "\"corp\""),
];

/// Every file that the example names.
fn files(text: &str) -> Vec<String> {
    let named = text.split(['"', '\'', '=', '&']).filter_map(|piece| piece.strip_prefix(PLACE));
    named.filter(|name| !name.contains(' ')).map(str::to_owned).collect()
}

fn check(folder: &Path) -> (Option<i32>, String) {
    let config = folder.join("postrider.toml").display().to_string();
    let output = run(&["check-config", "--config", &config]);
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn the_production_example_names_what_is_missing_and_has_no_mistake_once_it_is_there() {
    let mut text = std::fs::read_to_string(EXAMPLE).expect("the file is there").replace("tenant.example", "tenant.corp");
    let folder = tempfile::tempdir().expect("a folder");
    let here = format!("{}/", folder.path().display());
    std::fs::write(folder.path().join("postrider.toml"), text.replace(PLACE, &here)).expect("the folder can be written");

    let (code, untouched) = check(folder.path());
    assert_eq!(code, Some(2), "{untouched}");
    for (from, to) in OWN {
        assert!(text.contains(from), "{from} is not in the example");
        // An operator who forgets one of them is told where.
        assert!(
            from == "\"example\"" || untouched.lines().any(|line| line.contains("is a placeholder") && line.contains(from)),
            "{from}\n{untouched}"
        );
        text = text.replace(from, to);
    }
    std::fs::write(folder.path().join("postrider.toml"), text.replace(PLACE, &here)).expect("the folder can be written");

    let files = files(&text);
    assert!(files.len() >= 8, "{files:?}");
    let (code, missing) = check(folder.path());
    assert_eq!(code, Some(2), "{missing}");
    for file in files.iter().filter(|file| *file != "postrider.toml") {
        assert!(missing.contains(file.as_str()), "{file} is not named in\n{missing}");
    }

    let secrets = tempfile::tempdir().expect("a folder");
    let credentials = Credentials::load_or_create(secrets.path()).expect("they can be made");
    let account = credentials.fcm_account_json("https://oauth2.googleapis.com/token");
    let authority = credentials.authority.ca_pem();
    std::fs::create_dir(folder.path().join("tls")).expect("the folder can be written");
    for file in files.iter().filter(|file| *file != "postrider.toml") {
        let text = match file.as_str() {
            name if name.ends_with(".p8") => credentials.apns_key.serialize_pem(),
            name if name.ends_with(".json") => account.clone(),
            name if name.ends_with("ca.pem") => authority.clone(),
            _ => "hush".to_owned(),
        };
        std::fs::write(folder.path().join(file), text).expect("the folder can be written");
        std::fs::set_permissions(folder.path().join(file), std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    let (code, said) = check(folder.path());
    assert_eq!(code, Some(0), "{said}");

    // One that others can read is named, with its line and what to type.
    let key = folder.path().join("tls/key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (code, said) = check(folder.path());
    assert!(code == Some(2) && said.contains("api.tls.key: ") && said.contains(&format!("chmod 600 {}", key.display())), "{said}");
}
