//! What a person sees while the demo runs: a few lines on a terminal, or a line now and then where there is none.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use postrider_loadtest::ledger::Snapshot;

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);

/// The display.
#[derive(Debug)]
pub struct Display {
    bar: ProgressBar,
    terminal: bool,
    last_line: Option<Instant>,
}

impl Display {
    /// A display on standard error; with `quiet` it shows nothing.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        Self { bar, terminal: quiet || std::io::stderr().is_terminal(), last_line: None }
    }

    /// A bar for so many steps of something that is awaited.
    #[must_use]
    pub fn steps(&mut self, name: &'static str, count: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {pos}/{len} {per_sec}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_prefix(name);
        self.bar.reset();
        self.bar.set_length(count);
        if !self.terminal {
            eprintln!("{name}: {count}");
        }
        self.bar.clone()
    }

    /// Where the world stands.
    pub fn show(&mut self, live: u32, users: u32, left: Option<Duration>, world: &Snapshot) {
        let left = left.map_or(String::new(), |left| format!("   {} s left", left.as_secs()));
        let line = format!(
            "{live}/{users} mailboxes live   {} mails   {} pushes accepted   hint to push p50 {:.1} ms  p99 {:.1} ms   last badge {}{left}",
            world.mails, world.pushes, world.latency.p50_ms, world.latency.p99_ms, world.last_badge,
        );
        if self.terminal {
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            self.bar.set_style(style);
            let sample = world.sample.as_deref().unwrap_or("(none yet)");
            self.bar.set_message(format!("{line}\nlast payload: {}", shortened(sample)));
        } else if self.last_line.is_none_or(|at| at.elapsed() >= EVERY) {
            self.last_line = Some(Instant::now());
            eprintln!("{line}");
        }
    }

    /// Says one thing that stays.
    pub fn say(&self, text: &str) {
        if self.terminal {
            self.bar.println(text);
        } else {
            eprintln!("{text}");
        }
    }

    /// Takes the display off the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Invented mail may hold anything that a terminal would act on.
fn shortened(sample: &str) -> String {
    sample.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}
