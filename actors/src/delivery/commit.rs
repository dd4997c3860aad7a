//! The three batches of a node: commits of sync states with their rows, verdicts and retries, and devices read at the moment of sending.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::batch::{Batcher, Run};
use super::message::CommitAnswer;
use crate::gate::Gate;
use crate::ids::{Authority, DeviceId, MailboxId};
use crate::ports::delivery_store::{Mark, Retry};
use crate::ports::device_store::DeviceNow;
use crate::ports::mailbox_store::{Commit, Committed, Inserted, MailboxState};
use crate::ports::{Clock, DeliveryStore, DeviceStore, MailboxStore, Ports, StoreError};
use crate::settings::Settings;
use crate::telemetry::metrics;
use crate::time::Monotonic;

/// Most marks, retries or devices in one call.
const MOST: usize = 1_000;

/// Sync states that cover no push, waiting to be written. At most one per mailbox, the newest.
type Behind = Arc<Mutex<BTreeMap<MailboxId, Commit>>>;

/// Writes and reads in batches.
#[derive(Debug, Clone)]
pub struct Committer {
    commits: Batcher<Commits>,
    verdicts: Batcher<Verdicts>,
    devices: Batcher<Devices>,
    behind: Behind,
    store: Store,
}

#[derive(Clone)]
struct Store(Arc<dyn MailboxStore>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Committer {
    /// Starts the three batchers.
    #[must_use]
    pub fn start(ports: &Ports, gate: Arc<Gate>, settings: &Settings) -> Self {
        let commits = Commits { store: ports.mailboxes.clone(), gate, clock: ports.clock.clone(), failing: AtomicBool::default() };
        Self {
            commits: Batcher::start(commits, settings.commit_batch),
            verdicts: Batcher::start(Verdicts { store: ports.deliveries.clone() }, MOST),
            devices: Batcher::start(Devices { store: ports.devices.clone() }, MOST),
            behind: Behind::default(),
            store: Store(ports.mailboxes.clone()),
        }
    }

    /// Requests that wait for a commit, and for a mark.
    #[must_use]
    pub fn waiting_requests(&self) -> (usize, usize) {
        (self.commits.waiting(), self.verdicts.waiting())
    }

    /// Reads a mailbox row. A state of it that waits to be written is dropped: what it covers is found again, and the row's number stays the one read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<MailboxState>, StoreError> {
        self.waiting().remove(&mailbox);
        self.store.0.mailbox_load(mailbox, authority).await
    }

    /// Commits in the next batch and says what came of it.
    pub async fn commit(&self, commit: Commit) -> CommitAnswer {
        self.waiting().remove(&commit.mailbox);
        let lost = || CommitAnswer::Failed(StoreError::OutcomeUnknown("the batch ended without an answer".into()));
        self.commits.ask(commit).await.unwrap_or_else(lost)
    }

    /// Leaves a state that covers no push to be written when there is time.
    pub fn write_behind(&self, commit: Commit) {
        self.waiting().insert(commit.mailbox, commit);
    }

    /// Writes what waits; whoever fails is found again by the next sync.
    pub async fn flush(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        let writes = waiting.into_values().map(|commit| self.commits.ask(commit));
        futures_util::future::join_all(writes).await;
    }

    /// Marks and schedules rows.
    ///
    /// # Errors
    /// Those of the store; marks may be repeated.
    pub async fn write(&self, marks: Vec<Mark>, retries: Vec<Retry>) -> Result<(), StoreError> {
        let lost = || Err(StoreError::OutcomeUnknown("the batch ended without an answer".into()));
        self.verdicts.ask((marks, retries)).await.unwrap_or_else(lost)
    }

    /// Reads a device as it is now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn device(&self, device: DeviceId) -> Result<Option<DeviceNow>, StoreError> {
        let lost = || Err(StoreError::Unavailable("the batch ended without an answer".into()));
        self.devices.ask(device).await.unwrap_or_else(lost)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<MailboxId, Commit>> {
        // Nothing panics while it is held; a map is whole after any of its operations.
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Commits {
    store: Arc<dyn MailboxStore>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    /// The last batch failed, and that was told.
    failing: AtomicBool,
}

impl Commits {
    /// Says once that commits fail, and once that they succeed again.
    fn tell(&self, answer: &Result<Committed, StoreError>) {
        match (answer, self.failing.swap(answer.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => tracing::error!(%error, "what was found cannot be committed, so that it is not announced; tried again"),
            (Ok(_), true) => tracing::info!("commits succeed again"),
            _ => {}
        }
    }

    fn measure(&self, began: Monotonic, asked: usize, answer: &Result<Committed, StoreError>) {
        metrics::commit_seconds(self.clock.monotonic().since(began).as_secs_f64());
        metrics::commit_mailboxes(asked as f64);
        match answer {
            Ok(committed) => {
                metrics::commits(metrics::Outcome::Done, committed.matched.len() as u64);
                metrics::commits(metrics::Outcome::Stale, (asked - committed.matched.len().min(asked)) as u64);
            }
            Err(StoreError::OutcomeUnknown(_)) => metrics::commits(metrics::Outcome::Unknown, asked as u64),
            Err(_) => metrics::commits(metrics::Outcome::Failed, asked as u64),
        }
    }
}

#[async_trait]
impl Run for Commits {
    type Ask = Commit;
    type Answer = CommitAnswer;

    async fn run(&self, asks: Vec<Commit>) -> Vec<CommitAnswer> {
        // One entry per mailbox and batch, rather one with rows; another one (a state written behind by then) is overtaken by nature.
        let order: Vec<MailboxId> = asks.iter().map(|commit| commit.mailbox).collect();
        let mut chosen: BTreeMap<MailboxId, (usize, Commit)> = BTreeMap::new();
        for (place, commit) in asks.into_iter().enumerate() {
            if chosen.get(&commit.mailbox).is_none_or(|(_, other)| other.rows.is_empty()) {
                chosen.insert(commit.mailbox, (place, commit));
            }
        }
        let (places, batch): (BTreeSet<usize>, Vec<Commit>) = chosen.into_values().unzip();
        if !self.gate.is_open() {
            return order.iter().map(|_| CommitAnswer::Gate).collect();
        }
        let began = self.clock.monotonic();
        let answer = self.store.sync_state_commit(&batch).await;
        self.measure(began, batch.len(), &answer);
        self.tell(&answer);
        match answer {
            Err(error) => order.iter().map(|_| CommitAnswer::Failed(error.clone())).collect(),
            Ok(committed) => {
                let matched: BTreeSet<MailboxId> = committed.matched.into_iter().collect();
                let mut inserted: BTreeMap<MailboxId, Vec<Inserted>> = BTreeMap::new();
                for row in committed.inserted {
                    inserted.entry(row.mailbox).or_default().push(row);
                }
                let answer = |(place, mailbox): (usize, &MailboxId)| {
                    if !places.contains(&place) || !matched.contains(mailbox) {
                        return CommitAnswer::NotMatched;
                    }
                    CommitAnswer::Matched(inserted.remove(mailbox).unwrap_or_default())
                };
                order.iter().enumerate().map(answer).collect()
            }
        }
    }
}

struct Verdicts {
    store: Arc<dyn DeliveryStore>,
}

#[async_trait]
impl Run for Verdicts {
    type Ask = (Vec<Mark>, Vec<Retry>);
    type Answer = Result<(), StoreError>;

    async fn run(&self, asks: Vec<Self::Ask>) -> Vec<Self::Answer> {
        let askers = asks.len();
        let (marks, retries): (Vec<_>, Vec<_>) = asks.into_iter().unzip();
        let (marks, retries) = (marks.concat(), retries.concat());
        metrics::mark_rows(marks.len() as f64);
        let mut answer = Ok(());
        for part in marks.chunks(MOST) {
            answer = answer.and(self.store.mark(part).await);
        }
        for part in retries.chunks(MOST) {
            answer = answer.and(self.store.schedule(part).await);
        }
        vec![answer; askers]
    }
}

struct Devices {
    store: Arc<dyn DeviceStore>,
}

#[async_trait]
impl Run for Devices {
    type Ask = DeviceId;
    type Answer = Result<Option<DeviceNow>, StoreError>;

    async fn run(&self, asks: Vec<DeviceId>) -> Vec<Self::Answer> {
        let mut devices = asks.clone();
        devices.sort_unstable();
        devices.dedup();
        match self.store.devices_now(&devices).await {
            Err(error) => vec![Err(error); asks.len()],
            Ok(mut found) => {
                found.sort_unstable_by_key(|now| now.device);
                let now = |device: &DeviceId| found.binary_search_by_key(device, |now| now.device).ok().map(|place| found[place].clone());
                asks.iter().map(|device| Ok(now(device))).collect()
            }
        }
    }
}
