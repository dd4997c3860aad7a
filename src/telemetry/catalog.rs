//! All metrics of a node, the core's and the edges', and their reference `config/METRICS.md`.

use std::fmt::Write as _;

use postrider_actors::telemetry::catalog::{Kind, Metric};

/// Every metric, the core's first.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    postrider_actors::telemetry::metrics::CATALOG.iter().chain(super::metrics::CATALOG)
}

/// `config/METRICS.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "<!-- Written by `tests/reference.rs` from the catalogues in `actors/src/telemetry/metrics.rs` and `src/telemetry/metrics.rs`; change it there and run the test with POSTRIDER_BLESS=1. -->\n\n\
         # Metrics\n\nServed at `/metrics` in the text format of Prometheus. A label has only the values given here: a mailbox, a device or a user is never one.\n\
         Beside these stand the usual `process_*` metrics (processor time, memory, open files).\n\n| metric | kind | labels | what it says |\n|---|---|---|---|\n",
    );
    for metric in all() {
        let labels: Vec<String> = metric.labels.iter().map(|(name, values)| format!("`{name}`: {}", values.join(", "))).collect();
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        let _ = writeln!(out, "| `{}` | {kind} | {} | {} |", metric.name, labels.join("<br>"), metric.sentence.trim());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_end_as_prometheus_wants() {
        let mut names: Vec<&str> = all().map(|metric| metric.name).collect();
        for metric in all() {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("postrider_"), "{}", metric.name);
            assert!(metric.sentence.trim().ends_with('.'), "{}", metric.name);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
