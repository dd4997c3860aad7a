//! What one Exchange server is asked at most: calls under way, subscriptions per second, streams; and the silence that it asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use postrider_actors::ids::MailboxId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::EwsError;
use super::health::{Begun, Decision, Health, Pace};
use crate::config::ews::Ews;
use crate::telemetry::metrics;

/// Syncs of one mailbox at the same time; Exchange's own limit (ConcurrentSyncCalls) is 5.
const SYNCS_PER_MAILBOX: u8 = 4;
/// Longest silence that is believed; a server that asks for more is asked again after it.
const MAX_SILENCE: Duration = Duration::from_secs(3600);
/// Subscriptions that may be made at once before their rate is held.
const SUBSCRIBE_BURST: u32 = 10;
/// A call that takes longer shows that its mailbox may be in trouble: its next ones share the room of those that are.
const SLOW: Duration = Duration::from_secs(3);
/// Of all calls, those that one mailbox may have under way: two of five.
const SHARE_OF_ONE: (u32, u32) = (2, 5);
/// Of all calls, those that all mailboxes in trouble may have under way together: one of three.
const SHARE_OF_FAILING: (u32, u32) = (1, 3);

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

/// The budget of one server towards one tenant. What one mailbox meets counts against it alone, see [`super::health`]; a mailbox whose calls hang or fail takes
/// a part of the room at most, so that the others keep theirs.
#[derive(Debug)]
pub struct Budget {
    /// Tenant and server, for people.
    name: String,
    calls: Arc<Semaphore>,
    /// Also held by calls for mailboxes in trouble.
    failing: Arc<Semaphore>,
    seeding: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    state: Mutex<State>,
    /// Something was learned of the server.
    learned: Notify,
    settings: Arc<Ews>,
}

#[derive(Debug, Default)]
struct State {
    health: Health,
    /// Whether the metrics and the log show the server as silent.
    counted_as_silent: bool,
    /// When the next subscription is due at the configured rate.
    next_subscribe: Option<Instant>,
    syncs: HashMap<MailboxId, u8>,
    /// What is under way, or waits, for a mailbox.
    lines: HashMap<Box<str>, Line>,
}

/// The calls of one mailbox.
#[derive(Debug)]
struct Line {
    room: Arc<Semaphore>,
    /// Calls under way and waiting.
    calls: u32,
    /// Since when there is one.
    since: Instant,
}

/// A call that was let go; what came of it is to be said with [`Attempt::settle`]. Dropped without a word it says nothing of the server.
#[derive(Debug)]
pub struct Attempt {
    budget: Arc<Budget>,
    mailbox: Option<Box<str>>,
    at: Instant,
    probe: Option<u64>,
    /// Nothing spoke against the mailbox or the server when it began.
    calm: bool,
    settled: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.probe.is_some() && !self.settled {
            self.budget.state().health.gave_up(self.probe);
            self.budget.learned.notify_waiters();
        }
    }
}

/// What an answer, or none, says of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answers.
    Alive,
    /// It wants silence for so long.
    Silence(Duration),
    /// It, or something before it, says that it cannot answer for the mailbox.
    Trouble,
    /// It did not answer, or not with anything of its own; the caller says when the mailbox asks again.
    Stumble,
    /// Nothing.
    Nothing,
}

impl Attempt {
    /// Whether nothing spoke against the mailbox or the server when it began.
    #[must_use]
    pub fn calm(&self) -> bool {
        self.calm
    }

    /// Says what came of it; with `share` of its pause, drawn by chance, the mailbox is left alone after trouble. Says how long nothing is to be asked.
    pub fn settle(mut self, sign: Sign, share: f64) -> Duration {
        self.settled = true;
        let now = Instant::now();
        let begun = Begun { mailbox: self.mailbox.as_deref(), at: self.at, probe: self.probe };
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state();
        let left = match sign {
            Sign::Alive => {
                state.health.answered(now, begun);
                Duration::ZERO
            }
            Sign::Silence(wanted) => {
                metrics::throttled(metrics::Peer::Exchange, 1);
                let wanted = wanted.min(MAX_SILENCE);
                state.health.told(now, wanted, begun);
                wanted
            }
            Sign::Trouble => {
                let pace = Pace { first: budget.settings.retry_first, limit: budget.settings.busy_silence };
                state.health.failed(now, begun, pace, share)
            }
            Sign::Stumble => {
                let pace = Pace { first: budget.settings.retry_first, limit: budget.settings.busy_silence };
                state.health.stumbled(now, begun, pace, share);
                Duration::ZERO
            }
            Sign::Nothing => {
                state.health.gave_up(self.probe);
                Duration::ZERO
            }
        };
        budget.show(&mut state, now);
        drop(state);
        budget.learned.notify_waiters();
        left
    }
}

/// A call's turn; its room is given back when dropped.
#[derive(Debug)]
pub struct Turn {
    attempt: Attempt,
    _room: Room,
}

impl Turn {
    /// What the call is, once it is let go.
    #[must_use]
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// See [`Attempt::settle`].
    pub fn settle(self, sign: Sign, share: f64) -> Duration {
        self.attempt.settle(sign, share)
    }
}

/// The room of a call.
#[derive(Debug)]
struct Room {
    budget: Arc<Budget>,
    sync: Option<MailboxId>,
    mailbox: Box<str>,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.permits.clear();
        if let Some(mailbox) = self.sync {
            self.budget.sync_ended(mailbox);
        }
        let mut state = self.budget.state();
        if let Some(line) = state.lines.get_mut(&self.mailbox) {
            line.calls -= 1;
            if line.calls == 0 {
                state.lines.remove(&self.mailbox);
            }
        }
    }
}

impl Budget {
    /// Makes a full budget; `name` says tenant and server to people.
    #[must_use]
    pub fn new(settings: Arc<Ews>, name: String) -> Arc<Self> {
        let permits = |count: u32| Arc::new(Semaphore::new(count as usize));
        Arc::new(Self {
            name,
            calls: permits(settings.calls),
            failing: permits(part(settings.calls, SHARE_OF_FAILING)),
            seeding: permits(settings.seeding_calls),
            streams: permits(settings.streams),
            state: Mutex::default(),
            learned: Notify::new(),
            settings,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a silence that the server asked for is left.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.state().health.told_silence(Instant::now())
    }

    /// The server asked for silence on a stream. Says how much of it is believed.
    pub fn be_silent(self: &Arc<Self>, wanted: Duration) -> Duration {
        let attempt = Attempt { budget: Arc::clone(self), mailbox: None, at: Instant::now(), probe: None, calm: false, settled: false };
        attempt.settle(Sign::Silence(wanted), 1.0)
    }

    /// The server gave a sign of life, on a stream.
    pub fn heard(&self) {
        let mut state = self.state();
        if !state.health.is_open() {
            let now = Instant::now();
            state.health.heard(now);
            self.learned.notify_waiters();
        }
    }

    /// Lets a call go, or waits while a probe finds out whether the server answers. `None` stands for what many mailboxes share.
    ///
    /// # Errors
    /// [`EwsError::Silence`].
    pub async fn admit(self: &Arc<Self>, mailbox: Option<&str>) -> Result<Attempt, EwsError> {
        loop {
            let mut learned = std::pin::pin!(self.learned.notified());
            learned.as_mut().enable();
            let now = Instant::now();
            let (decision, calm) = {
                let mut state = self.state();
                let calm = state.health.is_open() && !mailbox.is_some_and(|mailbox| state.health.is_failing(mailbox));
                (state.health.ask(now, mailbox), calm)
            };
            match decision {
                Decision::Go(probe) => {
                    return Ok(Attempt {
                        budget: Arc::clone(self),
                        mailbox: mailbox.map(Into::into),
                        at: now,
                        probe,
                        calm,
                        settled: false,
                    });
                }
                Decision::Refuse(left) => return Err(EwsError::Silence(left)),
                Decision::Wait(until) => {
                    let _ = tokio::time::timeout_at(until, learned).await;
                }
            }
        }
    }

    /// Waits for the turn of a call for a mailbox.
    ///
    /// # Errors
    /// [`EwsError::Silence`] while the server or the mailbox is left alone, [`EwsError::NoTurn`] after the configured deadline.
    pub async fn turn(self: &Arc<Self>, mailbox: &str, purpose: Purpose) -> Result<Turn, EwsError> {
        let refusal = self.state().health.refusal(Instant::now(), Some(mailbox));
        if let Some(left) = refusal {
            return Err(EwsError::Silence(left));
        }
        let turn = async {
            let room = self.room(mailbox, purpose).await?;
            let attempt = self.admit(Some(mailbox)).await?;
            Ok(Turn { attempt, _room: room })
        };
        tokio::time::timeout(self.settings.wait_deadline, turn).await.map_err(|_| EwsError::NoTurn)?
    }

    async fn room(self: &Arc<Self>, mailbox: &str, purpose: Purpose) -> Result<Room, EwsError> {
        let (line, in_trouble) = self.line(mailbox);
        // From here on the room gives back what it has, also when this future is dropped.
        let mut room = Room { budget: Arc::clone(self), sync: None, mailbox: mailbox.into(), permits: Vec::with_capacity(3) };
        if let Purpose::Subscribe = purpose {
            tokio::time::sleep_until(self.subscribe_slot()?).await;
        }
        room.permits.push(permit(&line).await?);
        if in_trouble {
            room.permits.push(permit(&self.failing).await?);
        } else if let Purpose::Seeding(_) = purpose {
            room.permits.push(permit(&self.seeding).await?);
        }
        if let Purpose::Sync(mailbox) | Purpose::Seeding(mailbox) = purpose {
            room.sync = Some(self.sync_begins(mailbox)?);
        }
        room.permits.push(permit(&self.calls).await?);
        Ok(room)
    }

    /// Puts a call into its mailbox's line; says also whether the mailbox is in trouble.
    fn line(&self, mailbox: &str) -> (Arc<Semaphore>, bool) {
        let now = Instant::now();
        let mut state = self.state();
        let failing = state.health.is_failing(mailbox);
        if let Some(line) = state.lines.get_mut(mailbox) {
            line.calls += 1;
            return (Arc::clone(&line.room), failing || now >= line.since + SLOW);
        }
        let room = Arc::new(Semaphore::new(part(self.settings.calls, SHARE_OF_ONE) as usize));
        state.lines.insert(mailbox.into(), Line { room: Arc::clone(&room), calls: 1, since: now });
        (room, failing)
    }

    /// Shows a silence that begins, in the log and in the metrics.
    fn show(self: &Arc<Self>, state: &mut State, now: Instant) {
        let Some(until) = state.health.silent_until(now) else { return };
        if !std::mem::replace(&mut state.counted_as_silent, true) {
            let (server, told) = (&self.name, state.health.told_silence(now).is_some());
            tracing::warn!(server, told, left = ?(until - now), "Exchange is left alone for a while: mail of its mailboxes is late");
            tokio::spawn(count_as_silent(Arc::downgrade(self)));
        }
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
            let until = state.health.silent_until(Instant::now());
            state.counted_as_silent = until.is_some();
            if until.is_none() {
                tracing::info!(server = budget.name, "Exchange is asked again");
            }
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

/// A part of all calls, one at least.
fn part(calls: u32, (of, all): (u32, u32)) -> u32 {
    (calls * of / all).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(change: impl FnOnce(&mut Ews)) -> Arc<Budget> {
        let mut settings = Ews::default();
        change(&mut settings);
        Budget::new(Arc::new(settings), "test".into())
    }

    async fn turn(budget: &Arc<Budget>) -> Turn {
        budget.turn("a", Purpose::Data).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_silence_no_turn_is_given_and_it_ends_exactly_as_told() {
        let budget = budget(|_| {});
        let (one, other) = (turn(&budget).await, turn(&budget).await);
        one.settle(Sign::Silence(Duration::from_millis(297_749)), 1.0);
        other.settle(Sign::Silence(Duration::from_millis(5)), 1.0);
        assert_eq!(budget.turn("b", Purpose::Data).await.unwrap_err(), EwsError::Silence(Duration::from_millis(297_749)));
        tokio::time::advance(Duration::from_millis(297_748)).await;
        assert!(budget.turn("b", Purpose::Data).await.is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(budget.turn("b", Purpose::Data).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_while_a_silence_begins_is_not_made() {
        let budget = budget(|ews| ews.calls = 1);
        let first = turn(&budget).await;
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.turn("b", Purpose::Data).await.map(drop) }
        });
        tokio::task::yield_now().await;
        first.settle(Sign::Silence(Duration::from_secs(10)), 1.0);
        assert_eq!(waiting.await.unwrap(), Err(EwsError::Silence(Duration::from_secs(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_silence_one_goes_first_and_the_others_with_its_answer() {
        let budget = budget(|_| {});
        turn(&budget).await.settle(Sign::Silence(Duration::from_secs(10)), 1.0);
        tokio::time::advance(Duration::from_secs(10)).await;
        let probe = turn(&budget).await;
        let others: Vec<_> = (0..9)
            .map(|n| {
                let budget = Arc::clone(&budget);
                tokio::spawn(async move { budget.turn(&format!("m{n}"), Purpose::Data).await.map(|turn| turn.settle(Sign::Alive, 1.0)) })
            })
            .collect();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(others.iter().all(|other| !other.is_finished()));
        probe.settle(Sign::Alive, 1.0);
        let began = Instant::now();
        assert!(futures_util::future::join_all(others).await.into_iter().all(|other| other.unwrap().is_ok()));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_or_hangs_blocks_nobody() {
        let budget = budget(|_| {});
        turn(&budget).await.settle(Sign::Silence(Duration::from_secs(10)), 1.0);
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(turn(&budget).await);
        let _hangs = turn(&budget).await;
        let began = Instant::now();
        budget.turn("b", Purpose::Data).await.unwrap().settle(Sign::Alive, 1.0);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn mailboxes_whose_calls_hang_leave_room_for_the_others() {
        let budget = budget(|_| {});
        let mut hanging = Vec::new();
        for bad in 0..3 {
            let name = format!("bad{bad}");
            let line = futures_util::future::join_all((0..5).map(|_| budget.turn(&name, Purpose::Data)));
            hanging.extend(tokio::time::timeout(SLOW, line).await.unwrap_or_default());
        }
        // Each had its answer in 30 s: none.
        for bad in 0..3 {
            let turn = budget.turn(&format!("bad{bad}"), Purpose::Data).await.unwrap();
            turn.settle(Sign::Trouble, 1.0);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let hold = |name: String| {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move {
                let _held = budget.turn(&name, Purpose::Data).await;
                std::future::pending::<()>().await
            })
        };
        let held: Vec<_> = (0..3).flat_map(|bad| (0..5).map(move |_| format!("bad{bad}"))).map(hold).collect();
        tokio::task::yield_now().await;
        let began = Instant::now();
        for good in 0..5 {
            budget.turn(&format!("good{good}"), Purpose::Data).await.unwrap().settle(Sign::Alive, 1.0);
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "15 calls of three bad mailboxes hang");
        held.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn seeding_that_hangs_leaves_seeding_to_the_others() {
        let budget = budget(|_| {});
        for bad in 1..=2 {
            budget.turn(&format!("bad{bad}"), Purpose::Seeding(MailboxId(bad))).await.unwrap().settle(Sign::Trouble, 1.0);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let _one = budget.turn("bad1", Purpose::Seeding(MailboxId(1))).await.unwrap();
        let _other = budget.turn("bad2", Purpose::Seeding(MailboxId(2))).await.unwrap();
        let began = Instant::now();
        assert!(budget.turn("good", Purpose::Seeding(MailboxId(3))).await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_and_seeding_leaves_room_for_the_rest() {
        let budget = budget(|ews| (ews.calls, ews.seeding_calls) = (3, 1));
        let _seeding = budget.turn("a", Purpose::Seeding(MailboxId(1))).await.unwrap();
        assert_eq!(budget.turn("b", Purpose::Seeding(MailboxId(2))).await.unwrap_err(), EwsError::NoTurn);
        assert!(budget.turn("b", Purpose::Sync(MailboxId(2))).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_mailbox_has_at_most_four_syncs_and_gives_them_back() {
        let budget = budget(|ews| ews.calls = 20);
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(budget.turn("a", Purpose::Sync(MailboxId(1))).await.unwrap());
        }
        assert!(budget.turn("a", Purpose::Sync(MailboxId(1))).await.is_err());
        turns.pop();
        assert!(budget.turn("a", Purpose::Sync(MailboxId(1))).await.is_ok());
        drop(turns);
        let state = budget.state();
        assert!(state.syncs.is_empty() && state.lines.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn subscriptions_are_made_at_the_configured_rate() {
        let budget = budget(|ews| ews.subscribes_per_second = 100);
        let begin = Instant::now();
        for n in 0..110 {
            budget.turn(&format!("m{n}"), Purpose::Subscribe).await.unwrap();
        }
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(980) && took <= Duration::from_millis(1_100), "{took:?}");
    }
}
