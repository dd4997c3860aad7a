//! Pull subscriptions: events wait until their client asks for those after a watermark.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{Event, EventKind, EventSink, Mailbox};

/// A pull subscription to one inbox.
pub(super) struct Pull {
    pub(super) id: String,
    pub(super) mailbox: Arc<Mailbox>,
    owner: String,
    kinds: Vec<EventKind>,
    room: usize,
    /// It ends when nobody asks for so long.
    timeout: Duration,
    state: Mutex<State>,
}

struct State {
    /// Events that the client has not shown to know, numbered from 1.
    queue: VecDeque<(u64, Event)>,
    last: u64,
    missed: bool,
    moved: bool,
    touched: Instant,
}

/// What GetEvents finds.
pub(super) enum Pulled {
    /// Numbered events after the watermark, and whether more wait.
    Events(Vec<(u64, Event)>, bool),
    /// The queue overflowed, and the subscription is gone.
    Missed,
    /// The mailbox moved, and the subscription is gone.
    Moved,
    /// The watermark is none of this subscription's.
    NoWatermark,
}

impl Pull {
    /// The text that stands for "everything up to this number was told".
    pub(super) fn watermark(&self, number: u64) -> String {
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend(self.id.bytes().rev().take(12));
        STANDARD.encode(bytes)
    }

    /// At most `max` events after a watermark; those up to it are forgotten.
    pub(super) fn after(&self, watermark: &str, max: usize) -> Pulled {
        let mut state = self.lock();
        state.touched = Instant::now();
        if state.moved {
            return Pulled::Moved;
        }
        if state.missed {
            return Pulled::Missed;
        }
        let Some(known) = self.number_of(watermark).filter(|number| *number <= state.last) else {
            return Pulled::NoWatermark;
        };
        state.queue.retain(|(number, _)| *number > known);
        let events: Vec<_> = state.queue.iter().take(max).cloned().collect();
        let more = state.queue.len() > events.len();
        Pulled::Events(events, more)
    }

    fn number_of(&self, watermark: &str) -> Option<u64> {
        let bytes = STANDARD.decode(watermark).ok()?;
        let number = u64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?);
        (self.watermark(number) == watermark).then_some(number)
    }

    fn is_expired(&self) -> bool {
        self.lock().touched.elapsed() > self.timeout
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Pull {
    fn push(&self, events: &[Event]) {
        let mut state = self.lock();
        for event in events.iter().filter(|event| self.kinds.contains(&event.kind)) {
            state.last += 1;
            let number = state.last;
            state.queue.push_back((number, event.clone()));
        }
        if state.queue.len() > self.room {
            state.queue.clear();
            state.missed = true;
        }
    }

    fn mailbox_moved(&self) {
        self.lock().moved = true;
    }
}

/// All live pull subscriptions of the server.
#[derive(Default)]
pub(super) struct Pulls {
    by_id: Mutex<HashMap<String, Arc<Pull>>>,
}

impl Pulls {
    /// Makes one; `None` when the mailbox has as many as `limit` allows.
    pub(super) fn make(
        &self,
        mailbox: &Arc<Mailbox>,
        owner: &str,
        kinds: Vec<EventKind>,
        (limit, room): (usize, usize),
        timeout: Duration,
    ) -> Option<Arc<Pull>> {
        let mut all = self.lock();
        all.retain(|_, pull| !pull.is_expired());
        if all.values().filter(|pull| pull.mailbox.smtp() == mailbox.smtp()).count() >= limit {
            return None;
        }
        let id = format!("HQ{}", STANDARD.encode(rand::random::<[u8; 48]>()));
        let state = State { queue: VecDeque::new(), last: 0, missed: false, moved: false, touched: Instant::now() };
        let pull = Arc::new(Pull {
            id: id.clone(),
            mailbox: Arc::clone(mailbox),
            owner: owner.to_owned(),
            kinds,
            room,
            timeout,
            state: Mutex::new(state),
        });
        all.insert(id, Arc::clone(&pull));
        drop(all);
        let sink: Arc<dyn EventSink> = pull.clone();
        mailbox.subscribe(Arc::downgrade(&sink));
        Some(pull)
    }

    /// The live one of that id, if `owner` made it.
    pub(super) fn find(&self, id: &str, owner: &str) -> Option<Arc<Pull>> {
        let mut all = self.lock();
        all.retain(|_, pull| !pull.is_expired());
        all.get(id).filter(|pull| pull.owner == owner).cloned()
    }

    /// Ends one.
    pub(super) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Pull>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
