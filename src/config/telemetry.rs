//! `[telemetry]`: logs and metrics.

use super::section::{choice, section};

choice! {
    /// How log lines look.
    pub enum Format {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// The least important lines that are written.
    pub enum Level {
        /// Only what needs a person.
        Error = "error",
        /// What may need one.
        Warn = "warn",
        /// What an operator wants to know of a healthy node.
        Info = "info",
        /// What helps to find a mistake; addresses stand there shortened.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

section! {
    /// Logs go to standard error. `RUST_LOG` overrides the level; the HTTP libraries never log below `info`, because they would print tokens.
    pub struct Telemetry with defaults {
        /// How log lines look.
        pub format: Format = Format::Text;
        /// The least important lines that are written.
        pub level: Level = Level::Info;
    }
}
