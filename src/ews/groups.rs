//! Which mailboxes share a streaming connection: groups of up to 200 by tenant and endpoint, each with an anchor and an affinity cookie.

mod shadow;
mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::mail_source::{MailboxRef, SubscriptionRecord};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::Affinity;
use crate::exchange::Endpoint;

pub use shadow::Shadow;
pub use standing::Lost;
use standing::{Loss, Standing};

/// A group's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// What mailboxes of one group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Whose credentials apply.
    pub tenant: TenantId,
    /// Address and grouping information.
    pub endpoint: Arc<Endpoint>,
}

/// One watch of a mailbox; a later watch of the same mailbox makes it void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// In which group.
    pub group: GroupId,
    number: u64,
}

/// What a mailbox that wants a subscription does next.
#[derive(Debug)]
pub enum Next {
    /// Subscribe as the group's anchor: the answer sets the group's cookie.
    Found(Affinity),
    /// Subscribe where the group is.
    Join(Affinity),
    /// The anchor is at it: wait.
    Wait,
    /// The watch is void.
    Void,
}

/// A subscription that nobody listens to any more.
#[derive(Debug, Clone)]
pub struct Left {
    /// Its group's key.
    pub key: Arc<GroupKey>,
    /// Its id.
    pub subscription: Arc<str>,
    /// Whose it is.
    pub smtp: Arc<Smtp>,
    /// Where it is.
    pub affinity: Affinity,
}

/// What a stream is opened with.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The group's key.
    pub key: Arc<GroupKey>,
    /// The subscriptions.
    pub subscriptions: Vec<Arc<str>>,
    /// Where they are.
    pub affinity: Affinity,
    /// The mailbox to impersonate: the connection is charged to it.
    pub act_for: Arc<Smtp>,
    /// Whether no other can join.
    pub full: bool,
}

#[derive(Debug)]
struct Member {
    group: GroupId,
    number: u64,
    smtp: Arc<Smtp>,
    subscription: Option<Arc<str>>,
    /// The group's stream carries it and spoke.
    speaks: bool,
    /// Since when it did for the first time.
    heard: Option<Instant>,
    /// Made ahead of a move: nobody has taken it over yet.
    shadow: Option<SubscriptionRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Founding {
    /// Nobody has subscribed yet.
    Open,
    /// The watch of this number is at it.
    By(u64),
    /// The group is where its first subscription is.
    Done,
}

#[derive(Debug)]
struct Group {
    key: Arc<GroupKey>,
    /// Its only member spoils the streams of others.
    alone: bool,
    /// Ordered by address: the first is the anchor.
    members: BTreeSet<(Arc<Smtp>, MailboxId)>,
    subscriptions: HashMap<Arc<str>, MailboxId>,
    founding: Founding,
    founder: Option<Arc<Smtp>>,
    cookie: Option<Box<str>>,
    /// How many anchors were passed over because their connections are used up.
    passed_over: usize,
    /// Wakes the group's stream.
    changed: Arc<Notify>,
    /// Wakes watches that wait for the anchor.
    settled: Arc<Notify>,
}

/// All groups.
#[derive(Debug)]
pub struct Groups {
    groups: BTreeMap<GroupId, Group>,
    by_key: HashMap<Arc<GroupKey>, Vec<GroupId>>,
    members: HashMap<MailboxId, Member>,
    counter: u64,
    size: usize,
    standing: Standing,
}

impl Groups {
    /// Makes groups of at most `size`.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { groups: BTreeMap::new(), by_key: HashMap::new(), members: HashMap::new(), counter: 0, size, standing: Standing::default() }
    }

    /// Puts a mailbox into a group with room. Says the ticket, the former subscription of the mailbox, and, if the group is another one than ever, what wakes it.
    pub fn enter(&mut self, mailbox: &MailboxRef, endpoint: &Arc<Endpoint>) -> (Ticket, Option<Left>, Option<Arc<Notify>>) {
        let left = self.leave(mailbox.id);
        let key = GroupKey { tenant: mailbox.tenant.clone(), endpoint: Arc::clone(endpoint) };
        let (alone, size) = (self.standing.alone(mailbox.id), self.standing.size(&key, self.size));
        let has_room = |id: &GroupId| !alone && !self.groups[id].alone && self.groups[id].members.len() < size;
        let with_room = self.by_key.get(&key).into_iter().flatten().copied().find(has_room);
        let number = self.count();
        let (group, fresh) = match with_room {
            Some(group) => (group, None),
            None => {
                let (group, changed) = self.open(Arc::new(key));
                (group, Some(changed))
            }
        };
        if let Some(entered) = self.groups.get_mut(&group) {
            entered.alone = alone;
            entered.members.insert((Arc::clone(&mailbox.smtp), mailbox.id));
        }
        self.members.insert(
            mailbox.id,
            Member { group, number, smtp: Arc::clone(&mailbox.smtp), subscription: None, speaks: false, heard: None, shadow: None },
        );
        (Ticket { mailbox: mailbox.id, group, number }, left, fresh)
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn open(&mut self, key: Arc<GroupKey>) -> (GroupId, Arc<Notify>) {
        let id = GroupId(self.count());
        let changed = Arc::new(Notify::new());
        let group = Group {
            key: Arc::clone(&key),
            alone: false,
            members: BTreeSet::new(),
            subscriptions: HashMap::new(),
            founding: Founding::Open,
            founder: None,
            cookie: None,
            passed_over: 0,
            changed: Arc::clone(&changed),
            settled: Arc::default(),
        };
        self.groups.insert(id, group);
        self.by_key.entry(key).or_default().push(id);
        (id, changed)
    }

    fn valid(&self, ticket: &Ticket) -> bool {
        self.members.get(&ticket.mailbox).is_some_and(|member| member.number == ticket.number)
    }

    /// What wakes watches that wait for a group's anchor.
    #[must_use]
    pub fn settled(&self, group: GroupId) -> Option<Arc<Notify>> {
        self.groups.get(&group).map(|group| Arc::clone(&group.settled))
    }

    /// What the watch does next. The anchor is the alphabetically first address in the group.
    pub fn next(&mut self, ticket: &Ticket) -> Next {
        if !self.valid(ticket) {
            return Next::Void;
        }
        let Some(group) = self.groups.get_mut(&ticket.group) else { return Next::Void };
        match group.founding {
            Founding::Done => Next::Join(group.affinity()),
            Founding::Open if group.members.first().is_some_and(|(_, first)| *first == ticket.mailbox) => {
                group.founding = Founding::By(ticket.number);
                Next::Found(group.affinity())
            }
            Founding::By(number) if number == ticket.number => Next::Found(group.affinity()),
            Founding::Open | Founding::By(_) => Next::Wait,
        }
    }

    /// A subscription was made. `false` if the watch is void: the subscription is nobody's.
    pub fn joined(&mut self, ticket: &Ticket, subscription: Arc<str>, cookie: Option<Box<str>>) -> bool {
        if !self.valid(ticket) {
            return false;
        }
        let (Some(group), Some(member)) = (self.groups.get_mut(&ticket.group), self.members.get_mut(&ticket.mailbox)) else {
            return false;
        };
        if group.founding != Founding::Done {
            group.founding = Founding::Done;
            group.founder = Some(Arc::clone(&member.smtp));
        }
        if group.cookie.is_none() {
            group.cookie = cookie;
        }
        group.subscriptions.insert(Arc::clone(&subscription), ticket.mailbox);
        member.subscription = Some(subscription);
        group.settled.notify_waiters();
        group.changed.notify_one();
        true
    }

    /// Gives a watch up that made no subscription.
    pub fn abandon(&mut self, ticket: &Ticket) {
        if self.valid(ticket) && self.members.get(&ticket.mailbox).is_some_and(|member| member.subscription.is_none()) {
            self.leave(ticket.mailbox);
        } else if let Some(group) = self.groups.get_mut(&ticket.group) {
            group.release_founding(ticket.number);
        }
    }

    /// Takes a mailbox out of its group; says its subscription, if it has one.
    pub fn leave(&mut self, mailbox: MailboxId) -> Option<Left> {
        let member = self.members.remove(&mailbox)?;
        let group = self.groups.get_mut(&member.group)?;
        let affinity = group.affinity();
        group.members.remove(&(Arc::clone(&member.smtp), mailbox));
        group.release_founding(member.number);
        if let Some(subscription) = &member.subscription {
            group.subscriptions.remove(subscription);
            self.standing.ended(Arc::clone(subscription));
        }
        let key = Arc::clone(&group.key);
        group.settled.notify_waiters();
        group.changed.notify_one();
        if group.members.is_empty() {
            self.close(member.group, &key);
        }
        member.subscription.map(|subscription| Left { key, subscription, smtp: member.smtp, affinity })
    }

    fn close(&mut self, group: GroupId, key: &Arc<GroupKey>) {
        self.groups.remove(&group);
        if let Some(ids) = self.by_key.get_mut(key) {
            ids.retain(|id| *id != group);
            if ids.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// What a stream of the group is opened with; `None` once the group is closed.
    #[must_use]
    pub fn snapshot(&mut self, group: GroupId) -> Option<Snapshot> {
        let key = Arc::clone(&self.groups.get(&group)?.key);
        let size = self.standing.size(&key, self.size);
        let group = self.groups.get(&group)?;
        let affinity = group.affinity();
        let (act_for, _) =
            group.subscribed(&self.members).nth(group.passed_over % group.subscriptions.len().max(1)).or(group.members.first())?;
        let mut subscriptions: Vec<Arc<str>> = group.subscriptions.keys().cloned().collect();
        subscriptions.sort_unstable();
        let full = group.alone || subscriptions.len() >= size;
        Some(Snapshot { key, subscriptions, affinity, act_for: Arc::clone(act_for), full })
    }

    /// Whether subscriptions joined that are not among `known`, which is sorted.
    #[must_use]
    pub fn has_joined(&self, group: GroupId, known: &[Arc<str>]) -> bool {
        self.groups.get(&group).is_some_and(|group| group.subscriptions.keys().any(|id| known.binary_search(id).is_err()))
    }

    /// Whether the group has members.
    #[must_use]
    pub fn is_open(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    /// Whose a subscription is.
    #[must_use]
    pub fn owner(&self, group: GroupId, subscription: &str) -> Option<MailboxId> {
        self.groups.get(&group)?.subscriptions.get(subscription).copied()
    }

    /// The subscription of a member by address.
    #[must_use]
    pub fn subscription_of(&self, group: GroupId, smtp: &Arc<Smtp>) -> Option<Arc<str>> {
        let (_, mailbox) = self.groups.get(&group)?.members.iter().find(|(member, _)| member == smtp)?;
        self.members.get(mailbox)?.subscription.clone()
    }

    /// Who of the group listens.
    #[must_use]
    pub fn listeners(&self, group: GroupId, subscriptions: &[Arc<str>]) -> Vec<MailboxId> {
        let Some(group) = self.groups.get(&group) else { return Vec::new() };
        subscriptions.iter().filter_map(|id| group.subscriptions.get(id).copied()).collect()
    }

    /// Whether a subscription was a member's and is so no more.
    #[must_use]
    pub fn has_ended(&self, subscription: &str) -> bool {
        self.standing.has_ended(subscription)
    }

    /// How long it is until another subscription may be made; `None` if it may be at once.
    pub fn pause(&mut self, ticket: &Ticket) -> Option<Duration> {
        let key = Arc::clone(&self.groups.get(&ticket.group)?.key);
        self.standing.pause(&key)
    }

    /// Subscriptions are gone at the server: their mailboxes leave. Says which mailboxes.
    pub fn lose<'a>(&mut self, group: GroupId, subscriptions: impl IntoIterator<Item = &'a str>, how: Lost) -> Vec<MailboxRef> {
        let lost: BTreeSet<MailboxId> = subscriptions.into_iter().filter_map(|id| self.owner(group, id)).collect();
        let heard = |mailbox: &MailboxId| self.members.get(mailbox).and_then(|member| member.heard);
        let losses: Vec<Loss> = lost.iter().map(|mailbox| Loss { mailbox: *mailbox, heard: heard(mailbox) }).collect();
        if let Some(group) = self.groups.get(&group) {
            self.standing.lost(&group.key, group.subscriptions.len(), &losses, how);
        }
        let leave = |mailbox| {
            let left = self.leave(mailbox)?;
            Some(MailboxRef { id: mailbox, tenant: left.key.tenant.clone(), smtp: left.smtp })
        };
        lost.into_iter().filter_map(leave).collect()
    }

    /// Another mailbox is to be impersonated from here on: the connections of this one are used up.
    pub fn pass_anchor_over(&mut self, group: GroupId) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.passed_over = group.passed_over.wrapping_add(1);
        }
    }

    /// Mailboxes watched, and groups.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.members.len(), self.groups.len())
    }
}

impl Group {
    /// With a cookie the cookie routes and the anchor is the first address; without one the anchor's address routes, so it stays the founder's.
    fn affinity(&self) -> Affinity {
        let first = self.members.first().map(|(smtp, _)| smtp);
        let anchor = match (&self.cookie, &self.founder) {
            (None, Some(founder)) => Some(founder),
            _ => first.or(self.founder.as_ref()),
        };
        Affinity { anchor: anchor.map_or_else(|| "".into(), |smtp| smtp.as_str().into()), cookie: self.cookie.clone() }
    }

    fn subscribed<'a>(&'a self, members: &'a HashMap<MailboxId, Member>) -> impl Iterator<Item = &'a (Arc<Smtp>, MailboxId)> {
        self.members.iter().filter(|(_, id)| members.get(id).is_some_and(|member| member.subscription.is_some()))
    }

    fn release_founding(&mut self, number: u64) {
        if self.founding == Founding::By(number) {
            self.founding = Founding::Open;
            self.settled.notify_waiters();
        }
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
