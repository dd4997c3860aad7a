//! The configuration: parsed once, checked as a whole, all mistakes reported at once with file and key.

pub mod secret;

/// One mistake: where and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, e.g. `ews.window`.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Collects mistakes while the parts of the configuration are checked.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a mistake at a key.
    pub fn add(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem { key: key.into(), text: text.into() });
    }
}
