//! Shadow subscriptions: made ahead of a planned move, in a stream, and nobody's until their mailbox becomes ours.

use std::sync::Arc;

use postrider_actors::ids::MailboxId;
use postrider_actors::ports::mail_source::SubscriptionRecord;

use super::{GroupId, Groups, Ticket};

/// What is known of a mailbox's shadow subscription.
#[derive(Debug, PartialEq, Eq)]
pub enum Shadow {
    /// There is none (any more).
    None,
    /// It is there; its stream has not spoken for it (since the last gap).
    Silent,
    /// Events flow.
    Speaks,
}

impl Groups {
    /// The subscription of the watch is a shadow: it is kept with its record until it is taken over.
    pub fn keep_shadow(&mut self, ticket: &Ticket, record: SubscriptionRecord) {
        if self.valid(ticket)
            && let Some(member) = self.members.get_mut(&ticket.mailbox)
        {
            member.shadow = Some(record);
        }
    }

    /// Where a mailbox's shadow subscription stands, and in which group.
    #[must_use]
    pub fn shadow(&self, mailbox: MailboxId) -> (Shadow, Option<GroupId>) {
        match self.members.get(&mailbox) {
            Some(member) if member.shadow.is_some() && member.speaks => (Shadow::Speaks, Some(member.group)),
            Some(member) if member.shadow.is_some() => (Shadow::Silent, Some(member.group)),
            _ => (Shadow::None, None),
        }
    }

    /// Makes a shadow subscription an ordinary one: its record, and whether its stream speaks.
    pub fn take_over(&mut self, mailbox: MailboxId) -> Option<(SubscriptionRecord, bool)> {
        let member = self.members.get_mut(&mailbox)?;
        member.shadow.take().map(|record| (record, member.speaks))
    }

    /// The group's stream speaks for these subscriptions, or does not (any more). Says whose they are.
    pub fn speaks(&mut self, group: GroupId, subscriptions: &[Arc<str>], speaks: bool) -> Vec<MailboxId> {
        let whose = self.listeners(group, subscriptions);
        for mailbox in &whose {
            if let Some(member) = self.members.get_mut(mailbox) {
                member.speaks = speaks;
                if speaks {
                    member.heard.get_or_insert_with(tokio::time::Instant::now);
                }
            }
        }
        if let Some(group) = self.groups.get(&group) {
            if speaks {
                self.standing.speaks(&group.key, subscriptions.len());
            }
            group.settled.notify_waiters();
        }
        whose
    }
}
