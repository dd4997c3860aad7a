//! The mail source: mailboxes as logs of mails, sync states as positions in them, subscriptions with streams that speak, and all that goes wrong there.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_actors::ids::{ItemId, MailboxId, SyncState};
use postrider_actors::ports::mail_source::{ChangesPage, Hint, ItemFacts, MailContent, MailboxRef, SourceError, SubscriptionRecord};
use postrider_actors::testing::scripted::Inbox;
use postrider_actors::time::{Monotonic, Timestamp};

use super::World;
use super::faults::Hit;
use super::scheduler::{MILLI, Micros, SECOND, To};

/// The mail server.
#[derive(Default)]
pub struct Source {
    /// Inboxes by address.
    pub inboxes: BTreeMap<String, Inbox>,
    /// Subscriptions by number.
    pub subscriptions: BTreeMap<u64, Subscription>,
    /// Until then every call fails.
    pub away_until: Micros,
    /// Requests so far.
    pub requests: u64,
    numbers: u64,
}

/// One subscription, and the stream that carries it.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The machine that holds it, and in which life of it.
    pub to: (usize, u32),
    /// By the node's number of the mailbox.
    pub mailbox: MailboxId,
    /// Of which inbox.
    pub address: String,
    /// Whether the stream speaks.
    pub open: bool,
    /// Made for a mailbox that is planned to become the node's.
    pub shadow: bool,
    /// The stream looks open and says nothing.
    pub silent: bool,
}

impl Source {
    /// The process of a machine is gone: its streams end.
    pub fn forget(&mut self, node: usize) {
        self.subscriptions.retain(|_, subscription| subscription.to.0 != node);
    }

    /// The subscription of a mailbox on a node ends.
    pub fn unwatch(&mut self, node: usize, mailbox: MailboxId) {
        self.subscriptions.retain(|_, subscription| subscription.to.0 != node || subscription.mailbox != mailbox);
    }

    /// An inbox.
    pub fn inbox(&mut self, address: &str) -> &mut Inbox {
        self.inboxes.entry(address.to_owned()).or_default()
    }
}

impl World {
    /// A call to the mail server: carried out after a while, answered after another, if the process lives.
    fn ask_source<R: 'static>(
        &mut self,
        node: usize,
        run: impl FnOnce(&mut World) -> Result<R, SourceError> + 'static,
        reply: impl FnOnce(&mut World, Result<R, SourceError>) + 'static,
    ) {
        let to = self.whom(node);
        let there = self.dice.between(MILLI, 30 * MILLI);
        let slow = self.dice.hits(self.rates.source_slow);
        let back = if slow { self.dice.between(SECOND, 25 * SECOND) } else { self.dice.between(MILLI, 30 * MILLI) };
        self.enter(there, To::World, move |world| {
            world.source.requests += 1;
            let answer = match world.source_trouble() {
                Some(error) => Err(error),
                None => run(world),
            };
            if slow {
                world.hit(Hit::SourceSlow);
            }
            world.enter(back, to, move |world| reply(world, answer));
        });
    }

    fn source_trouble(&mut self) -> Option<SourceError> {
        if self.now < self.source.away_until {
            self.hit(Hit::SourceAway);
            return Some(SourceError::Unavailable { code: "ErrorServerBusy".into() });
        }
        if self.dice.hits(self.rates.throttled) {
            self.hit(Hit::Throttled);
            let wait = self.dice.between(100 * MILLI, 8 * SECOND);
            return Some(SourceError::Throttled { retry_after: Duration::from_micros(wait.unsigned_abs()) });
        }
        if self.dice.hits(self.rates.source_fails) {
            self.hit(Hit::SourceFails);
            return Some(SourceError::Unavailable { code: "ErrorInternalServerTransientError".into() });
        }
        None
    }

    /// Subscribes and joins a stream, or takes over the shadow subscription that was made before.
    pub fn ask_watch(
        &mut self,
        node: usize,
        mailbox: &MailboxRef,
        predecessor: Option<SubscriptionRecord>,
        reply: impl FnOnce(&mut World, Result<SubscriptionRecord, SourceError>) + 'static,
    ) {
        let life = self.machines[node].life;
        let (id, address) = (mailbox.id, mailbox.smtp.as_str().to_owned());
        let ours = |subscription: &Subscription| subscription.to == (node, life) && subscription.mailbox == id;
        if let Some((number, shadow)) = self.source.subscriptions.iter_mut().find(|(_, s)| ours(s) && s.shadow) {
            shadow.shadow = false;
            let (number, open) = (*number, shadow.open);
            if open {
                self.say(number, Hint::StreamOpened);
            }
            let (after, to) = (self.dice.between(100, 2 * MILLI), self.whom(node));
            return self.enter(after, to, move |world| reply(world, Ok(SubscriptionRecord(number.to_string().into()))));
        }
        let run = move |world: &mut World| {
            if let Some(former) = predecessor.and_then(|record| record.0.parse::<u64>().ok()) {
                world.say(former, Hint::SubscriptionLost { rediscover: false });
                world.source.subscriptions.remove(&former);
            }
            world.source.unwatch(node, id);
            let number = world.subscribe((node, life), id, address, false)?;
            Ok(SubscriptionRecord(number.to_string().into()))
        };
        self.ask_source(node, run, reply);
    }

    /// Makes a shadow subscription; answers when its stream spoke.
    pub fn ask_warm(&mut self, node: usize, mailbox: &MailboxRef, reply: impl FnOnce(&mut World, Result<(), SourceError>) + 'static) {
        let life = self.machines[node].life;
        let (id, address) = (mailbox.id, mailbox.smtp.as_str().to_owned());
        let known = self.source.subscriptions.values().any(|s| s.to == (node, life) && s.mailbox == id);
        let run = move |world: &mut World| if known { Ok(()) } else { world.subscribe((node, life), id, address, true).map(drop) };
        self.ask_source(node, run, move |world, answer| {
            let (after, to) = (world.dice.between(MILLI, 500 * MILLI), world.whom(node));
            world.enter(after, to, move |world| reply(world, answer));
        });
    }

    /// At the server: one more subscription, and a stream that opens for it after a while.
    fn subscribe(&mut self, to: (usize, u32), mailbox: MailboxId, address: String, shadow: bool) -> Result<u64, SourceError> {
        if self.machines[to.0].life != to.1 {
            return Err(SourceError::Unavailable { code: "closed".into() });
        }
        if self.dice.hits(self.rates.full) {
            self.hit(Hit::SubscriptionsFull);
            return Err(SourceError::SubscriptionsFull);
        }
        self.source.numbers += 1;
        let number = self.source.numbers;
        let subscription = Subscription { to, mailbox, address, open: false, shadow, silent: false };
        self.source.subscriptions.insert(number, subscription);
        let late = self.dice.hits(self.rates.stream_late);
        let after = if late { self.dice.between(SECOND, 10 * SECOND) } else { self.dice.between(MILLI, 400 * MILLI) };
        if late {
            self.hit(Hit::StreamLate);
        }
        self.enter(after, To::World, move |world| world.stream_opens(number));
        Ok(number)
    }

    /// The stream of a subscription speaks from here on.
    fn stream_opens(&mut self, number: u64) {
        if let Some(subscription) = self.source.subscriptions.get_mut(&number) {
            subscription.open = true;
            self.say(number, Hint::StreamOpened);
        }
    }

    /// A hint on its way to the node.
    fn say(&mut self, number: u64, hint: Hint) {
        let Some(subscription) = self.source.subscriptions.get(&number) else { return };
        let ((node, life), mailbox) = (subscription.to, subscription.mailbox);
        let late = matches!(hint, Hint::Touched { .. }) && self.dice.hits(self.rates.hint_late);
        let after = if late { self.dice.between(SECOND, 20 * SECOND) } else { self.dice.between(100, 20 * MILLI) };
        if late {
            self.hit(Hit::HintLate);
        }
        self.enter(after, To::Process(node, life), move |world| {
            let hint = match hint {
                Hint::Touched { mail, unread, .. } => Hint::Touched { mail, unread, at: Monotonic(world.mono(node).0) },
                other => other,
            };
            world.hint(node, mailbox, hint);
        });
    }

    /// Something changed in an inbox: the streams that speak say so.
    pub fn touched(&mut self, address: &str, mail: bool) {
        let unread = self.dice.percent(50).then(|| self.source.inbox(address).unread());
        let of = self.source.subscriptions.iter().filter(|(_, s)| s.address == address && s.open && !s.silent);
        let numbers: Vec<u64> = of.map(|(number, _)| *number).collect();
        for number in numbers {
            if self.dice.hits(self.rates.hint_lost) {
                self.hit(Hit::HintLost);
                continue;
            }
            let hint = Hint::Touched { mail, unread, at: Monotonic(0) };
            self.say(number, hint);
            if self.dice.hits(self.rates.hint_doubled) {
                self.hit(Hit::HintDoubled);
                self.say(number, hint);
            }
        }
    }

    /// Something happens to a stream: it breaks and is opened again, falls silent, or its subscription is lost.
    pub fn stream_trouble(&mut self) {
        let numbers: Vec<u64> = self.source.subscriptions.iter().filter(|(_, s)| s.open).map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            return;
        }
        let number = numbers[self.dice.index(numbers.len())];
        match self.dice.below(3) {
            0 => {
                self.hit(Hit::StreamGap);
                self.say(number, Hint::Gap);
                self.source.subscriptions.get_mut(&number).into_iter().for_each(|s| s.open = false);
                let after = self.dice.between(100 * MILLI, 5 * SECOND);
                self.enter(after, To::World, move |world| world.stream_opens(number));
            }
            1 => {
                self.hit(Hit::StreamSilent);
                self.source.subscriptions.get_mut(&number).into_iter().for_each(|s| s.silent = true);
            }
            _ => {
                self.hit(Hit::SubscriptionLost);
                let rediscover = self.dice.percent(50);
                self.say(number, Hint::SubscriptionLost { rediscover });
                self.source.subscriptions.remove(&number);
            }
        }
    }

    /// The next page of changes.
    pub fn ask_changes(
        &mut self,
        node: usize,
        mailbox: &MailboxRef,
        state: Option<SyncState>,
        reply: impl FnOnce(&mut World, Result<ChangesPage, SourceError>) + 'static,
    ) {
        let address = mailbox.smtp.as_str().to_owned();
        let run = move |world: &mut World| world.source.inbox(&address).changes(state.as_ref()).ok_or(SourceError::SyncStateLost);
        self.ask_source(node, run, reply);
    }

    /// Items received lately.
    pub fn ask_recent(
        &mut self,
        node: usize,
        mailbox: &MailboxRef,
        since: Timestamp,
        reply: impl FnOnce(&mut World, Result<Vec<ItemFacts>, SourceError>) + 'static,
    ) {
        let address = mailbox.smtp.as_str().to_owned();
        self.ask_source(node, move |world| Ok(world.source.inbox(&address).received_since(since, 50)), reply);
    }

    /// What mails show.
    pub fn ask_contents(
        &mut self,
        node: usize,
        mailbox: &MailboxRef,
        items: Vec<ItemId>,
        reply: impl FnOnce(&mut World, Result<Vec<Option<MailContent>>, SourceError>) + 'static,
    ) {
        let address = mailbox.smtp.as_str().to_owned();
        let run = move |world: &mut World| {
            let inbox = world.source.inbox(&address);
            let shown = |item: &ItemId| {
                let mail = inbox.get(item)?;
                Some(MailContent { sender: "Ada".into(), subject: mail.subject.clone(), preview: "Hello".into(), read: mail.read })
            };
            Ok(items.iter().map(shown).collect())
        };
        self.ask_source(node, run, reply);
    }

    /// The unread count.
    pub fn ask_unread(&mut self, node: usize, mailbox: &MailboxRef, reply: impl FnOnce(&mut World, Result<u32, SourceError>) + 'static) {
        let address = mailbox.smtp.as_str().to_owned();
        self.ask_source(node, move |world| Ok(world.source.inbox(&address).unread()), reply);
    }
}
