//! What a person sees while the demo runs: a few lines on a terminal, or a line now and then where there is none.
//!
//! Every line is shorter than the terminal is wide, counted in columns: a line that wraps would be drawn over others. What a terminal may draw in another width than
//! it is counted here (controls, joiners, marks, flags) or reorder (bidirectional controls) is shown as its code.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use postrider_loadtest::ledger::{Latency, Snapshot};
use unicode_width::UnicodeWidthChar as _;

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);
/// The width where none is known.
const UNKNOWN_WIDTH: usize = 80;
/// A narrower terminal is treated as if it were so wide.
const NARROWEST: usize = 40;
/// Columns at the end of a line that stay free: what the terminal echoes of Ctrl-C, twice, must not wrap either.
const ECHO: usize = 5;
/// Lines that a payload takes at most.
const PAYLOAD_LINES: usize = 4;

/// The display.
#[derive(Debug)]
pub struct Display {
    bar: ProgressBar,
    quiet: bool,
    terminal: bool,
    last_line: Option<Instant>,
}

/// Whatever ends the demo, nothing half drawn stays behind.
impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Display {
    /// A display on standard error; with `quiet` it shows nothing.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        Self { bar, quiet, terminal: std::io::stderr().is_terminal(), last_line: None }
    }

    /// A bar for so many steps of something that is awaited.
    #[must_use]
    pub fn steps(&mut self, name: &'static str, count: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {pos}/{len} {per_sec}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_prefix(name);
        self.bar.reset();
        self.bar.set_length(count);
        if !self.terminal && !self.quiet {
            eprintln!("{name}: {count}");
        }
        self.bar.clone()
    }

    /// Where the world stands.
    pub fn show(&mut self, live: u32, users: u32, left: Option<Duration>, world: &Snapshot) {
        if self.quiet {
            return;
        }
        let lines = lines(live, users, left, world);
        if self.terminal {
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            self.bar.set_style(style);
            self.bar.set_message(drawn(&lines, world.sample.as_deref(), width()).join("\n"));
        } else if self.last_line.is_none_or(|at| at.elapsed() >= EVERY) {
            self.last_line = Some(Instant::now());
            eprintln!("{}", lines.join("   "));
        }
    }

    /// Says one thing that stays.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.terminal {
            // What the terminal echoed of a key (^C) is drawn over.
            self.bar.suspend(|| eprintln!("\r\u{1b}[K{text}"));
        } else {
            eprintln!("{text}");
        }
    }

    /// Takes the display off the screen.
    pub fn clear(&self) {
        if self.bar.is_finished() {
            return;
        }
        self.bar.finish_and_clear();
        if self.terminal && !self.quiet {
            eprint!("\r\u{1b}[K");
        }
    }
}

/// The figures, a line each.
fn lines(live: u32, users: u32, left: Option<Duration>, world: &Snapshot) -> Vec<String> {
    let left = left.map_or(String::new(), |left| format!("   {} s left", left.as_secs()));
    let times = |name: &str, of: &Latency| format!("{name:<30} p50 {:.1} ms  p99 {:.1} ms", of.p50_ms, of.p99_ms);
    vec![
        format!("{live}/{users} mailboxes live   {} mails   {} pushes accepted{left}", world.mails, world.pushes),
        times("hint to push, mail after quiet", &world.first),
        times("  more mail within the window", &world.in_window),
        format!("last badge {}", world.last_badge),
    ]
}

/// The lines on a terminal of that width, none of which reaches its edge.
fn drawn(lines: &[String], sample: Option<&str>, width: usize) -> Vec<String> {
    let room = width.max(NARROWEST) - ECHO;
    let payload = format!("last payload: {}", shown(sample.unwrap_or("(none yet)")));
    let figures = lines.iter().flat_map(|line| folded(line, room, 2));
    figures.chain(folded(&payload, room, PAYLOAD_LINES)).collect()
}

fn width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(std::io::stderr()).map(|size| usize::from(size.ws_col)).ok().filter(|width| *width > 0);
    terminal.unwrap_or(UNKNOWN_WIDTH).max(NARROWEST)
}

/// A text in lines of at most so many columns; what is beyond the last line is left out.
fn folded(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns > room {
            if lines.len() == most {
                if let Some(last) = lines.last_mut() {
                    last.pop();
                    last.push('…');
                }
                break;
            }
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
        used += columns;
    }
    lines
}

/// Invented mail may hold anything that a terminal would act on, or draw in a width of its own.
fn shown(sample: &str) -> String {
    sample.chars().map(|c| if is_drawn_alike(c) { c.to_string() } else { c.escape_unicode().to_string() }).collect()
}

/// Whether every terminal draws a character by itself, in the width that is counted here.
fn is_drawn_alike(c: char) -> bool {
    // Flags are two letters that join; skin tones and selectors join what is before them.
    let joins = matches!(c, '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}');
    // Soft hyphen, Hangul fillers and the like have a width or none, as the terminal pleases; private use is anybody's.
    let vague = matches!(
        c,
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{e000}'..='\u{f8ff}' | '\u{fffc}' | '\u{fdfd}' | '\u{12031}'
    );
    !joins && !vague && c.width().is_some_and(|columns| columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(line: &str) -> usize {
        line.chars().map(|c| c.width().unwrap_or(0)).sum()
    }

    #[test]
    fn no_line_reaches_the_edge_whatever_the_mail_holds() {
        let payload = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{202e}abc\u{202c}\u{2066} \u{1f1e9}\u{1f1ea} a\u{301}\u{302} \u{1b}[2J\r\n漢字 שלום ".repeat(40);
        let world = Snapshot { mails: 123_456, pushes: 123_456, sample: Some(payload), ..Snapshot::default() };
        for width in [40, 80, 100, 250] {
            let lines = drawn(&lines(9_999, 10_000, Some(Duration::from_secs(12_345)), &world), world.sample.as_deref(), width);
            assert!(lines.iter().all(|line| columns(line) + "^C^C".len() < width), "{width}: {lines:#?}");
            assert!((5..=12).contains(&lines.len()), "{width}: {lines:#?}");
            let acted_on = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{300}'..='\u{36f}')
            };
            assert!(!lines.iter().any(|line| line.contains(acted_on)), "{lines:#?}");
        }
    }

    #[test]
    fn what_every_terminal_draws_alike_stays_and_the_rest_is_told_by_its_code() {
        assert_eq!(shown("Grüße, 漢字 \u{1f600}"), "Grüße, 漢字 \u{1f600}");
        assert_eq!(shown("a\u{202e}b\u{200d}\u{1b}"), "a\\u{202e}b\\u{200d}\\u{1b}");
    }
}
