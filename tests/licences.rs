//! Which packages the program is made of, by the rules of `deny.toml`: licences, bans, sources, single versions. `cargo deny check` holds the same and advisories;
//! this needs neither another program nor the network.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The rules, as `cargo deny check` reads them too.
fn rules() -> toml::Table {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).expect("it is there");
    text.parse().expect("deny.toml is TOML")
}

/// Licences that a package may be had under.
fn licences() -> Vec<String> {
    let allowed = rules()["licenses"]["allow"].as_array().expect("a list").clone();
    allowed.iter().map(|licence| licence.as_str().expect("text").to_owned()).collect()
}

/// A rule about a package.
struct Rule {
    package: String,
    /// Below this version; at any version without it.
    below: Option<(u64, u64, u64)>,
    /// It may be there, in one version.
    once: bool,
    reason: String,
}

fn bans() -> Vec<Rule> {
    let read = |rule: &toml::Value| {
        let text = |key: &str| rule.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let spec = text("crate");
        let (package, below) = match spec.split_once(":<") {
            Some((package, version)) => (package.to_owned(), Some(numbers(version))),
            None => (spec.clone(), None),
        };
        assert!(!package.is_empty() && !package.contains([':', '@', '<', '=']), "{spec}: write `name` or `name:<version`");
        Rule { package, below, once: rule.get("deny-multiple-versions").is_some(), reason: text("reason") }
    };
    rules()["bans"]["deny"].as_array().expect("a list").iter().map(read).collect()
}

fn numbers(version: &str) -> (u64, u64, u64) {
    let mut parts = version.split(['-', '+']).next().unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

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
    numbers(package["version"].as_str().expect("a package has a version"))
}

/// Whether one of the ways through a licence expression is allowed: `/` and OR are choices, AND binds.
fn allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // AND binds tighter than OR without brackets; with brackets around ORs each part of an AND must hold, which the second reading tests.
    let any = |part: &str, separator: &str, inner: &dyn Fn(&str) -> bool| part.split(separator).any(|part| inner(part.trim()));
    let all = |part: &str, separator: &str, inner: &dyn Fn(&str) -> bool| part.split(separator).all(|part| inner(part.trim()));
    let licences = licences();
    let known = |licence: &str| licences.contains(&licence.split_whitespace().collect::<Vec<_>>().join(" "));
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
fn banned_packages_and_versions_with_known_holes_stay_out() {
    let (metadata, bans) = (metadata(), bans());
    assert!(bans.len() > 30, "only {} rules were read", bans.len());
    let meant = |rule: &&Rule, package: &Value| {
        !rule.once && rule.package == name(package) && rule.below.is_none_or(|below| version(package) < below)
    };
    let found: Vec<String> = packages(&metadata)
        .into_iter()
        .filter_map(|package| Some((package, bans.iter().find(|rule| meant(rule, package))?)))
        .map(|(package, rule)| format!("{} {}: {}", name(package), package["version"], rule.reason))
        .collect();
    assert!(found.is_empty(), "banned:\n  {}", found.join("\n  "));
}

#[test]
fn what_holds_connections_and_keys_is_there_once() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for package in packages(&metadata) {
        versions.entry(name(package)).or_default().push(version(package));
    }
    let once: Vec<Rule> = bans().into_iter().filter(|rule| rule.once).collect();
    assert!(once.len() > 10, "only {} rules were read", once.len());
    for Rule { package, .. } in once {
        assert_eq!(versions.get(&*package).map(Vec::len), Some(1), "{package}: {:?}", versions.get(&*package));
    }
}

#[test]
fn packages_come_from_one_registry_or_from_here() {
    assert_eq!(rules()["sources"]["unknown-registry"].as_str(), Some("deny"));
    let metadata = metadata();
    let sources: BTreeSet<&str> = packages(&metadata).into_iter().filter_map(|package| package["source"].as_str()).collect();
    assert!(sources.len() == 1 && sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
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
