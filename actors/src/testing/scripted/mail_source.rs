//! A mail server that does what a test tells it, and a node's way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::inbox::{Inbox, Mail};
use crate::ids::{ItemId, MailboxId, SyncState};
use crate::ports::Clock;
use crate::ports::mail_source::{
    BackEnd, Change, ChangesPage, Hint, HintSink, ItemFacts, MailContent, MailSource, MailboxRef, SourceError, SubscriptionRecord,
};
use crate::time::{Monotonic, Timestamp};

/// How long a call to a server that hangs takes.
const HANGING: Duration = Duration::from_secs(1_800);

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named like the methods of the port")]
pub enum Call {
    Watch,
    Warm,
    Changes,
    ReceivedSince,
    Contents,
    Unread,
}

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When it arrived at the server.
    pub at: Monotonic,
    /// What was called.
    pub call: Call,
    /// About whose mailbox.
    pub smtp: String,
}

/// How a server fails to say that a sync is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endless {
    /// The state of the real end, and nothing.
    StandsStill,
    /// The same change at the same state.
    SameChange,
    /// Another state each time, and nothing.
    NewStates,
    /// Another state each time, and a change.
    NewStatesAndChange,
    /// Another state each time, and a full page of changes.
    FullPages,
}

impl Endless {
    fn spoil(self, number: usize, page: &mut ChangesPage) {
        let changes = match self {
            Self::StandsStill | Self::NewStates => 0,
            Self::SameChange | Self::NewStatesAndChange => 1,
            Self::FullPages => 512,
        };
        if !matches!(self, Self::StandsStill | Self::SameChange) {
            page.state = SyncState(format!("{}+{number}", page.state.0).into());
        }
        page.changes.extend((0..changes).map(|n| Change::Updated(ItemId(format!("some item {n}").into()))));
        page.complete = false;
    }
}

struct Watching {
    node: u64,
    mailbox: MailboxId,
    sink: Arc<dyn HintSink>,
    /// Nobody wants its hints yet.
    shadow: bool,
}

#[derive(Default)]
struct Server {
    inboxes: BTreeMap<String, Inbox>,
    watching: BTreeMap<String, Vec<Watching>>,
    faults: BTreeMap<(String, Call), VecDeque<SourceError>>,
    broken: BTreeMap<(String, Call), SourceError>,
    /// Whose syncs come to no end.
    endless: BTreeMap<String, Endless>,
    /// Whose hints are lost on the way.
    deaf: BTreeMap<String, bool>,
    /// Mail domains whose servers take requests and do not answer.
    hung: BTreeSet<String>,
    /// Whose calls panic.
    cursed: BTreeMap<String, bool>,
    asked: Vec<Asked>,
    predecessors: Vec<SubscriptionRecord>,
    latency: Duration,
    tell_unread: bool,
}

/// The mail server; clones are the same one.
#[derive(Clone)]
pub struct ScriptedMail {
    server: Arc<Mutex<Server>>,
    clock: Arc<dyn Clock>,
    nodes: Arc<AtomicU64>,
}

impl ScriptedMail {
    /// A server whose every call takes 10 ms and whose folder events carry the unread count.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let server = Server { latency: Duration::from_millis(10), tell_unread: true, ..Server::default() };
        Self { server: Arc::new(Mutex::new(server)), clock, nodes: Arc::default() }
    }

    /// A node's way to this server; its hints go to `sink`.
    #[must_use]
    pub fn source(&self, sink: Arc<dyn HintSink>) -> Arc<ScriptedSource> {
        let node = self.nodes.fetch_add(1, Ordering::AcqRel);
        Arc::new(ScriptedSource { mail: self.clone(), node, sink })
    }

    /// From here on every call takes that long.
    pub fn latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// From here on the server of a mail domain takes requests and does not answer them before half an hour, or it answers again.
    pub fn hang(&self, domain: &str, hang: bool) {
        let mut server = self.lock();
        server.hung.retain(|other| other != domain);
        server.hung.extend(hang.then(|| domain.to_owned()));
    }

    /// Whether folder events carry the unread count.
    pub fn tell_unread(&self, tell: bool) {
        self.lock().tell_unread = tell;
    }

    /// A mail arrives at this moment.
    pub fn deliver(&self, smtp: &str) -> ItemId {
        let mail = Mail::at(self.clock.now());
        self.deliver_mail(smtp, mail)
    }

    /// A mail as given arrives.
    pub fn deliver_mail(&self, smtp: &str, mail: Mail) -> ItemId {
        let item = self.put(smtp, mail);
        self.touch(smtp, true);
        item
    }

    /// An item is put in and no event says so: it was there before anybody watched.
    pub fn put(&self, smtp: &str, mail: Mail) -> ItemId {
        self.lock().inboxes.entry(smtp.to_owned()).or_default().add(smtp, mail)
    }

    /// An item is moved into the inbox from another folder.
    pub fn move_in(&self, smtp: &str, mail: Mail) -> ItemId {
        let item = self.put(smtp, mail);
        self.touch(smtp, false);
        item
    }

    /// The user reads an item, or marks it unread.
    pub fn read(&self, smtp: &str, item: &ItemId, read: bool) {
        self.change(smtp, |inbox| inbox.mark_read(item, read));
        self.touch(smtp, false);
    }

    /// The user deletes an item or moves it elsewhere.
    pub fn delete(&self, smtp: &str, item: &ItemId) {
        self.change(smtp, |inbox| inbox.remove(item));
        self.touch(smtp, false);
    }

    /// Changes an inbox, and nobody says so.
    pub fn change<R>(&self, smtp: &str, change: impl FnOnce(&mut Inbox) -> R) -> R {
        change(self.lock().inboxes.entry(smtp.to_owned()).or_default())
    }

    /// The mailbox moves to another server: every id changes, states and subscriptions are gone.
    pub fn change_all_ids(&self, smtp: &str) {
        self.change(smtp, Inbox::change_ids);
        self.lose_subscription(smtp, true);
    }

    /// An event says that something changed.
    pub fn touch(&self, smtp: &str, mail: bool) {
        let unread = {
            let server = self.lock();
            server.tell_unread.then(|| server.inboxes.get(smtp).map_or(0, Inbox::unread))
        };
        self.hint(smtp, Hint::Touched { mail, unread, at: self.clock.monotonic() });
    }

    /// Says something to whoever watches the mailbox.
    pub fn hint(&self, smtp: &str, hint: Hint) {
        let sinks: Vec<(MailboxId, Arc<dyn HintSink>)> = {
            let server = self.lock();
            if server.deaf.get(smtp) == Some(&true) {
                return;
            }
            server.watching.get(smtp).into_iter().flatten().map(|watching| (watching.mailbox, watching.sink.clone())).collect()
        };
        for (mailbox, sink) in sinks {
            sink.hint(mailbox, hint);
        }
    }

    /// The stream is interrupted, and the adapter says by which code.
    pub fn interrupt(&self, smtp: &str, code: &str) {
        let watching: Vec<(MailboxId, Arc<dyn HintSink>)> = {
            let server = self.lock();
            server.watching.get(smtp).into_iter().flatten().map(|watching| (watching.mailbox, watching.sink.clone())).collect()
        };
        for (mailbox, sink) in watching {
            sink.cause(mailbox, &code.into());
            sink.hint(mailbox, Hint::Gap);
        }
    }

    /// The subscription ends at the server.
    pub fn lose_subscription(&self, smtp: &str, rediscover: bool) {
        self.hint(smtp, Hint::SubscriptionLost { rediscover });
        self.lock().watching.remove(smtp);
    }

    /// From here on hints about the mailbox are lost, or are not.
    pub fn lose_hints(&self, smtp: &str, lose: bool) {
        self.lock().deaf.insert(smtp.to_owned(), lose);
    }

    /// From here on every call about the mailbox panics, or does not.
    pub fn curse(&self, smtp: &str, cursed: bool) {
        self.lock().cursed.insert(smtp.to_owned(), cursed);
    }

    /// The next call of that kind fails; asked twice, the two next ones do.
    pub fn fail_next(&self, smtp: &str, call: Call, error: SourceError) {
        self.lock().faults.entry((smtp.to_owned(), call)).or_default().push_back(error);
    }

    /// From here on calls of that kind fail; `None` mends it.
    pub fn fail(&self, smtp: &str, call: Call, error: Option<SourceError>) {
        let (mut server, key) = (self.lock(), (smtp.to_owned(), call));
        match error {
            Some(error) => drop(server.broken.insert(key, error)),
            None => drop(server.broken.remove(&key)),
        }
    }

    /// From here on syncs of the mailbox come to no end; `None` mends it.
    pub fn endless(&self, smtp: &str, how: Option<Endless>) {
        let mut server = self.lock();
        server.endless.remove(smtp);
        server.endless.extend(how.map(|how| (smtp.to_owned(), how)));
    }

    /// All calls about the mailbox, in order.
    #[must_use]
    pub fn asked(&self, smtp: &str) -> Vec<Asked> {
        self.lock().asked.iter().filter(|asked| asked.smtp == smtp).cloned().collect()
    }

    /// How many calls of that kind were made about the mailbox.
    #[must_use]
    pub fn count(&self, smtp: &str, call: Call) -> usize {
        self.lock().asked.iter().filter(|asked| asked.smtp == smtp && asked.call == call).count()
    }

    /// How many subscriptions watch the mailbox.
    #[must_use]
    pub fn watchers(&self, smtp: &str) -> usize {
        self.lock().watching.get(smtp).map_or(0, Vec::len)
    }

    /// The subscriptions of former owners that were ended.
    #[must_use]
    pub fn predecessors(&self) -> Vec<SubscriptionRecord> {
        self.lock().predecessors.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's way to the server.
pub struct ScriptedSource {
    mail: ScriptedMail,
    node: u64,
    sink: Arc<dyn HintSink>,
}

impl ScriptedSource {
    fn enter(&self, server: &mut Server, mailbox: &MailboxRef, shadow: bool) {
        let watching = server.watching.entry(mailbox.smtp.as_str().to_owned()).or_default();
        watching.retain(|other| other.node != self.node);
        watching.push(Watching { node: self.node, mailbox: mailbox.id, sink: self.sink.clone(), shadow });
    }

    /// Whether there was a shadow subscription, which is an ordinary one from here on.
    fn take_over(&self, mailbox: &MailboxRef) -> bool {
        let mut server = self.mail.lock();
        let ours = |watching: &&mut Watching| watching.node == self.node && watching.mailbox == mailbox.id && watching.shadow;
        let shadow = server.watching.get_mut(mailbox.smtp.as_str()).and_then(|watching| watching.iter_mut().find(ours));
        shadow.map(|watching| watching.shadow = false).is_some()
    }

    /// The way there, the fault that waits, the way back.
    async fn call<R>(
        &self,
        mailbox: &MailboxRef,
        call: Call,
        run: impl FnOnce(&mut Server) -> Result<R, SourceError>,
    ) -> Result<R, SourceError> {
        let smtp = mailbox.smtp.as_str().to_owned();
        let latency = self.mail.lock().latency;
        tokio::time::sleep(latency / 2).await;
        if self.mail.lock().hung.contains(mailbox.smtp.domain()) {
            tokio::time::sleep(HANGING).await;
        }
        let answer = {
            let mut server = self.mail.lock();
            let at = self.mail.clock.monotonic();
            server.asked.push(Asked { at, call, smtp: smtp.clone() });
            let cursed = server.cursed.get(&smtp) == Some(&true);
            let key = (smtp, call);
            let fault = server.faults.get_mut(&key).and_then(VecDeque::pop_front).or_else(|| server.broken.get(&key).cloned());
            match fault {
                _ if cursed => Err(None),
                Some(error) => Err(Some(error)),
                None => run(&mut server).map_err(Some),
            }
        };
        tokio::time::sleep(latency / 2).await;
        answer.map_err(|error| error.unwrap_or_else(|| panic!("the mail source panics, as the test wants")))
    }
}

#[async_trait]
impl MailSource for ScriptedSource {
    async fn watch(&self, mailbox: &MailboxRef, predecessor: Option<SubscriptionRecord>) -> Result<SubscriptionRecord, SourceError> {
        if !self.take_over(mailbox) {
            self.call(mailbox, Call::Watch, |server| {
                server.predecessors.extend(predecessor);
                self.enter(server, mailbox, false);
                Ok(())
            })
            .await?;
        }
        let record = SubscriptionRecord(format!("node {} watches {}", self.node, mailbox.id).into());
        // The stream's first envelope comes a little after the answer.
        let (mail, smtp, wait) = (self.mail.clone(), mailbox.smtp.clone(), self.mail.lock().latency);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            mail.hint(smtp.as_str(), Hint::StreamOpened);
        });
        Ok(record)
    }

    async fn warm(&self, mailbox: &MailboxRef) -> Result<(), SourceError> {
        self.call(mailbox, Call::Warm, |server| {
            self.enter(server, mailbox, true);
            Ok(())
        })
        .await
    }

    fn back_end(&self, mailbox: &MailboxRef) -> BackEnd {
        BackEnd(mailbox.smtp.domain().into())
    }

    fn unwatch(&self, mailbox: MailboxId) {
        let mut server = self.mail.lock();
        server.watching.values_mut().for_each(|watching| watching.retain(|other| other.node != self.node || other.mailbox != mailbox));
    }

    async fn changes(&self, mailbox: &MailboxRef, state: Option<&SyncState>) -> Result<ChangesPage, SourceError> {
        self.call(mailbox, Call::Changes, |server| {
            let inbox = server.inboxes.entry(mailbox.smtp.as_str().to_owned()).or_default();
            let state = state.and_then(|state| state.0.split('+').next()).map(|state| SyncState(state.into()));
            let mut page = inbox.changes(state.as_ref()).ok_or(SourceError::SyncStateLost)?;
            if let Some(how) = server.endless.get(mailbox.smtp.as_str()).filter(|_| page.complete) {
                how.spoil(server.asked.len(), &mut page);
            }
            Ok(page)
        })
        .await
    }

    async fn received_since(&self, mailbox: &MailboxRef, since: Timestamp, limit: usize) -> Result<Vec<ItemFacts>, SourceError> {
        self.call(mailbox, Call::ReceivedSince, |server| {
            Ok(server.inboxes.get(mailbox.smtp.as_str()).map(|inbox| inbox.received_since(since, limit)).unwrap_or_default())
        })
        .await
    }

    async fn contents(&self, mailbox: &MailboxRef, items: &[ItemId]) -> Result<Vec<Option<MailContent>>, SourceError> {
        self.call(mailbox, Call::Contents, |server| {
            let inbox = server.inboxes.get(mailbox.smtp.as_str());
            let shown = |item: &ItemId| {
                let mail = inbox?.get(item)?;
                Some(MailContent { sender: "Ada".into(), subject: mail.subject.clone(), preview: "Hello".into(), read: mail.read })
            };
            Ok(items.iter().map(shown).collect())
        })
        .await
    }

    async fn unread(&self, mailbox: &MailboxRef) -> Result<u32, SourceError> {
        self.call(mailbox, Call::Unread, |server| Ok(server.inboxes.get(mailbox.smtp.as_str()).map_or(0, Inbox::unread))).await
    }
}
