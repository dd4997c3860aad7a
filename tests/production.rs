//! The example of a production configuration has no mistake once its files are there.

mod node;

use std::path::Path;

use node::process::run;
use postrider_loadtest::credentials::Credentials;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/production.example.toml");
const PLACE: &str = "/etc/postrider/";

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
    let text = std::fs::read_to_string(EXAMPLE).expect("the file is there");
    let folder = tempfile::tempdir().expect("a folder");
    let here = format!("{}/", folder.path().display());
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
    }
    let (code, said) = check(folder.path());
    assert_eq!(code, Some(0), "{said}");
}
