//! A server's error code, made fit for logs, reports and comparison: bounded, in plain letters.

use std::sync::Arc;

/// Longest code that is kept of one that nobody knows.
const MAX_LEN: usize = 64;

/// The code as the server names it; `http-503` where it names none. Anything but letters, digits, `-`, `_` and `.` becomes `_`.
#[must_use]
pub fn code(status: u16, named: &str) -> Arc<str> {
    if named.is_empty() {
        return format!("http-{status}").into();
    }
    named.chars().take(MAX_LEN).map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect::<String>().into()
}
