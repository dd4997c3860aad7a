//! What is printed: tables for people, one JSON document for programs.
//!
//! A table fits a terminal of 80 columns. Times are UTC, to the millisecond, and never broken in two; other long cells go on in the next line.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
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
const UNKNOWN_WIDTH: u16 = 80;
/// How a time is shown, in UTC.
const TIME: &str = "%Y-%m-%d %H:%M:%S%.3f";

/// A table that fits the terminal; long cells go on in the next line.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    table_of(header, rows, width())
}

fn table_of(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, width: u16) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    let mut whole = vec![false; header.len()];
    for row in rows {
        let printed: Vec<String> = row.iter().map(|cell| printable(cell)).collect();
        whole.iter_mut().zip(&printed).for_each(|(whole, cell)| *whole |= is_time(cell));
        table.add_row(printed);
    }
    for (column, whole) in table.column_iter_mut().zip(whole) {
        // The gap to the next column is one blank on the right.
        column.set_padding((0, 1));
        if whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Whether a cell is a time as [`cell`] shows it.
fn is_time(cell: &str) -> bool {
    jiff::civil::DateTime::strptime(TIME, cell).is_ok()
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
    say(&list_of(items, columns, width()));
}

/// The table of a list, in so many columns of the terminal.
#[must_use]
pub fn list_of(items: &[Value], columns: &[(&str, &str)], width: u16) -> String {
    let header: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let rows = items.iter().map(|item| columns.iter().map(|(_, pointer)| cell(item.pointer(pointer))).collect());
    table_of(&header, rows, width)
}

/// A JSON value as a cell; a time (RFC 3339) to the millisecond.
#[must_use]
pub fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => at.strftime(TIME).to_string(),
            Err(_) => text.clone(),
        },
        Some(other) => other.to_string(),
    }
}

/// What came from outside cannot steer the terminal: control characters other than line ends are shown as `\u{…}`.
pub fn printable(text: &str) -> String {
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
    fn times_are_whole_in_eighty_columns_whatever_stands_beside_them() {
        let time = cell(Some(&"2026-12-01T02:03:04.567891Z".into()));
        assert_eq!(time, "2026-12-01 02:03:04.567");
        let long = "a-very-long-name-without-a-blank-in-it-".repeat(4);
        let text = table_of(
            &["when (utc)", "until (utc)", "what"],
            [vec![time.clone(), time.clone(), long], vec!["-".into(), time.clone(), "x y ".repeat(40)]],
            80,
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches(&time).count(), 3, "{text}");
    }

    #[test]
    fn what_came_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
    }
}
