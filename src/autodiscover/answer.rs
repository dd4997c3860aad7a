//! What an autodiscover server's answer comes to, whichever protocol it speaks.

/// What one answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Where the mailbox is served.
    Settings {
        /// The EWS address, as it stands there.
        ews_url: String,
        /// `GroupingInformation`, if there is one.
        grouping: Option<String>,
    },
    /// Ask for another address of the same person.
    RedirectAddress(String),
    /// Ask at another place.
    RedirectUrl(String),
    /// The server knows no such mailbox.
    NoSuchMailbox(String),
    /// It cannot answer; its code.
    Failed(String),
}

/// A code for errors and traces: identifiers only, no text of the server's.
#[must_use]
pub fn code(text: &str) -> String {
    let text = text.trim();
    let clean = !text.is_empty() && text.len() <= 60 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if clean { text.to_owned() } else { "UnknownCode".to_owned() }
}
