//! What people and phones change, as values: one change and the line of the audit trail that goes with it are carried out together or not at all.

use std::time::Duration;

use crate::ids::{MailboxId, ShardId, Smtp, TenantId};
use crate::ports::registry_store::{ApiKey, AuditLine, MailboxView, Registered, Registration};
use crate::time::Timestamp;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// A device registers, or registers anew; counts as activity at this moment.
    Register(&'a Registration, Timestamp),
    /// The cut-off of a device.
    Cutoff(Of<'a>, Duration),
    /// The device was unlocked and used at this moment; never moves backwards.
    Activity(Of<'a>, Timestamp),
    /// A device and its pending rows go.
    DeviceRemove(Of<'a>),
    /// A mailbox is added; it is watched once it has a device.
    MailboxAdd(&'a TenantId, &'a Smtp, Timestamp),
    /// A mailbox and everything about it goes.
    MailboxRemove(&'a TenantId, &'a Smtp),
    /// A key is kept.
    KeyCreate(&'a ApiKey),
    /// A key is revoked.
    KeyRevoke(&'a str),
    /// The switch that pauses all sending.
    Sending(bool),
}

/// A device by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// The mailbox.
    pub smtp: &'a Smtp,
    /// The app's own name of the device.
    pub name: &'a str,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Of a registration.
    Registered(Registered),
    /// Whether there was such a device or key; switching always does.
    Found(bool),
    /// The shard whose owner is to be woken; `None` if there was nothing to remove.
    Removed(Option<ShardId>),
    /// The mailbox, and whether it is new.
    Mailbox(MailboxView, bool),
}

impl Changed {
    /// Whether anything was changed: only then a line is left with it.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Registered(registered) => matches!(registered, Registered::Done { .. }),
            Self::Found(found) => *found,
            Self::Removed(removed) => removed.is_some(),
            Self::Mailbox(_, created) => *created,
        }
    }

    fn created(&self) -> bool {
        matches!(self, Self::Registered(Registered::Done { created: true, .. }) | Self::Mailbox(_, true))
    }
}

/// Who makes a change, for the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The line as it is left if the change is made; its status is that of a change of what was there before.
    pub line: AuditLine,
    /// Whether the change itself needs no line (users change their own devices all day), only a token that leaves the device that held it.
    pub moves_only: bool,
}

impl Signed {
    /// The lines that are left with the change: its own, and one if a token left the device of another mailbox, or another device of this one.
    #[must_use]
    pub fn lines(&self, changed: &Changed, mailbox: Option<MailboxId>, token_left: Option<MailboxId>) -> Vec<AuditLine> {
        let own = (changed.is_change() && !self.moves_only).then(|| {
            let object = match mailbox {
                Some(mailbox) if self.line.object.is_empty() => format!("mailbox {mailbox}"),
                Some(mailbox) => format!("{} (mailbox {mailbox})", self.line.object),
                None => self.line.object.clone(),
            };
            let status = if changed.created() { 201 } else { self.line.status };
            AuditLine { object, status, ..self.line.clone() }
        });
        let moved = token_left.zip(mailbox).map(|(former, new)| AuditLine {
            what: "token moved".into(),
            object: format!("from mailbox {former} to mailbox {new}"),
            status: 200,
            ..self.line.clone()
        });
        own.into_iter().chain(moved).collect()
    }
}

/// Which lines of the trail are asked for; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditAsk {
    /// Of these tenants; of all if there are none. The empty name stands for what is done to the node itself.
    pub tenants: Vec<TenantId>,
    /// Only lines older than the one with this number: the next page.
    pub before: Option<i64>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Of this caller, exactly.
    pub who: Option<String>,
    /// Whose action has this in it.
    pub what: Option<String>,
    /// Whose object has this in it.
    pub object: Option<String>,
    /// At most so many.
    pub limit: u32,
}
