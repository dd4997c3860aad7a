//! Exchange as the core sees it: watch and unwatch mailboxes, ask what changed and what a mail says.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{ItemId, MailboxId, SyncState, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::mail_source::{
    BackEnd, ChangesPage, Hint, HintSink, ItemFacts, MailContent, MailSource, MailboxRef, SourceError, SubscriptionRecord,
};
use postrider_actors::time::Timestamp;

use super::budget::Purpose;
use super::client::{Affinity, Client, Target};
use super::error::EwsError;
use super::groups::{Left, Next, Shadow, Ticket};
use super::piecewise::{self, Blame};
use super::record::Record;
use super::soap::get_folder::GetInboxUnread;
use super::soap::get_item::MAX_ITEMS;
use super::soap::subscribe::Subscribe;
use super::soap::unsubscribe::Unsubscribe;
use super::streaming::GroupStream;
use super::watching::{Tenant, Watching, end_subscriptions};
use crate::config::ews::Ews;
use crate::exchange::{Endpoint, Locator};
use crate::http::ClientOptions;

/// How long ending a predecessor's subscription may hold a watch up.
const PREDECESSOR_DEADLINE: Duration = Duration::from_secs(5);

/// How long the stream may take to speak for a shadow subscription.
const SHADOW_DEADLINE: Duration = Duration::from_secs(15);

/// How many mailboxes are remembered whose page failed.
const MAX_STUMBLED: usize = 20_000;

/// What the mail source is made of.
pub struct EwsParts {
    /// Pacing, deadlines, bounds.
    pub settings: Ews,
    /// Tenants: ways in and hosts.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// Finds servers.
    pub locator: Arc<dyn Locator>,
    /// Whom outgoing connections trust.
    pub http: ClientOptions,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Seed of varied delays.
    pub seed: u64,
}

/// Exchange through EWS. A watched mailbox is an entry in a map; tasks are one per group and one that ends subscriptions.
pub struct EwsMailSource {
    pub(super) watching: Arc<Watching>,
    /// Mailboxes whose state is being drained: their syncs are paced as seeding.
    seeding: Mutex<HashSet<MailboxId>>,
    /// Mailboxes whose last page failed in a way that one item may be to blame for.
    stumbled: Mutex<HashSet<MailboxId>>,
}

impl Drop for EwsMailSource {
    fn drop(&mut self) {
        self.watching.stop.cancel();
    }
}

impl EwsMailSource {
    /// Makes the source; needs to be called within a tokio runtime.
    #[must_use]
    pub fn new(parts: EwsParts) -> Self {
        let client = Client::new(&parts.http, Arc::new(parts.settings), parts.seed);
        let (watching, queue) = Watching::new(client, parts.locator, parts.tenants, parts.clock);
        let stop = watching.stop.clone();
        let ending = end_subscriptions(Arc::downgrade(&watching), queue);
        tokio::spawn(async move { stop.run_until_cancelled(ending).await });
        Self { watching, seeding: Mutex::default(), stumbled: Mutex::default() }
    }

    /// Says where hints go; the first call counts. Hints before it are dropped, so call it before the first watch.
    pub fn set_sink(&self, sink: Arc<dyn HintSink>) {
        let _ = self.watching.sink.set(sink);
    }

    /// Mailboxes watched, and streams for them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.watching.groups().counts()
    }

    async fn subscribe(
        &self,
        mailbox: &MailboxRef,
        predecessor: Option<SubscriptionRecord>,
    ) -> Result<(Ticket, SubscriptionRecord), EwsError> {
        let watching = &self.watching;
        let endpoint = watching.locator.locate(mailbox).await?;
        if let Some(record) = predecessor.as_ref().and_then(Record::read) {
            // As well as it can be: a predecessor that cannot be ended expires.
            let _ = tokio::time::timeout(PREDECESSOR_DEADLINE, self.end_predecessor(mailbox, record)).await;
        }
        let watch = self.enter(mailbox, &endpoint);
        let affinity = watch.turn(watching.client.settings().wait_deadline).await?;
        if let Some(left) = watching.groups().pause(&watch.ticket) {
            return Err(EwsError::Silence(left));
        }
        let budget = watching.client.budget(&mailbox.tenant, &endpoint);
        let access = &watching.tenant(&mailbox.tenant)?.access;
        let target = Target { endpoint: &endpoint, budget: &budget, access, act_for: mailbox.smtp.as_str(), affinity: Some(&affinity) };
        let answered = watching.client.call(&target, Purpose::Subscribe, &Subscribe).await?;
        let affinity = Affinity { cookie: affinity.cookie.or(answered.cookie), ..affinity };
        let record = Record::new(&answered.output, &endpoint.url, &affinity);
        let subscription: Arc<str> = answered.output.into();
        if !watching.groups().joined(&watch.ticket, Arc::clone(&subscription), affinity.cookie.clone()) {
            // Unwatched, or watched again, meanwhile.
            let key = Arc::new(super::groups::GroupKey { tenant: mailbox.tenant.clone(), endpoint });
            watching.end_later(Some(Left { key, subscription, smtp: Arc::clone(&mailbox.smtp), affinity }));
            return Err(EwsError::Transport("the watch was replaced while it began".into()));
        }
        Ok((watch.ticket, record.write()))
    }

    /// Makes a shadow subscription, unless there is one, and waits until its stream speaks for it.
    async fn shadow(&self, mailbox: &MailboxRef) -> Result<(), EwsError> {
        if self.watching.groups().shadow(mailbox.id).0 == Shadow::None {
            let (ticket, record) = self.subscribe(mailbox, None).await?;
            self.watching.groups().keep_shadow(&ticket, record);
        }
        let speaks = async {
            loop {
                let (_, group) = self.watching.groups().shadow(mailbox.id);
                let settled = group.and_then(|group| self.watching.groups().settled(group)).ok_or(EwsError::NoTurn)?;
                let mut notified = std::pin::pin!(settled.notified());
                notified.as_mut().enable();
                let (shadow, _) = self.watching.groups().shadow(mailbox.id);
                match shadow {
                    Shadow::Speaks => return Ok(()),
                    Shadow::Silent => notified.await,
                    Shadow::None => return Err(EwsError::NoTurn),
                }
            }
        };
        tokio::time::timeout(SHADOW_DEADLINE, speaks).await.map_err(|_| EwsError::NoTurn)?
    }

    /// Puts the mailbox into a group and starts the group's stream if it is the first.
    fn enter(&self, mailbox: &MailboxRef, endpoint: &Arc<Endpoint>) -> Watch<'_> {
        let (ticket, left, fresh) = self.watching.groups().enter(mailbox, endpoint);
        self.watching.end_later(left);
        if let Some(changed) = fresh {
            tokio::spawn(GroupStream::new(Arc::clone(&self.watching), ticket.group, changed).run());
        }
        Watch { watching: &self.watching, ticket }
    }

    async fn end_predecessor(&self, mailbox: &MailboxRef, record: Record) -> Result<(), EwsError> {
        let tenant = self.watching.tenant(&mailbox.tenant)?;
        let Some(url) = reqwest::Url::parse(&record.url).ok().filter(|url| tenant.hosts.check(url).is_ok()) else { return Ok(()) };
        let endpoint = Endpoint::new(url, "");
        let budget = self.watching.client.budget(&mailbox.tenant, &endpoint);
        let affinity = Affinity { anchor: record.anchor.into(), cookie: record.cookie.map(Into::into) };
        let act_for = mailbox.smtp.as_str();
        let target = Target { endpoint: &endpoint, budget: &budget, access: &tenant.access, act_for, affinity: Some(&affinity) };
        self.watching.client.call(&target, Purpose::Unsubscribe, &Unsubscribe { subscription: &record.id }).await.map(|_| ())
    }

    fn stumbled(&self) -> std::sync::MutexGuard<'_, HashSet<MailboxId>> {
        self.stumbled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seeding(&self) -> std::sync::MutexGuard<'_, HashSet<MailboxId>> {
        self.seeding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch that has not made its subscription: gives its place up when dropped.
struct Watch<'a> {
    watching: &'a Watching,
    ticket: Ticket,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.watching.groups().abandon(&self.ticket);
    }
}

impl Watch<'_> {
    /// Waits until it is known where the group is.
    async fn turn(&self, deadline: Duration) -> Result<Affinity, EwsError> {
        let found = async {
            loop {
                let settled = self.watching.groups().settled(self.ticket.group);
                let Some(settled) = settled else { return Err(EwsError::NoTurn) };
                let mut notified = std::pin::pin!(settled.notified());
                notified.as_mut().enable();
                let next = self.watching.groups().next(&self.ticket);
                match next {
                    Next::Found(affinity) | Next::Join(affinity) => return Ok(affinity),
                    Next::Void => return Err(EwsError::NoTurn),
                    Next::Wait => notified.await,
                }
            }
        };
        tokio::time::timeout(deadline, found).await.map_err(|_| EwsError::NoTurn)?
    }
}

#[async_trait]
impl MailSource for EwsMailSource {
    async fn watch(&self, mailbox: &MailboxRef, predecessor: Option<SubscriptionRecord>) -> Result<SubscriptionRecord, SourceError> {
        let taken = self.watching.groups().take_over(mailbox.id);
        if let Some((record, speaks)) = taken {
            if speaks {
                self.watching.tell([mailbox.id], Hint::StreamOpened);
            }
            return Ok(record);
        }
        match self.subscribe(mailbox, predecessor).await {
            Ok((_, record)) => {
                self.watching.trust(mailbox.id);
                Ok(record)
            }
            Err(error) => Err(self.watching.note(mailbox, error).into()),
        }
    }

    async fn warm(&self, mailbox: &MailboxRef) -> Result<(), SourceError> {
        match self.shadow(mailbox).await {
            Ok(()) => {
                self.watching.trust(mailbox.id);
                Ok(())
            }
            Err(error) => Err(self.watching.note(mailbox, error).into()),
        }
    }

    fn unwatch(&self, mailbox: MailboxId) {
        let left = self.watching.groups().leave(mailbox);
        self.watching.end_later(left);
        self.seeding().remove(&mailbox);
    }

    /// The origin of its EWS address; before that is known, its mail domain, whose autodiscover is to be asked.
    fn back_end(&self, mailbox: &MailboxRef) -> BackEnd {
        let place = self.watching.locator.known(mailbox).map(|endpoint| endpoint.url.origin().ascii_serialization());
        let place = place.unwrap_or_else(|| mailbox.smtp.domain().to_owned());
        BackEnd(format!("{} {place}", mailbox.tenant).into())
    }

    async fn changes(&self, mailbox: &MailboxRef, state: Option<&SyncState>) -> Result<ChangesPage, SourceError> {
        let seeding = state.is_none() || self.seeding().contains(&mailbox.id);
        let purpose = if seeding { Purpose::Seeding(mailbox.id) } else { Purpose::Sync(mailbox.id) };
        let again = self.stumbled().remove(&mailbox.id);
        let page = piecewise::changes(&self.watching, mailbox, purpose, state, again).await;
        if page.as_ref().err().is_some_and(|error| piecewise::blame(error) != Blame::Other) {
            let mut stumbled = self.stumbled();
            if stumbled.len() >= MAX_STUMBLED {
                stumbled.clear();
            }
            stumbled.insert(mailbox.id);
        }
        let page = page?;
        if page.complete {
            self.seeding().remove(&mailbox.id);
        } else if seeding {
            self.seeding().insert(mailbox.id);
        }
        Ok(page)
    }

    async fn received_since(&self, mailbox: &MailboxRef, since: Timestamp, limit: usize) -> Result<Vec<ItemFacts>, SourceError> {
        Ok(piecewise::received_since(&self.watching, mailbox, since, limit.min(100)).await?)
    }

    async fn contents(&self, mailbox: &MailboxRef, items: &[ItemId]) -> Result<Vec<Option<MailContent>>, SourceError> {
        let mut contents = Vec::with_capacity(items.len());
        for items in items.chunks(MAX_ITEMS) {
            contents.extend(piecewise::contents(&self.watching, mailbox, items).await?);
        }
        Ok(contents)
    }

    async fn unread(&self, mailbox: &MailboxRef) -> Result<u32, SourceError> {
        Ok(self.watching.ask(mailbox, Purpose::Data, &GetInboxUnread).await?)
    }
}
