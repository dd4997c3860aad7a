//! Which packages the program is made of: their licences, those that are banned, and those of which there is one version only.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Licences that a package may be had under.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "BSL-1.0",
    "CC0-1.0",
    "Unlicense",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "OpenSSL",
];

/// Packages that do not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "TLS is rustls with aws-lc-rs"),
    ("openssl-sys", "TLS is rustls with aws-lc-rs"),
    ("native-tls", "TLS is rustls with aws-lc-rs"),
    ("ring", "one cryptography library: aws-lc-rs"),
    ("rustls-pemfile", "unmaintained; rustls-pki-types reads PEM"),
    ("fcm_v1", "forces OpenSSL and old versions of hyper and rustls"),
    ("a2", "unmaintained, with advisories"),
    ("chrono-tz", "times are jiff's"),
    ("failure", "unmaintained"),
    ("serde_yaml", "unmaintained"),
    ("atty", "unmaintained, with an advisory"),
    ("paste", "unmaintained"),
    ("instant", "unmaintained"),
    ("backoff", "unmaintained"),
    ("proc-macro-error", "unmaintained"),
    ("async-std", "unmaintained; tasks are tokio's"),
];

/// Packages of which two versions would mean two connection pools, two providers or two sets of roots.
const ONE_VERSION: &[&str] = &[
    "rustls",
    "tokio-rustls",
    "hyper",
    "h2",
    "reqwest",
    "aws-lc-rs",
    "aws-lc-sys",
    "http",
    "tokio",
    "axum",
    "sqlx",
    "quick-xml",
    "ractor",
    "metrics",
];

/// Versions below these have known holes.
const AT_LEAST: &[(&str, (u64, u64, u64), &str)] = &[
    ("quick-xml", (0, 41, 0), "denial of service through nested or unfinished markup"),
    ("h2", (0, 4, 4), "CONTINUATION and reset floods"),
    ("rustls", (0, 23, 18), "panic on crafted handshakes"),
    ("hyper", (1, 0, 0), "smuggling in 0.14"),
    ("tokio", (1, 44, 2), "unsound broadcast channel"),
    ("crossbeam-channel", (0, 5, 15), "double free"),
    ("idna", (1, 0, 0), "names that look alike"),
    ("jsonwebtoken", (10, 0, 0), "type confusion of claims"),
    ("sqlx", (0, 8, 1), "protocol smuggling through overflow"),
    ("tracing-subscriber", (0, 3, 20), "escape sequences in logs"),
    ("time", (0, 3, 47), "stack exhaustion while parsing"),
    ("bytes", (1, 11, 1), "overflow in reserve"),
];

/// What the core may depend on: this list is what keeps it pure.
const CORE: &[&str] = &["ractor", "tokio", "async-trait", "futures-util", "thiserror", "tracing", "metrics", "uuid", "aws-lc-rs"];

/// Runs cargo without the network and with the lock file as it is.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The machine's target, as rustc names it.
fn host() -> String {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("rustc writes UTF-8");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

/// What cargo knows about the packages of the lock file.
fn metadata() -> Value {
    let text = cargo(&["metadata", "--format-version", "1", "--filter-platform", &host()]);
    serde_json::from_str(&text).expect("cargo metadata is JSON")
}

/// Packages that are really built. (`metadata` alone also lists those that only a feature which is off would bring.)
fn packages(metadata: &Value) -> Vec<&Value> {
    let tree = cargo(&["tree", "--workspace", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}"]);
    let built: Vec<(&str, &str)> =
        tree.lines().filter_map(|line| line.split_once(" v")).map(|(name, rest)| (name, rest.split(' ').next().unwrap_or(rest))).collect();
    let all = metadata["packages"].as_array().expect("packages");
    let found: Vec<&Value> =
        all.iter().filter(|package| built.contains(&(name(package), package["version"].as_str().unwrap_or_default()))).collect();
    assert!(found.len() > 100, "only {} packages were found", found.len());
    found
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a package has a name")
}

fn version(package: &Value) -> (u64, u64, u64) {
    let text = package["version"].as_str().expect("a package has a version");
    let mut parts = text.split(['-', '+']).next().unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Whether one of the ways through a licence expression is allowed: `/` and OR are choices, AND binds.
fn allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // AND binds tighter than OR without brackets; with brackets around ORs each part of an AND must hold, which the second reading tests.
    let any = |part: &str, separator: &str, inner: &dyn Fn(&str) -> bool| part.split(separator).any(|part| inner(part.trim()));
    let all = |part: &str, separator: &str, inner: &dyn Fn(&str) -> bool| part.split(separator).all(|part| inner(part.trim()));
    let known = |licence: &str| LICENCES.contains(&licence.split_whitespace().collect::<Vec<_>>().join(" ").as_str());
    if expression.contains('(') {
        all(&flat, " AND ", &|part| any(part, " OR ", &known))
    } else {
        any(&flat, " OR ", &|part| all(part, " AND ", &known))
    }
}

#[test]
fn every_package_may_be_used_and_passed_on() {
    let metadata = metadata();
    let refused: Vec<String> = packages(&metadata)
        .into_iter()
        .filter(|package| !allowed(package["license"].as_str().unwrap_or("none")))
        .map(|package| format!("{} {}: {}", name(package), package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "licences to look at:\n  {}", refused.join("\n  "));
}

#[test]
fn licence_expressions_are_read_as_choices_and_bindings() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "MIT OR GPL-3.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "ISC AND (Apache-2.0 OR ISC)",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "none", "(MIT OR Apache-2.0) AND GPL-2.0"] {
        assert!(!allowed(bad), "{bad}");
    }
}

#[test]
fn banned_packages_stay_out() {
    let metadata = metadata();
    let found: Vec<String> = packages(&metadata)
        .into_iter()
        .filter_map(|package| BANNED.iter().find(|(banned, _)| *banned == name(package)))
        .map(|(banned, why)| format!("{banned}: {why}"))
        .collect();
    assert!(found.is_empty(), "banned:\n  {}", found.join("\n  "));
}

#[test]
fn what_holds_connections_and_keys_is_there_once() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for package in packages(&metadata).into_iter().filter(|package| ONE_VERSION.contains(&name(package))) {
        versions.entry(name(package)).or_default().push(version(package));
    }
    for one in ONE_VERSION {
        assert_eq!(versions.get(one).map(Vec::len), Some(1), "{one}: {:?}", versions.get(one));
    }
}

#[test]
fn versions_with_known_holes_stay_out() {
    let metadata = metadata();
    for package in packages(&metadata) {
        for (_, least, why) in AT_LEAST.iter().filter(|(known, _, _)| *known == name(package)) {
            assert!(version(package) >= *least, "{} {:?}: {why}; at least {least:?}", name(package), version(package));
        }
    }
}

#[test]
fn the_core_depends_on_little() {
    let metadata = metadata();
    let core = packages(&metadata).into_iter().find(|package| name(package) == "postrider-actors").expect("the core is a package");
    let foreign: Vec<&str> = core["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|name| !CORE.contains(name))
        .collect();
    assert_eq!(foreign, Vec::<&str>::new(), "the core decides; what carries out belongs to the edges");
}
