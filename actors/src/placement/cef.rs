//! Lines in the Common Event Format (ArcSight CEF 0): one for each node and planning round, and for what is wrong with placement.
//!
//! `CEF:0|vendor|product|version|signature|name|severity|key=value ...`. In the header `\` and `|` are escaped, in values `\`, `=` and line ends.

use std::fmt::Write as _;

use super::report::Worker;
use crate::ids::NodeId;
use crate::snapshot::NodeState;
use crate::time::Timestamp;

/// How bad an event is, 0 to 10 as CEF counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severity(u8);

impl Severity {
    /// As it should be.
    pub const LOW: Self = Self(3);
    /// Worth a look.
    pub const MEDIUM: Self = Self(5);
    /// To be acted on.
    pub const HIGH: Self = Self(7);
    /// Users go without.
    pub const VERY_HIGH: Self = Self(9);
}

/// A line that is being written.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// Begins a line about an event, at a time of the database's clock.
    #[must_use]
    pub fn new(version: &str, signature: &str, name: &str, severity: Severity, at: Timestamp) -> Self {
        let (version, signature, name) = (header(version), header(signature), header(name));
        Self(format!("CEF:0|Postrider|postrider|{version}|{signature}|{name}|{}|rt={}", severity.0, millis(at)))
    }

    /// Adds a value under a key of CEF's dictionary.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {key}={}", extension(&value.to_string()));
        self
    }

    /// Adds a value under a numbered key with a label, as CEF wants for what its dictionary lacks: `cs1`, `cn2`, `deviceCustomDate1`.
    #[must_use]
    pub fn labelled(self, key: &str, label: &str, value: impl std::fmt::Display) -> Self {
        self.with(&format!("{key}Label"), label).with(key, value)
    }

    /// The line.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

/// The facts about one node. `version` is the program's that writes the line.
#[must_use]
pub fn worker(version: &str, at: Timestamp, worker: &Worker, warn_percent: u32) -> String {
    let percent = worker.percent();
    let severity = match worker.state {
        NodeState::Bad => Severity::HIGH,
        _ if percent >= 100 => Severity::HIGH,
        _ if percent >= u64::from(warn_percent) => Severity::MEDIUM,
        _ => Severity::LOW,
    };
    let line = Line::new(version, "placement.worker", "Worker", severity, at)
        .with("dvchost", &worker.node)
        .labelled("cs1", "state", worker.state.as_str())
        .labelled("cn1", "users", worker.users)
        .labelled("cn2", "capacity", worker.capacity)
        .labelled("cn3", "percent", percent)
        .labelled("cs2", "lastStatus", worker.last_state.as_str())
        .labelled("cs3", "featureSet", &worker.features)
        .labelled("cs4", "version", &worker.version)
        .labelled("cs5", "role", if worker.leads { "leader" } else { "follower" })
        .labelled("flexNumber1", "heartbeat", worker.hb_seq)
        .labelled("deviceCustomDate1", "lastHeartbeat", millis(worker.hb_at));
    let line = match worker.state {
        NodeState::Bad | NodeState::Left => line.labelled("deviceCustomDate2", "cutOff", millis(worker.cut_off)),
        _ => line,
    };
    line.finish()
}

/// Users that nobody has room or features for; none: they all found an owner.
#[must_use]
pub fn unplaced(version: &str, at: Timestamp, shards: u64, users: u64) -> String {
    let severity = if shards > 0 { Severity::VERY_HIGH } else { Severity::LOW };
    let line = Line::new(version, "placement.unplaced", "Users without a node", severity, at);
    line.labelled("cn1", "shards", shards).labelled("cn2", "users", users).finish()
}

/// Nodes that seem dead and are doubted; none: the guard holds nobody any more.
#[must_use]
pub fn guard(version: &str, at: Timestamp, held: &[NodeId]) -> String {
    let severity = if held.is_empty() { Severity::LOW } else { Severity::HIGH };
    let names: Vec<&str> = held.iter().map(|node| &*node.0).collect();
    let line = Line::new(version, "placement.guard", "Many nodes silent at once", severity, at);
    line.labelled("cn1", "held", held.len()).labelled("cs1", "nodes", names.join(",")).finish()
}

/// Another node leads.
#[must_use]
pub fn leader(version: &str, at: Timestamp, node: &NodeId) -> String {
    Line::new(version, "placement.leader", "Leader changed", Severity::MEDIUM, at).with("dvchost", node).finish()
}

fn millis(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000)
}

/// A field of the header: `\` and `|` escaped, line ends are not allowed there.
fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\r', '\n'], " ")
}

/// A value: `\`, `=` and line ends escaped.
fn extension(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Session;
    use crate::ports::cluster_store::Features;
    use std::time::Duration;

    fn facts(state: NodeState) -> Worker {
        Worker {
            node: NodeId("mx-1".into()),
            session: Session(7),
            state,
            last_state: NodeState::Good,
            users: 8_021,
            capacity: 10_000,
            features: Features::parse("ews,graph"),
            version: "1.2.3".into(),
            hb_seq: 42,
            hb_at: Timestamp(1_700_000_000_123_456),
            cut_off: Timestamp(1_700_000_005_123_456),
            silent: Duration::ZERO,
            leads: true,
        }
    }

    #[test]
    fn a_worker_is_told_with_its_facts() {
        let line = worker("0.1.0", Timestamp(1_700_000_001_000_000), &facts(NodeState::Good), 80);
        assert_eq!(
            line,
            "CEF:0|Postrider|postrider|0.1.0|placement.worker|Worker|5|rt=1700000001000 dvchost=mx-1 cs1Label=state cs1=GOOD \
             cn1Label=users cn1=8021 cn2Label=capacity cn2=10000 cn3Label=percent cn3=80 cs2Label=lastStatus cs2=GOOD \
             cs3Label=featureSet cs3=ews,graph cs4Label=version cs4=1.2.3 cs5Label=role cs5=leader flexNumber1Label=heartbeat flexNumber1=42 \
             deviceCustomDate1Label=lastHeartbeat deviceCustomDate1=1700000000123"
        );
    }

    #[test]
    fn a_bad_worker_is_told_with_its_last_status_and_cut_off() {
        let line = worker("0.1.0", Timestamp(0), &facts(NodeState::Bad), 80);
        assert!(line.contains("|7|"), "{line}");
        assert!(line.contains("cs1=BAD") && line.contains("cs2=GOOD"), "{line}");
        assert!(line.ends_with("deviceCustomDate2Label=cutOff deviceCustomDate2=1700000005123"), "{line}");
    }

    #[test]
    fn what_would_break_a_line_is_escaped_in_the_header_and_in_values() {
        let line = Line::new("1|2\\3\n4", "a", "b", Severity::LOW, Timestamp(0)).with("msg", "x=y\\z|\r\nw").finish();
        assert_eq!(line, "CEF:0|Postrider|postrider|1\\|2\\\\3 4|a|b|3|rt=0 msg=x\\=y\\\\z|\\r\\nw");
    }
}
