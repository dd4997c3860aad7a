//! What one Exchange server is asked at most: calls under way, subscriptions per second, streams; and the silence that it asked for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use postrider_actors::ids::MailboxId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::EwsError;
use crate::config::ews::Ews;
use crate::telemetry::metrics;

/// Syncs of one mailbox at the same time; Exchange's own limit (ConcurrentSyncCalls) is 5.
const SYNCS_PER_MAILBOX: u8 = 4;
/// Longest silence that is believed; a server that asks for more is asked again after it.
const MAX_SILENCE: Duration = Duration::from_secs(3600);
/// Refusals in a row after which a server that knew us is believed that it does not any more.
const BURST_OF_REFUSALS: u32 = 5;
/// Subscriptions that may be made at once before their rate is held.
const SUBSCRIBE_BURST: u32 = 10;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reading what a push needs.
    Data,
    /// The next changes of a mailbox.
    Sync(MailboxId),
    /// Draining a mailbox that is watched for the first time.
    Seeding(MailboxId),
    /// Making a subscription.
    Subscribe,
    /// Ending one.
    Unsubscribe,
}

/// The budget of one server towards one tenant.
#[derive(Debug)]
pub struct Budget {
    calls: Arc<Semaphore>,
    seeding: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    state: Mutex<State>,
    refusals: AtomicU32,
    settings: Arc<Ews>,
}

#[derive(Debug, Default)]
struct State {
    silent_until: Option<Instant>,
    /// Whether the metrics show the server as silent.
    counted_as_silent: bool,
    /// HTTP 503 in a row.
    unavailable: u32,
    /// Whether an authorization was ever accepted.
    known: bool,
    /// When the next subscription is due at the configured rate.
    next_subscribe: Option<Instant>,
    syncs: HashMap<MailboxId, u8>,
}

/// A call's turn; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    budget: Arc<Budget>,
    sync: Option<MailboxId>,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mailbox) = self.sync {
            self.budget.sync_ended(mailbox);
        }
    }
}

impl Budget {
    /// Makes a full budget.
    #[must_use]
    pub fn new(settings: Arc<Ews>) -> Arc<Self> {
        let permits = |count: u32| Arc::new(Semaphore::new(count as usize));
        Arc::new(Self {
            calls: permits(settings.calls),
            seeding: permits(settings.seeding_calls),
            streams: permits(settings.streams),
            state: Mutex::default(),
            refusals: AtomicU32::new(0),
            settings,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a silence is left.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let until = self.state().silent_until?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn refuse_in_silence(&self) -> Result<(), EwsError> {
        self.silence().map_or(Ok(()), |left| Err(EwsError::Silence(left)))
    }

    /// Nothing is asked for so long, from this moment on; an earlier and longer silence stands. Says how much of it is believed.
    pub fn be_silent(self: &Arc<Self>, wanted: Duration) -> Duration {
        metrics::throttled(metrics::Peer::Exchange, 1);
        let wanted = wanted.min(MAX_SILENCE);
        let until = Instant::now() + wanted;
        let mut state = self.state();
        state.silent_until = Some(state.silent_until.map_or(until, |before| before.max(until)));
        if !std::mem::replace(&mut state.counted_as_silent, true) {
            tokio::spawn(count_as_silent(Arc::downgrade(self)));
        }
        wanted
    }

    /// Notes an HTTP 503 or 429 without a time: says how many came in a row.
    pub fn unavailable(&self) -> u32 {
        let mut state = self.state();
        state.unavailable = state.unavailable.saturating_add(1);
        state.unavailable
    }

    /// Notes that a request was answered.
    pub fn answered(&self) {
        let mut state = self.state();
        state.unavailable = 0;
        state.known = true;
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// Notes a refused authorization: says whether it is one of a burst, by a server that knew us before.
    pub fn refused(&self) -> bool {
        let row = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        self.state().known && row < BURST_OF_REFUSALS
    }

    /// Waits for a call's turn.
    ///
    /// # Errors
    /// [`EwsError::Silence`] in a silence, [`EwsError::NoTurn`] after the configured deadline.
    pub async fn turn(self: &Arc<Self>, purpose: Purpose) -> Result<Turn, EwsError> {
        self.refuse_in_silence()?;
        let deadline = self.settings.wait_deadline;
        let turn = tokio::time::timeout(deadline, self.wait_for_turn(purpose)).await.map_err(|_| EwsError::NoTurn)??;
        self.refuse_in_silence()?;
        Ok(turn)
    }

    async fn wait_for_turn(self: &Arc<Self>, purpose: Purpose) -> Result<Turn, EwsError> {
        let mut seeding = None;
        match purpose {
            Purpose::Subscribe => tokio::time::sleep_until(self.subscribe_slot()?).await,
            Purpose::Seeding(_) => seeding = Some(permit(&self.seeding).await?),
            Purpose::Data | Purpose::Sync(_) | Purpose::Unsubscribe => {}
        }
        let sync = match purpose {
            Purpose::Sync(mailbox) | Purpose::Seeding(mailbox) => Some(self.sync_begins(mailbox)?),
            _ => None,
        };
        // From here on the turn gives the sync back, also when this future is dropped.
        let guard = SyncGuard { budget: self, mailbox: sync };
        let call = permit(&self.calls).await?;
        Ok(Turn { budget: Arc::clone(self), sync: guard.keep(), _permits: (call, seeding) })
    }

    /// Waits for room for a stream.
    ///
    /// # Errors
    /// [`EwsError::NoTurn`] after the configured deadline.
    pub async fn stream(&self) -> Result<OwnedSemaphorePermit, EwsError> {
        tokio::time::timeout(self.settings.wait_deadline, permit(&self.streams)).await.map_err(|_| EwsError::NoTurn)?
    }

    /// Takes the next slot at the configured rate of subscriptions.
    fn subscribe_slot(&self) -> Result<Instant, EwsError> {
        let interval = Duration::from_secs(1) / self.settings.subscribes_per_second;
        let now = Instant::now();
        let mut state = self.state();
        let earliest = now.checked_sub(interval * SUBSCRIBE_BURST).unwrap_or(now);
        let slot = state.next_subscribe.map_or(earliest, |next| next.max(earliest));
        if slot > now + self.settings.wait_deadline {
            return Err(EwsError::NoTurn);
        }
        state.next_subscribe = Some(slot + interval);
        Ok(slot)
    }

    fn sync_begins(&self, mailbox: MailboxId) -> Result<MailboxId, EwsError> {
        let mut state = self.state();
        let count = state.syncs.entry(mailbox).or_insert(0);
        if *count >= SYNCS_PER_MAILBOX {
            return Err(EwsError::NoTurn);
        }
        *count += 1;
        Ok(mailbox)
    }

    fn sync_ended(&self, mailbox: MailboxId) {
        let mut state = self.state();
        if let Some(count) = state.syncs.get_mut(&mailbox) {
            *count -= 1;
            if *count == 0 {
                state.syncs.remove(&mailbox);
            }
        }
    }
}

/// Shows a server as silent until its silence, however often it is prolonged, is over.
async fn count_as_silent(budget: Weak<Budget>) {
    let _silent = metrics::silent_server();
    loop {
        let Some(until) = budget.upgrade().and_then(|budget| {
            let mut state = budget.state();
            let until = state.silent_until.filter(|until| *until > Instant::now());
            state.counted_as_silent = until.is_some();
            until
        }) else {
            return;
        };
        tokio::time::sleep_until(until).await;
    }
}

async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, EwsError> {
    // The semaphores are never closed.
    Arc::clone(of).acquire_owned().await.map_err(|_| EwsError::NoTurn)
}

struct SyncGuard<'a> {
    budget: &'a Budget,
    mailbox: Option<MailboxId>,
}

impl SyncGuard<'_> {
    fn keep(mut self) -> Option<MailboxId> {
        self.mailbox.take()
    }
}

impl Drop for SyncGuard<'_> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox {
            self.budget.sync_ended(mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(change: impl FnOnce(&mut Ews)) -> Arc<Budget> {
        let mut settings = Ews::default();
        change(&mut settings);
        Budget::new(Arc::new(settings))
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_silence_no_turn_is_given_and_it_ends_exactly_as_told() {
        let budget = budget(|_| {});
        budget.be_silent(Duration::from_millis(297_749));
        budget.be_silent(Duration::from_millis(5));
        assert_eq!(budget.turn(Purpose::Data).await.unwrap_err(), EwsError::Silence(Duration::from_millis(297_749)));
        tokio::time::advance(Duration::from_millis(297_748)).await;
        assert!(budget.turn(Purpose::Data).await.is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(budget.turn(Purpose::Data).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_while_a_silence_begins_is_not_made() {
        let budget = budget(|ews| ews.calls = 1);
        let first = budget.turn(Purpose::Data).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.turn(Purpose::Data).await.map(drop) }
        });
        tokio::task::yield_now().await;
        budget.be_silent(Duration::from_secs(10));
        drop(first);
        assert_eq!(waiting.await.unwrap(), Err(EwsError::Silence(Duration::from_secs(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_and_seeding_leaves_room_for_the_rest() {
        let budget = budget(|ews| (ews.calls, ews.seeding_calls) = (3, 1));
        let _seeding = budget.turn(Purpose::Seeding(MailboxId(1))).await.unwrap();
        assert_eq!(budget.turn(Purpose::Seeding(MailboxId(2))).await.unwrap_err(), EwsError::NoTurn);
        assert!(budget.turn(Purpose::Sync(MailboxId(2))).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_mailbox_has_at_most_four_syncs_and_gives_them_back() {
        let budget = budget(|_| {});
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(budget.turn(Purpose::Sync(MailboxId(1))).await.unwrap());
        }
        assert!(budget.turn(Purpose::Sync(MailboxId(1))).await.is_err());
        turns.pop();
        assert!(budget.turn(Purpose::Sync(MailboxId(1))).await.is_ok());
        drop(turns);
        assert!(budget.state().syncs.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn subscriptions_are_made_at_the_configured_rate() {
        let budget = budget(|ews| ews.subscribes_per_second = 100);
        let begin = Instant::now();
        for _ in 0..110 {
            budget.turn(Purpose::Subscribe).await.unwrap();
        }
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(980) && took <= Duration::from_millis(1_100), "{took:?}");
    }

    #[test]
    fn a_refusal_by_a_server_that_knew_us_is_a_burst_until_it_goes_on() {
        let budget = budget(|_| {});
        assert!(!budget.refused(), "a server that never knew us means it");
        budget.answered();
        assert_eq!((0..5).map(|_| budget.refused()).collect::<Vec<_>>(), [true, true, true, true, false]);
    }
}
