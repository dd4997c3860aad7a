//! Edges that do what a test tells them: a mail server with small inboxes, and push providers that answer by script.

pub mod inbox;
pub mod mail_source;
pub mod peers;
pub mod push_sender;

pub use inbox::{Inbox, Mail};
pub use mail_source::{Asked, Call, Endless, ScriptedMail, ScriptedSource};
pub use peers::ScriptedPeers;
pub use push_sender::{Answer, ScriptedPush, Sent};
