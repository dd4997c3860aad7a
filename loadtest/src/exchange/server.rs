//! The running server: what its requests share, and its beginning and end.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::affinity::BackEnd;
use super::autodiscover::Redirect;
use super::budgets::Budgets;
use super::coverage::CoverageReport;
use super::door;
use super::names::Failure;
use super::options::{ExchangeOptions, Group};
use super::pulls::Pulls;
use super::subscriptions::Subscriptions;
use crate::https::{Serving, serve};
use crate::witness::Misuse;
use crate::world::Mailbox;

/// How often subscriptions that nobody fetches from are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// What all requests share.
pub(super) struct Shared {
    pub(super) options: ExchangeOptions,
    pub(super) subscriptions: Subscriptions,
    pub(super) pulls: Pulls,
    pub(super) budgets: Arc<Budgets>,
    /// What autodiscover answers instead of settings, by address.
    pub(super) redirects: Mutex<HashMap<String, Redirect>>,
    /// Streams under way.
    pub(super) streams: AtomicUsize,
    /// Requests that came in, of any kind.
    requests: AtomicU64,
    pub(super) stopping: CancellationToken,
    pub(super) tasks: TaskTracker,
    base: OnceLock<String>,
}

impl Shared {
    /// `https://host:port`.
    pub(super) fn base_url(&self) -> &str {
        self.base.get().map_or("", String::as_str)
    }

    /// The group of a mailbox.
    pub(super) fn group(&self, mailbox: &Mailbox) -> Option<&Group> {
        let count = self.options.groups.len().max(1);
        self.options.groups.get(mailbox.group() % count)
    }

    /// ExternalEwsUrl of a mailbox.
    pub(super) fn ews_url(&self, mailbox: &Mailbox) -> String {
        let own = || format!("{}/EWS/Exchange.asmx", self.base_url());
        let group = self.group(mailbox);
        group.and_then(|g| g.ews_url.clone()).unwrap_or_else(own)
    }

    /// The back end where a mailbox lives; `None` when there is no such mailbox.
    pub(super) fn home(&self, smtp: &str) -> Option<BackEnd> {
        let mailbox = self.options.world.mailbox(smtp).ok()?;
        Some(BackEnd::home(mailbox.smtp(), mailbox.group(), &self.options.groups))
    }

    pub(super) fn misuse(&self, rule: &'static str, detail: impl Into<String>) {
        self.options.witness.misuse(Misuse { server: "exchange", rule, detail: detail.into() });
    }

    /// The answer to what the real server would do and this one does not: counted apart, and nobody is to blame.
    pub(super) fn not_simulated(&self, what: &str) -> Failure {
        self.remark("not-simulated", what);
        Failure::fault("ErrorInvalidOperation", format!("This simulated server does not know {what}."))
    }

    pub(super) fn remark(&self, rule: &'static str, detail: impl Into<String>) {
        self.options.witness.remark(Misuse { server: "exchange", rule, detail: detail.into() });
    }
}

/// A running server. Dropping it stops it; [`Server::stop`] also waits.
pub struct Server {
    shared: Arc<Shared>,
    serving: Serving,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
    }
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: ExchangeOptions) -> io::Result<Self> {
        let (bind, tls) = (options.bind, Arc::clone(&options.tls));
        let shared = Arc::new(Shared {
            options,
            subscriptions: Subscriptions::default(),
            pulls: Pulls::default(),
            budgets: Arc::default(),
            redirects: Mutex::default(),
            streams: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            base: OnceLock::new(),
        });
        let for_requests = Arc::clone(&shared);
        let serving = serve(bind, tls, move |request, connection| {
            for_requests.requests.fetch_add(1, Ordering::Relaxed);
            door::answer(Arc::clone(&for_requests), request, connection)
        })
        .await?;
        let base = format!("https://{}:{}", shared.options.host, serving.addr().port());
        let _ = shared.base.set(base);
        let sweeper = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = sweeper.stopping.cancelled() => return,
                    () = tokio::time::sleep(SWEEP) => {}
                }
                let lifetime = sweeper.options.timings.subscription_lifetime;
                sweeper.subscriptions.sweep(lifetime);
            }
        });
        Ok(Self { shared, serving })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// `https://host:port`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        self.shared.base_url()
    }

    /// The address of its web services.
    pub fn ews_url(&self) -> String {
        format!("{}/EWS/Exchange.asmx", self.base_url())
    }

    /// Live subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.shared.subscriptions.len()
    }

    /// Subscriptions that were made so far.
    pub fn subscriptions_made(&self) -> u64 {
        self.shared.subscriptions.made()
    }

    /// Streaming connections that are open.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// Which mailboxes had no open stream with a live subscription of theirs for longer than `limit`, since the last [`Server::restart_coverage`].
    pub fn coverage(&self, limit: Duration) -> CoverageReport {
        self.shared.subscriptions.coverage().report(limit)
    }

    /// Begins that account anew.
    pub fn restart_coverage(&self) {
        self.shared.subscriptions.coverage().restart();
    }

    /// Requests that came in so far, to autodiscover and to the web services.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Forgets every subscription, as a restart of all back ends does; streams stay open and hear nothing further.
    pub fn forget_subscriptions(&self) {
        self.shared.subscriptions.remove_where(|_| true);
    }

    /// What autodiscover answers about `smtp` from here on; `None` for its settings.
    pub fn redirect(&self, smtp: &str, to: Option<Redirect>) {
        let smtp = smtp.to_ascii_lowercase();
        let mut redirects = self.shared.redirects.lock().unwrap_or_else(PoisonError::into_inner);
        match to {
            Some(to) => redirects.insert(smtp, to),
            None => redirects.remove(&smtp),
        };
    }

    /// Closes every connection and waits until all tasks are done.
    pub async fn stop(self) {
        self.shared.stopping.cancel();
        self.serving.stop().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
