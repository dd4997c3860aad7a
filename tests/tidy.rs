//! House rules that neither the compiler nor clippy can hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file is looked at again beyond this many lines.
const FILE_LINES: usize = 600;
/// A function is looked at again beyond this many lines.
const FUNCTION_LINES: usize = 80;

/// Longer files that were looked at again, with the length they may have. A ratchet: lower a number when its file shrinks, drop it at 600.
const LONGER_FILES: &[(&str, usize)] = &[];

/// Longer functions that were looked at again: file, function, lines.
const LONGER_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Files that decide: what they must not mention.
const PURE_FILES: &[&str] = &[
    "state.rs",
    "plan.rs",
    "policy.rs",
    "fanout.rs",
    "retry.rs",
    "restart.rs",
    "payload.rs",
    "verdict.rs",
    "candidates.rs",
    "placement/board.rs",
    "placement/cef.rs",
    "placement/forced.rs",
    "placement/guard.rs",
    "placement/leader.rs",
    "placement/memory.rs",
    "placement/observe.rs",
    "placement/rebalance.rs",
    "placement/rendezvous.rs",
    "placement/report.rs",
    "placement/round.rs",
    "placement/view.rs",
];
const IMPURE: &[&str] = &["async ", "await", "tokio", "ractor", "::now()", "HashMap", "HashSet"];

/// Folders that every edge may import; every other folder of `src/` with a `mod.rs` is an edge. Files there, with what lies below them, are words that several edges share.
const SHARED: &[&str] = &["config", "telemetry", "exchange"];
/// Where the edges meet.
const MEETING_PLACES: &[&str] = &["app", "cli", "demo"];
/// The command line with its demo: errors there are for people.
const COMMAND_LINE: &[&str] = &["src/main.rs", "src/cli/", "src/demo/"];
/// Imports that are there for a reason: file, edge. Credentials are checked with the rest of the configuration, by those who use them.
const REASONED_IMPORTS: &[(&str, &str)] = &[("src/config/push.rs", "apns"), ("src/config/push.rs", "fcm")];

/// Files of tests that may sleep: what waits there is told beside.
const SLEEPERS: &[&str] = &[
    // In stopped time, where sleeping takes none.
    "actors/tests/ractor.rs",
    // The heartbeat of a process of its own, until it is put out.
    "tests/store/processes.rs",
    // A server gets ready in a file, which is looked at again and again.
    "tests/postgres/server.rs",
];

/// One source file.
struct Source {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Lines of the product: without the tests at the end of the file, and none of a file of tests.
    fn product(&self) -> &str {
        if self.is_test() {
            return "";
        }
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        &self.text[..end]
    }

    /// Lines of tests.
    fn tests(&self) -> &str {
        if self.is_test() { &self.text } else { &self.text[self.product().len()..] }
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("tests/") || self.path.ends_with("tests.rs")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file can be read");
                let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources found");
    found
}

fn everything() -> Vec<Source> {
    sources(&["src", "actors", "loadtest", "tests", "benches"])
}

/// Lines of code: what stands before a comment.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// Fails with everything that was found.
fn none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = everything().into_iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.path).collect();
    none(silent, "the first line of a file is `//!` and one sentence in words of the domain");
}

#[test]
fn what_decides_knows_no_clock_no_task_and_no_order_of_chance() {
    let mut found = Vec::new();
    for file in sources(&["actors/src", "src"]).iter().filter(|file| PURE_FILES.iter().any(|pure| file.path.ends_with(&format!("/{pure}"))))
    {
        for (number, line) in code_lines(file.product()) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    none(found, "pure files take time, chance and order as arguments");
}

#[test]
fn edges_do_not_import_edges() {
    let files = sources(&["src"]);
    let has_mod = |name: &str| files.iter().any(|file| file.path == format!("src/{name}/mod.rs"));
    let is_edge = |name: &str| has_mod(name) && !SHARED.contains(&name) && !MEETING_PLACES.contains(&name);
    let mut found = Vec::new();
    for file in &files {
        let Some(own) = folder(file).filter(|own| !MEETING_PLACES.contains(own)) else { continue };
        for (number, line) in code_lines(file.product()) {
            for other in imported(line).filter(|other| *other != own && is_edge(other)) {
                if !REASONED_IMPORTS.contains(&(file.path.as_str(), other)) {
                    found.push(format!("{}:{number}: {other}", file.path));
                }
            }
        }
    }
    none(found, "an edge imports config, http, clock and telemetry; what it needs of another reaches it through a trait in app.rs");
}

/// The folder of `src/` that a file lies in.
fn folder(file: &Source) -> Option<&str> {
    file.path.strip_prefix("src/")?.split_once('/').map(|(folder, _)| folder)
}

/// Modules of the root crate that a line names.
fn imported(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn the_simulators_know_nothing_of_the_product_and_the_core_nothing_of_the_edges() {
    let mut found = Vec::new();
    for (folder, banned) in [("loadtest", vec!["postrider::", "postrider_actors"]), ("actors", vec!["postrider::", "postrider_loadtest"])] {
        for file in sources(&[folder]) {
            for (number, line) in code_lines(&file.text) {
                found.extend(banned.iter().filter(|name| line.contains(**name)).map(|name| format!("{}:{number}: {name}", file.path)));
            }
        }
    }
    none(found, "dependencies point one way");
}

#[test]
fn a_file_is_one_idea() {
    let allowed: BTreeMap<&str, usize> = LONGER_FILES.iter().copied().collect();
    let mut found = Vec::new();
    for file in everything() {
        let lines = file.text.lines().count();
        let limit = allowed.get(file.path.as_str()).copied();
        if lines > limit.unwrap_or(FILE_LINES) {
            found.push(format!("{}: {lines} lines, at most {}: split it by meaning", file.path, limit.unwrap_or(FILE_LINES)));
        } else if limit.is_some_and(|limit| lines + 40 < limit) {
            found.push(format!("{}: {lines} lines: lower its number in LONGER_FILES", file.path));
        }
    }
    none(found, "files have at most 600 lines");
}

#[test]
fn a_function_fits_on_a_screen() {
    let mut found = Vec::new();
    for file in everything() {
        for (name, lines) in functions(&file.text) {
            let allowed =
                LONGER_FUNCTIONS.iter().find(|(path, function, _)| *path == file.path && *function == name).map(|(_, _, lines)| *lines);
            if lines > allowed.unwrap_or(FUNCTION_LINES) {
                found.push(format!("{}: {name} has {lines} lines, at most {}", file.path, allowed.unwrap_or(FUNCTION_LINES)));
            }
        }
    }
    none(found, "functions have at most 80 lines");
}

/// Names and lengths of functions: from `fn` to the brace that closes at the same indentation, as rustfmt writes it.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let words = trimmed.split(['(', '<']).next().unwrap_or_default();
        let mut words = words.split_whitespace().rev();
        let (Some(name), Some("fn")) = (words.next(), words.next()) else { continue };
        if trimmed.starts_with("//") {
            continue;
        }
        let indent = &line[..line.len() - trimmed.len()];
        let (closing, without_body) = (format!("{indent}}}"), format!("{indent})"));
        let ends = |line: &str| line == closing || (line.starts_with(&without_body) && line.ends_with(';'));
        let length = if line.ends_with(['}', ';']) { Some(0) } else { lines[start..].iter().position(|line| ends(line)) };
        if let Some(length) = length {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn functions_are_measured_from_fn_to_their_closing_brace() {
    let text = "impl A {\n    pub async fn one(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n\n    fn two() {}\n}\nfn three<T>() {\n    x;\n}\n";
    assert_eq!(functions(text), [("one".to_owned(), 5), ("two".to_owned(), 1), ("three".to_owned(), 3)]);
}

#[test]
fn every_metric_and_every_value_of_a_label_is_recorded_somewhere() {
    const DECLARED: [&str; 3] = ["actors/src/telemetry/metrics.rs", "actors/src/telemetry/labels.rs", "src/telemetry/metrics.rs"];
    let sources = sources(&["src", "actors/src"]);
    let (declared, others): (Vec<&Source>, Vec<&Source>) = sources.iter().partition(|file| DECLARED.contains(&file.path.as_str()));
    let product: String = others.iter().filter(|file| !file.path.contains("/testing/")).map(|file| file.product()).collect();
    let stands = |text: &str, word: &str| {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        text.match_indices(word).any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
    };
    let mut never = Vec::new();
    for file in declared {
        let mut label = None;
        for (number, line) in code_lines(&file.text) {
            let line = line.trim();
            let kinds = ["counter ", "gauge ", "level ", "histogram "];
            if let Some(name) = kinds.iter().find_map(|kind| line.strip_prefix(kind)).and_then(|rest| rest.split('(').next()) {
                let imported = stands(&product, name) && product.contains(&format!("{name}("));
                if !product.contains(&format!("metrics::{name}")) && !imported {
                    never.push(format!("{}:{number}: {name}", file.path));
                }
            }
            if let Some(name) = line.strip_prefix("pub enum ") {
                label = name.split(' ').next();
            } else if let (Some(name), Some((variant, _))) = (label, line.split_once(" = \"")) {
                // A label made of something else is made beside its declaration.
                let own = format!("Self::{variant}");
                if !stands(&product, &format!("{name}::{variant}")) && !stands(&file.text, &own) {
                    never.push(format!("{}:{number}: {name}::{variant}", file.path));
                }
            } else if line == "}" {
                label = None;
            }
        }
    }
    none(never, "a metric that is documented is recorded, and so is each value of a label");
}

#[test]
fn metrics_are_recorded_through_the_catalogue() {
    let mut found = Vec::new();
    for file in sources(&["src", "actors/src"]).iter().filter(|file| file.path != "actors/src/telemetry/catalog.rs") {
        for (number, line) in code_lines(&file.text) {
            if ["counter!(", "gauge!(", "histogram!("].iter().any(|name| line.contains(name)) {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    none(found, "a metric is declared in a catalogue, with its sentence, and recorded by the function that comes out");
}

/// The fields of every log line above DEBUG in a text, with the line it stands in; what is in quotes is left out.
fn logged(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for level in ["tracing::info!(", "tracing::warn!(", "tracing::error!("] {
        for (at, _) in text.match_indices(level) {
            let (mut depth, mut quoted, mut fields) = (1, false, String::new());
            for c in text[at + level.len()..].chars() {
                match c {
                    '"' => quoted = !quoted,
                    '(' if !quoted => depth += 1,
                    ')' if !quoted => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                if !quoted {
                    fields.push(c);
                }
            }
            found.push((text[..at].lines().count() + 1, fields));
        }
    }
    found
}

#[test]
fn no_address_subject_or_token_is_logged_above_debug() {
    const PRIVATE: [&str; 8] = ["smtp", "address", "object", "sender", "subject", "preview", "token", "user"];
    let mut found = Vec::new();
    for file in
        sources(&["src", "actors/src"]).iter().filter(|file| !file.path.starts_with("src/cli/") && !file.path.starts_with("src/demo/"))
    {
        for (line, fields) in logged(file.product()) {
            found.extend(PRIVATE.iter().filter(|word| fields.contains(**word)).map(|word| format!("{}:{line}: {word}", file.path)));
        }
    }
    none(found, "logs above DEBUG name mailboxes and devices by number: no address, not even a shortened one, no subject, no token");
}

#[test]
fn the_clock_is_read_in_one_place() {
    let mut found = Vec::new();
    for file in sources(&["src", "actors/src"]).iter().filter(|file| file.path != "src/clock.rs") {
        for (number, line) in code_lines(file.product()) {
            if line.contains("SystemTime::now") {
                found.push(format!("{}:{number}", file.path));
            }
        }
    }
    none(found, "the wall clock is read in src/clock.rs alone");
}

#[test]
fn anyhow_stays_in_the_command_line() {
    let mut found = Vec::new();
    for file in sources(&["src", "actors/src"]).iter().filter(|file| !COMMAND_LINE.iter().any(|place| file.path.starts_with(place))) {
        found.extend(
            code_lines(&file.text).filter(|(_, line)| line.contains("anyhow")).map(|(number, _)| format!("{}:{number}", file.path)),
        );
    }
    none(found, "errors outside the command line are enums that say what one does about them");
}

#[test]
fn tests_wait_for_values_not_for_time() {
    let mut found = Vec::new();
    for file in sources(&["src", "actors", "tests"]) {
        if file.path == "tests/tidy.rs" || SLEEPERS.contains(&file.path.as_str()) {
            continue;
        }
        let skipped = file.text.len() - file.tests().len();
        let before = file.text[..skipped].lines().count();
        for (number, line) in code_lines(file.tests()) {
            if line.contains("sleep(") {
                found.push(format!("{}:{}", file.path, before + number));
            }
        }
    }
    none(found, "a test that sleeps is slow when the machine is fast and wrong when it is slow");
}

#[test]
fn migrations_are_numbered_and_go_forward_only() {
    let folder = root().join("migrations");
    let mut found = Vec::new();
    for kind in std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir()) {
        let mut names: Vec<String> = std::fs::read_dir(&kind)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        names.sort();
        for (index, name) in names.iter().enumerate() {
            let number = name.split('_').next().and_then(|number| number.parse::<usize>().ok());
            if number != Some(index + 1) || name.contains("down") {
                found.push(format!("{}/{name}", kind.display()));
            }
        }
    }
    none(found, "migrations are NNNN_what.sql, numbered from 0001 without a gap, and never undone");
}
