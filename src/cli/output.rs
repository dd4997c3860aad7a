//! What is printed: tables for people, one JSON document for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OutputArgs {
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The narrowest a table is made.
const NARROWEST: u16 = 40;
/// The width where none is known, as in a file or a pipe.
const UNKNOWN_WIDTH: u16 = 120;

/// A table that fits the terminal; long cells go on in the next line.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width());
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn width() -> u16 {
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| size.ws_col).ok().filter(|width| *width > 0);
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    terminal.or(told).unwrap_or(UNKNOWN_WIDTH).max(NARROWEST)
}

/// Prints a line to standard output; a reader that went away (`| head`) is no error.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{}", printable(text));
}

/// Prints a JSON document.
pub fn json(value: &Value) {
    say(&format!("{value:#}"));
}

/// Prints a list of objects as a table with some of their members, or as JSON.
pub fn list(args: OutputArgs, answer: &Value, items: &[Value], columns: &[(&str, &str)], nothing: &str) {
    if args.json {
        return json(answer);
    }
    if items.is_empty() {
        return say(nothing);
    }
    let header: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let rows = items.iter().map(|item| columns.iter().map(|(_, pointer)| cell(item.pointer(pointer))).collect());
    say(&table(&header, rows));
}

/// A JSON value as a cell.
#[must_use]
pub fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What came from outside cannot steer the terminal: control characters other than line ends are shown as `\u{…}`.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_item_and_no_trailing_blanks() {
        let text = table(&["name", "state"], [vec!["ada".into(), "live".into()], vec!["bob".into(), "-".into()]]);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        assert!(text.contains("NAME"), "{text}");
    }

    #[test]
    fn what_came_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
    }
}
