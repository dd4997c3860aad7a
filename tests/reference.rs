//! The generated files say what the code says; POSTRIDER_BLESS=1 writes them anew.

use std::path::Path;

/// Compares a file with what it should hold, or writes it.
fn same(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found
        .lines()
        .zip(text.lines())
        .position(|(found, wanted)| found != wanted)
        .unwrap_or(found.lines().count().min(text.lines().count()));
    assert!(
        found == text,
        "{} differs from the code, first in line {}; run `POSTRIDER_BLESS=1 cargo test --test reference` and look at the difference",
        path.display(),
        first + 1
    );
}

#[test]
fn the_configuration_reference_says_what_the_code_says() {
    same("config/README.md", &postrider::config::reference::markdown());
    same("config/default.toml", &postrider::config::reference::default_toml());
}

#[test]
fn the_metrics_catalogue_says_what_the_code_says() {
    same("config/METRICS.md", &postrider::telemetry::catalog::markdown());
}
