//! What the mail source and its streams share: groups, servers, ways in, and where hints go.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use postrider_actors::ids::{MailboxId, TenantId};
use postrider_actors::ports::Clock;
use postrider_actors::ports::mail_source::{Hint, HintSink, MailboxRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::budget::Purpose;
use super::client::{Access, Answered, Client, Target};
use super::error::EwsError;
use super::groups::{Groups, Left};
use super::response_code::Action;
use super::soap::Operation;
use super::soap::unsubscribe::Unsubscribe;
use crate::exchange::{Endpoint, Hosts, LocateError, Locator};

/// How many subscriptions may wait to be ended; more are left to expire at the server.
pub const UNSUBSCRIBE_QUEUE: usize = 4096;
/// How many mailboxes are remembered whose address a server did not know.
const MAX_DOUBTS: usize = 100_000;

/// A tenant as this edge sees it.
pub struct Tenant {
    /// The way in.
    pub access: Access,
    /// The hosts that may be spoken to.
    pub hosts: Hosts,
}

/// The shared part.
pub struct Watching {
    /// Makes requests.
    pub client: Client,
    /// Finds servers.
    pub locator: Arc<dyn Locator>,
    /// Tenants by name.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// The monotonic clock of hints.
    pub clock: Arc<dyn Clock>,
    /// Where hints go.
    pub sink: OnceLock<Arc<dyn HintSink>>,
    /// Ends every stream.
    pub stop: CancellationToken,
    /// Subscriptions to be ended.
    pub unsubscribe: mpsc::Sender<Left>,
    groups: Mutex<Groups>,
    doubts: Mutex<HashSet<MailboxId>>,
}

impl Watching {
    /// Puts the parts together; the receiver is for [`end_subscriptions`].
    #[must_use]
    pub fn new(
        client: Client,
        locator: Arc<dyn Locator>,
        tenants: BTreeMap<TenantId, Tenant>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, mpsc::Receiver<Left>) {
        let (unsubscribe, queue) = mpsc::channel(UNSUBSCRIBE_QUEUE);
        let groups = Mutex::new(Groups::new(client.settings().group_size as usize));
        let watching = Self {
            client,
            locator,
            tenants,
            clock,
            sink: OnceLock::new(),
            stop: CancellationToken::new(),
            unsubscribe,
            groups,
            doubts: Mutex::default(),
        };
        (Arc::new(watching), queue)
    }

    /// The groups, for a moment.
    pub fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tenant's part.
    ///
    /// # Errors
    /// [`LocateError::NotAllowed`] if it is not configured.
    pub fn tenant(&self, tenant: &TenantId) -> Result<&Tenant, EwsError> {
        self.tenants.get(tenant).ok_or(EwsError::Locate(LocateError::NotAllowed))
    }

    /// Hands hints over.
    pub fn tell(&self, mailboxes: impl IntoIterator<Item = MailboxId>, hint: Hint) {
        if let Some(sink) = self.sink.get() {
            mailboxes.into_iter().for_each(|mailbox| sink.hint(mailbox, hint));
        }
    }

    /// Says why a gap or a loss comes that is handed over next.
    pub fn tell_cause(&self, mailboxes: impl IntoIterator<Item = MailboxId>, code: &str) {
        if let Some(sink) = self.sink.get() {
            let code = code.into();
            mailboxes.into_iter().for_each(|mailbox| sink.cause(mailbox, &code));
        }
    }

    /// Looks for the mailbox and makes one call about it.
    ///
    /// # Errors
    /// [`EwsError`]; what it says about the mailbox's place is noted.
    pub async fn ask<O: Operation>(&self, mailbox: &MailboxRef, purpose: Purpose, operation: &O) -> Result<O::Output, EwsError> {
        let asked = async {
            let endpoint = self.locator.locate(mailbox).await?;
            self.ask_at(mailbox, &endpoint, purpose, operation).await
        };
        match asked.await {
            Ok(answered) => {
                self.trust(mailbox.id);
                Ok(answered.output)
            }
            Err(error) => Err(self.note(mailbox, error)),
        }
    }

    async fn ask_at<O: Operation>(
        &self,
        mailbox: &MailboxRef,
        endpoint: &Endpoint,
        purpose: Purpose,
        operation: &O,
    ) -> Result<Answered<O::Output>, EwsError> {
        let budget = self.client.budget(&mailbox.tenant, endpoint);
        let access = &self.tenant(&mailbox.tenant)?.access;
        let target = Target { endpoint, budget: &budget, access, act_for: mailbox.smtp.as_str(), affinity: None };
        self.client.call(&target, purpose, operation).await
    }

    /// Draws the conclusions of an error: forgets where the mailbox is; an address that a server does not know twice, with a look-up in between, is refused.
    pub fn note(&self, mailbox: &MailboxRef, error: EwsError) -> EwsError {
        let exchange_spoke = !matches!(error, EwsError::Silence(_) | EwsError::NoTurn | EwsError::Auth(_) | EwsError::Locate(_));
        if error.wants_discovery() || (exchange_spoke && self.client.settings().rediscover_on_every_error) {
            self.locator.forget(mailbox);
        }
        match error {
            EwsError::Fault(mut fault) if fault.action == Action::RediscoverThenPark => {
                if !self.doubt(mailbox.id) {
                    fault.action = Action::Park;
                }
                EwsError::Fault(fault)
            }
            other => other,
        }
    }

    /// Notes that a server did not know the mailbox; `false` if that was noted before.
    fn doubt(&self, mailbox: MailboxId) -> bool {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if doubts.len() >= MAX_DOUBTS {
            doubts.clear();
        }
        doubts.insert(mailbox)
    }

    pub(super) fn trust(&self, mailbox: MailboxId) {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).remove(&mailbox);
    }

    /// Hands a subscription over to be ended in time.
    pub fn end_later(&self, left: Option<Left>) {
        if let Some(left) = left {
            // A full queue means thousands of removals at once; what does not fit expires at the server.
            let _ = self.unsubscribe.try_send(left);
        }
    }

    /// Ends a subscription, as well as it can be.
    async fn end(&self, left: &Left) -> Result<(), EwsError> {
        let budget = self.client.budget(&left.key.tenant, &left.key.endpoint);
        let access = &self.tenant(&left.key.tenant)?.access;
        let target =
            Target { endpoint: &left.key.endpoint, budget: &budget, access, act_for: left.smtp.as_str(), affinity: Some(&left.affinity) };
        self.client.call(&target, Purpose::Unsubscribe, &Unsubscribe { subscription: &left.subscription }).await.map(|_| ())
    }
}

/// Ends the subscriptions of the queue, one after the other, until the mail source is gone.
pub async fn end_subscriptions(watching: std::sync::Weak<Watching>, mut queue: mpsc::Receiver<Left>) {
    while let Some(left) = queue.recv().await {
        let Some(watching) = watching.upgrade() else { return };
        if let Err(error) = watching.end(&left).await {
            tracing::debug!(code = error.code(), "a subscription could not be ended; it expires at the server");
        }
    }
}
