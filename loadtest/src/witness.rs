//! What the simulators tell whoever keeps the account: which mails came and went, which hints left, which rules were broken.

use std::fmt;
use std::time::Instant;

use jiff::Timestamp;

/// Hears everything that happens in the simulated world, in the order in which it happens for one mailbox.
///
/// Calls come from many threads, some under a mailbox's lock: an implementation must be quick, must not block and must not
/// call back into the world.
pub trait Witness: Send + Sync {
    /// A mail is in the inbox, a moment before any client can see it. Mails laid down in bulk as a mailbox's past
    /// (`World::seed_old_mails`) are not told one by one: no push may name them.
    fn mail_delivered(&self, mail: &MailFact);
    /// A mail needs no push any more (or, for [`Gone::Read`], until it is marked unread again).
    fn mail_gone(&self, mailbox: &str, item_id: &str, why: Gone);
    /// A mail that had been read is unread again; it is not announced for that.
    fn mail_unread(&self, mailbox: &str, item_id: &str);
    /// A mailbox move gave a mail another id. It is the same mail: announced under either id, it is announced.
    fn mail_renamed(&self, mailbox: &str, old_id: &str, new_id: &str);
    /// A notification about this mail was handed to the socket of a streaming connection.
    fn hint_on_wire(&self, mailbox: &str, item_id: &str, at: Instant);
    /// The number of unread mails of the inbox changed to this; what a badge should come to show.
    fn unread_count(&self, mailbox: &str, unread: u64);
    /// A client did what the real server would have refused, or what its documentation forbids.
    fn misuse(&self, what: Misuse);
    /// Something happened that a real server takes, though it advises against it, or that it carries out and a simulated one does not:
    /// nobody is to blame.
    fn remark(&self, _: Misuse) {}
}

/// A mail as it was put into an inbox.
#[derive(Clone, PartialEq, Eq)]
pub struct MailFact {
    /// SMTP address of the mailbox, lower case.
    pub mailbox: String,
    /// The item id, without its change key.
    pub item_id: String,
    /// When the world put it there, on the monotonic clock: latency is counted from here.
    pub at: Instant,
    /// The mail's own DateTimeReceived (an old mail dragged into the inbox keeps its old one).
    pub received_at: Timestamp,
    /// The name the sender shows.
    pub sender: String,
    /// The subject, as sent.
    pub subject: String,
    /// The first characters of the body, as Exchange gives them in `item:Preview`.
    pub preview: String,
    /// Whether every device of the mailbox must hear of it: a mail, unread, no draft, received now.
    pub to_announce: bool,
}

impl fmt::Debug for MailFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailFact")
            .field("mailbox", &self.mailbox)
            .field("item_id", &self.item_id)
            .field("received_at", &self.received_at)
            .field("to_announce", &self.to_announce)
            .finish_non_exhaustive()
    }
}

/// Why a mail needs no push any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gone {
    /// Read by its owner elsewhere.
    Read,
    /// Deleted.
    Deleted,
    /// Moved to another folder.
    Moved,
}

/// A rule that a client broke towards one of the simulated servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// The server that says so: `exchange`, `autodiscover`, `identity`, `apns`, `fcm`.
    pub server: &'static str,
    /// The rule's name, stable, in kebab case: what a report counts by.
    pub rule: &'static str,
    /// What was seen, without mail content, tokens or passwords.
    pub detail: String,
}

/// A witness that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWitness;

impl Witness for NoWitness {
    fn mail_delivered(&self, _: &MailFact) {}
    fn mail_gone(&self, _: &str, _: &str, _: Gone) {}
    fn mail_unread(&self, _: &str, _: &str) {}
    fn mail_renamed(&self, _: &str, _: &str, _: &str) {}
    fn hint_on_wire(&self, _: &str, _: &str, _: Instant) {}
    fn unread_count(&self, _: &str, _: u64) {}
    fn misuse(&self, _: Misuse) {}
}
