//! Streaming subscriptions: who owns them, what waits in them, and which stream fetches it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Notify;

use super::affinity::BackEnd;
use super::coverage::Coverage;
use crate::world::{Event, EventKind, EventSink, Mailbox};

/// A streaming subscription to one inbox.
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) mailbox: Arc<Mailbox>,
    /// The service account that made it.
    pub(super) owner: String,
    pub(super) back_end: BackEnd,
    kinds: Vec<EventKind>,
    room: usize,
    coverage: Arc<Coverage>,
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<Event>,
    /// The queue overflowed, and the client has not been told yet.
    missed: bool,
    moved: bool,
    /// Its client ended it, and the stream that carries it has not said so yet.
    unsubscribed: bool,
    opener: Weak<Opener>,
    /// Whether it is on the account of its mailbox: a stream holds it and it lives.
    counted: bool,
    ended: bool,
    /// Whether the opener has this subscription in its list already.
    announced: bool,
    touched: Instant,
}

/// What a poll takes out of a subscription.
pub(super) enum Polled {
    /// Events, at most fifty, and whether more wait.
    Events(Vec<Event>, bool),
    /// Events were lost; the subscription lives.
    Missed,
    /// The mailbox moved; the subscription is dead.
    Moved,
    /// Its client ended it.
    Unsubscribed,
}

impl Subscription {
    /// Takes the next events. Counts as a delivery: the lifetime begins anew.
    pub(super) fn poll(&self, max: usize) -> Polled {
        let mut state = self.lock();
        state.touched = Instant::now();
        state.announced = false;
        if state.unsubscribed {
            return Polled::Unsubscribed;
        }
        if state.moved {
            return Polled::Moved;
        }
        if std::mem::take(&mut state.missed) {
            return Polled::Missed;
        }
        let count = state.queue.len().min(max);
        let events = state.queue.drain(..count).collect();
        Polled::Events(events, !state.queue.is_empty())
    }

    /// Pretends that the queue overflowed.
    pub(super) fn lose_events(&self) {
        let mut state = self.lock();
        state.queue.clear();
        state.missed = true;
        self.announce(&mut state);
    }

    /// Its client ended it.
    pub(super) fn unsubscribed(&self) {
        let mut state = self.lock();
        state.unsubscribed = true;
        state.queue.clear();
        self.announce(&mut state);
    }

    /// `opener` fetches from here on. A former opener loses all its subscriptions.
    pub(super) fn attach(self: &Arc<Self>, opener: &Arc<Opener>) {
        let mut state = self.lock();
        let former = std::mem::replace(&mut state.opener, Arc::downgrade(opener));
        if let Some(former) = former.upgrade().filter(|f| !Arc::ptr_eq(f, opener)) {
            former.taken.store(true, Ordering::Release);
            former.wake.notify_one();
        }
        state.touched = Instant::now();
        state.announced = false;
        if !state.counted && !state.ended && !state.moved {
            state.counted = true;
            self.coverage.opened(self.mailbox.smtp());
        }
        if !state.queue.is_empty() || state.missed || state.moved {
            self.announce(&mut state);
        }
    }

    /// It is no longer one of the live ones.
    fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.discount(&mut state);
    }

    fn discount(&self, state: &mut State) {
        if std::mem::take(&mut state.counted) {
            self.coverage.closed(self.mailbox.smtp());
        }
    }

    /// `opener` ended.
    pub(super) fn detach(&self, opener: &Arc<Opener>) {
        let mut state = self.lock();
        if std::ptr::eq(state.opener.as_ptr(), Arc::as_ptr(opener)) {
            state.opener = Weak::new();
            state.touched = Instant::now();
            state.announced = false;
            self.discount(&mut state);
        }
    }

    fn is_expired(&self, lifetime: Duration) -> bool {
        let state = self.lock();
        state.opener.strong_count() == 0 && state.touched.elapsed() > lifetime
    }

    fn is_moved(&self) -> bool {
        self.lock().moved
    }

    fn announce(&self, state: &mut State) {
        if state.announced {
            return;
        }
        if let Some(opener) = state.opener.upgrade() {
            state.announced = true;
            opener.ready(&self.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Subscription {
    fn push(&self, events: &[Event]) {
        let mut state = self.lock();
        let wanted = events.iter().filter(|e| self.kinds.contains(&e.kind));
        state.queue.extend(wanted.cloned());
        if state.queue.len() > self.room {
            state.queue.clear();
            state.missed = true;
        }
        if !state.queue.is_empty() || state.missed {
            self.announce(&mut state);
        }
    }

    fn mailbox_moved(&self) {
        let mut state = self.lock();
        state.moved = true;
        state.queue.clear();
        self.discount(&mut state);
        self.announce(&mut state);
    }
}

/// One GetStreamingEvents under way.
#[derive(Default)]
pub(super) struct Opener {
    /// Another stream took one of its subscriptions.
    pub(super) taken: AtomicBool,
    pub(super) wake: Notify,
    ready: Mutex<VecDeque<String>>,
}

impl Opener {
    /// Puts a subscription on the list of those with something to tell.
    pub(super) fn ready(&self, id: &str) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push_back(id.to_owned());
        self.wake.notify_one();
    }

    /// Takes the next subscription that has something to tell.
    pub(super) fn next_ready(&self) -> Option<String> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.pop_front()
    }
}

/// Why a subscription cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Expired, dropped by a restart, or never made.
    NotFound,
    /// It lives on another back end.
    Elsewhere,
    /// Another account made it.
    NotOwner,
    /// The text is no id at all, or the mailbox moved.
    Invalid,
    /// The mailbox moved.
    Moved,
}

/// All live subscriptions of the server.
#[derive(Default)]
pub(super) struct Subscriptions {
    all: Mutex<Table>,
    coverage: Arc<Coverage>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<String, Arc<Subscription>>,
    per_mailbox: HashMap<String, usize>,
    made: u64,
}

impl Subscriptions {
    /// Makes a subscription; `None` when the mailbox has as many as `limit` allows.
    pub(super) fn make(
        &self,
        mailbox: &Arc<Mailbox>,
        owner: &str,
        (back_end, host): (BackEnd, &str),
        kinds: Vec<EventKind>,
        (limit, room): (usize, usize),
        lifetime: Duration,
    ) -> Option<Arc<Subscription>> {
        let mut table = self.lock();
        if table.count(mailbox.smtp()) >= limit {
            table.sweep(lifetime);
        }
        if table.count(mailbox.smtp()) >= limit {
            return None;
        }
        table.made += 1;
        let subscription = Arc::new(Subscription {
            id: subscription_id(host, table.made),
            mailbox: Arc::clone(mailbox),
            owner: owner.to_owned(),
            back_end,
            kinds,
            room,
            coverage: Arc::clone(&self.coverage),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                missed: false,
                moved: false,
                unsubscribed: false,
                opener: Weak::new(),
                counted: false,
                ended: false,
                announced: false,
                touched: Instant::now(),
            }),
        });
        *table.per_mailbox.entry(mailbox.smtp().to_owned()).or_default() += 1;
        table.by_id.insert(subscription.id.clone(), Arc::clone(&subscription));
        drop(table);
        let sink: Arc<dyn EventSink> = subscription.clone();
        mailbox.subscribe(Arc::downgrade(&sink));
        Some(subscription)
    }

    /// The subscription of that id, if `owner` may use it at `back_end`.
    pub(super) fn find(&self, id: &str, owner: &str, back_end: BackEnd, lifetime: Duration) -> Result<Arc<Subscription>, Unusable> {
        let mut table = self.lock();
        let Some(found) = table.by_id.get(id).cloned() else {
            return Err(if is_subscription_id(id) { Unusable::NotFound } else { Unusable::Invalid });
        };
        if found.back_end != back_end {
            return Err(Unusable::Elsewhere);
        }
        if found.is_expired(lifetime) {
            table.remove(id);
            return Err(Unusable::NotFound);
        }
        if found.is_moved() {
            table.remove(id);
            return Err(Unusable::Moved);
        }
        if found.owner != owner {
            return Err(Unusable::NotOwner);
        }
        Ok(found)
    }

    /// Ends a subscription.
    pub(super) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Ends all for which `gone` holds.
    pub(super) fn remove_where(&self, gone: impl Fn(&Subscription) -> bool) {
        let mut table = self.lock();
        let ids: Vec<String> =
            table.by_id.values().filter(|subscription| gone(subscription)).map(|subscription| subscription.id.clone()).collect();
        for id in ids {
            table.remove(&id);
        }
    }

    /// Ends those that nobody fetched from for `lifetime`.
    pub(super) fn sweep(&self, lifetime: Duration) {
        self.lock().sweep(lifetime);
    }

    /// Which mailboxes are heard.
    pub(super) fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// How many were made so far.
    pub(super) fn made(&self) -> u64 {
        self.lock().made
    }

    /// How many are live.
    pub(super) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count(&self, smtp: &str) -> usize {
        self.per_mailbox.get(smtp).copied().unwrap_or_default()
    }

    fn remove(&mut self, id: &str) {
        let Some(gone) = self.by_id.remove(id) else {
            return;
        };
        gone.end();
        let smtp = gone.mailbox.smtp();
        if let Some(count) = self.per_mailbox.get_mut(smtp) {
            *count -= 1;
            if *count == 0 {
                self.per_mailbox.remove(smtp);
            }
        }
    }

    fn sweep(&mut self, lifetime: Duration) {
        let old = self.by_id.values().filter(|s| s.is_expired(lifetime));
        let old: Vec<String> = old.map(|s| s.id.clone()).collect();
        for id in old {
            self.remove(&id);
        }
    }
}

/// An id in the layout of published ones: back end, GUID, ticks of its making.
fn subscription_id(host: &str, count: u64) -> String {
    let mut bytes = Vec::with_capacity(host.len() + 30);
    bytes.extend_from_slice(&u16::try_from(host.len()).unwrap_or_default().to_le_bytes());
    bytes.extend_from_slice(host.as_bytes());
    bytes.extend_from_slice(&16_u32.to_le_bytes());
    bytes.extend_from_slice(&rand::random::<u128>().to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    STANDARD.encode(bytes)
}

fn is_subscription_id(id: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(id) else {
        return false;
    };
    let Some((head, rest)) = bytes.split_first_chunk::<2>() else {
        return false;
    };
    rest.len() == usize::from(u16::from_le_bytes(*head)) + 28
}
