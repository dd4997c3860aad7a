//! One step of a check that an operator asked for: what was tried, and what came back or what to do.

/// A step of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was tried, for people, with the names of the configuration.
    pub tried: String,
    /// What came back, or what is wrong and what to do about it. Never a secret, never mail content.
    pub result: Result<String, String>,
}

impl Step {
    /// A step that went well.
    #[must_use]
    pub fn good(tried: impl Into<String>, found: impl Into<String>) -> Self {
        Self { tried: tried.into(), result: Ok(found.into()) }
    }

    /// A step that failed.
    #[must_use]
    pub fn bad(tried: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { tried: tried.into(), result: Err(advice.into()) }
    }
}
