//! A mail as it is put into an inbox and as it is read out of it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// `t:Importance` of an item (MS-OXWSCORE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Importance {
    /// Low.
    Low,
    /// Normal.
    #[default]
    Normal,
    /// High.
    High,
}

impl Importance {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Normal => "Normal",
            Self::High => "High",
        }
    }
}

/// A mail to be put into an inbox.
#[derive(Clone, PartialEq, Eq)]
pub struct MailSpec {
    /// The sender's display name.
    pub sender_name: String,
    /// The sender's SMTP address.
    pub sender_address: String,
    /// The subject; may be empty.
    pub subject: String,
    /// The first characters of the body.
    pub preview: String,
    /// The item class; `IPM.Note` is a mail.
    pub class: String,
    /// Whether the mail was read before it arrived (a rule can do that).
    pub is_read: bool,
    /// Whether it is a draft.
    pub is_draft: bool,
    /// Whether it has attachments.
    pub has_attachments: bool,
    /// Its importance.
    pub importance: Importance,
}

impl MailSpec {
    /// An unread mail of normal importance.
    pub fn new(sender_name: impl Into<String>, subject: impl Into<String>, preview: impl Into<String>) -> Self {
        let sender_name = sender_name.into();
        let local: String = sender_name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let local = if local.is_empty() { "sender" } else { &local };
        Self {
            sender_address: format!("{local}@partner.example"),
            sender_name,
            subject: subject.into(),
            preview: preview.into(),
            class: "IPM.Note".to_owned(),
            is_read: false,
            is_draft: false,
            has_attachments: false,
            importance: Importance::Normal,
        }
    }
}

impl fmt::Debug for MailSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSpec")
            .field("class", &self.class)
            .field("is_read", &self.is_read)
            .field("is_draft", &self.is_draft)
            .finish_non_exhaustive()
    }
}

/// An item as it is read out of an inbox.
#[derive(Clone)]
pub struct ItemView {
    /// The opaque item id.
    pub id: String,
    /// The change key of this version.
    pub change_key: String,
    /// DateTimeReceived.
    pub received_at: Timestamp,
    /// `message:IsRead`.
    pub is_read: bool,
    /// The rest; its own `is_read` is the one it arrived with.
    pub mail: Arc<MailSpec>,
    /// `message:InternetMessageId`, with its angle brackets.
    pub internet_message_id: String,
}

impl fmt::Debug for ItemView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemView")
            .field("id", &self.id)
            .field("received_at", &self.received_at)
            .field("is_read", &self.is_read)
            .finish_non_exhaustive()
    }
}

/// Whether an item of this class is a mail: `IPM.Note` and what derives from it, and messages about meetings, which users wait for like mail.
pub fn is_mail_class(class: &str) -> bool {
    ["IPM.Note", "IPM.Schedule.Meeting"]
        .iter()
        .any(|root| class.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}
