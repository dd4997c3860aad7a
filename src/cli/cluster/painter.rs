//! Columns of words with colours, which are there only on a terminal that wants them.

use std::io::{IsTerminal as _, Write as _};

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Heading,
    Well,
    Passing,
    Warning,
    Alarm,
}

impl Look {
    /// Its SGR parameter (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Well => "32",
            Self::Passing => "36",
            Self::Warning => "33",
            Self::Alarm => "1;31",
        }
    }
}

/// A word with its look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    text: String,
    look: Look,
}

impl Word {
    /// What came from outside cannot steer the terminal.
    pub(super) fn new(text: impl Into<String>, look: Look) -> Self {
        let text: String = text.into();
        Self { text: text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(), look }
    }
}

impl<T: Into<String>> From<T> for Word {
    fn from(text: T) -> Self {
        Self::new(text, Look::Plain)
    }
}

/// Where and how text is put out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Painter {
    colours: bool,
    terminal: bool,
}

impl Painter {
    /// For standard output: colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn for_output() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()), terminal }
    }

    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { colours: false, terminal: false }
    }

    /// A line of words.
    pub(super) fn line(self, words: &[Word]) -> String {
        let words: Vec<String> = words.iter().map(|word| self.paint(word, word.text.clone())).collect();
        words.join("  ").trim_end().to_owned()
    }

    /// Lines whose words stand below one another.
    pub(super) fn columns(self, rows: &[Vec<Word>]) -> Vec<String> {
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|word| word.text.chars().count()).max().unwrap_or(0);
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let padded = |row: &Vec<Word>| {
            let cells = row.iter().zip(&widths).map(|(word, width)| self.paint(word, format!("{:<width$}", word.text)));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(padded).collect()
    }

    fn paint(self, word: &Word, text: String) -> String {
        if self.colours && word.look != Look::Plain { format!("\u{1b}[{}m{text}\u{1b}[0m", word.look.code()) } else { text }
    }

    /// Prints lines; on a terminal in the place of what was there if they are shown `again`. `false` when the reader went away.
    pub(super) fn print(self, lines: &[String], again: bool) -> bool {
        let mut text = String::new();
        if again && self.terminal {
            // Home; each line clears what is left of the former one, the end what is below.
            text.push_str("\u{1b}[H");
        }
        for line in lines {
            text.push_str(line);
            text.push_str(if again && self.terminal { "\u{1b}[K\n" } else { "\n" });
        }
        if again && self.terminal {
            text.push_str("\u{1b}[J");
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    /// Makes room for what is shown again and again.
    pub(super) fn clear(self) {
        if self.terminal {
            let _ = std::io::stdout().lock().write_all(b"\x1b[2J");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_below_one_another_with_and_without_colours() {
        let rows = vec![vec!["name".into(), "state".into()], vec!["a-long-name".into(), Word::new("BAD", Look::Alarm)]];
        assert_eq!(Painter::plain().columns(&rows), ["name         state", "a-long-name  BAD"]);
        let coloured = Painter { colours: true, terminal: true }.columns(&rows);
        assert_eq!(coloured[1], "a-long-name  \u{1b}[1;31mBAD  \u{1b}[0m");
        assert_eq!(Word::from("a\u{1b}[2J").text, "a\u{fffd}[2J");
    }
}
