//! Whose turn it is to begin to be watched: so many mailboxes a second, and so many on one server, those that had mail last first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ports::mail_source::BackEnd;
use crate::time::Timestamp;

/// How far behind its own pace the queue may be before it forgets what it did not hand out.
const CATCH_UP: Duration = Duration::from_millis(100);

/// The queue of a node; clones are the same one.
#[derive(Debug, Clone)]
pub struct Turns {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug)]
struct Queue {
    waiting: BTreeMap<(Reverse<Timestamp>, u64), Waiting>,
    counter: u64,
    pumped: bool,
    next: Instant,
    apart: Duration,
    /// Servers that were just asked, and when they may be again.
    back_ends: BTreeMap<BackEnd, Instant>,
    apart_back_end: Duration,
}

#[derive(Debug)]
struct Waiting {
    back_end: BackEnd,
    tell: oneshot::Sender<()>,
}

enum Next {
    /// One was given, or nobody wanted it any more.
    Given,
    Wait(Instant),
    Empty,
}

impl Turns {
    /// A queue that hands out so many turns a second, and so many for one server.
    #[must_use]
    pub fn new(per_second: u32, per_back_end: u32) -> Self {
        let apart = |rate: u32| Duration::from_secs(1) / rate.max(1);
        let queue = Queue {
            waiting: BTreeMap::new(),
            counter: 0,
            pumped: false,
            next: Instant::now(),
            apart: apart(per_second),
            back_ends: BTreeMap::new(),
            apart_back_end: apart(per_back_end),
        };
        Self { queue: Arc::new(Mutex::new(queue)) }
    }

    /// Waits for a turn; whoever had mail at the latest time comes first. A wait that is dropped costs nobody a turn.
    pub async fn take(&self, back_end: BackEnd, last_mail: Timestamp) {
        let (tell, told) = oneshot::channel();
        let begin = {
            let mut queue = self.lock();
            queue.counter += 1;
            let place = (Reverse(last_mail), queue.counter);
            queue.waiting.insert(place, Waiting { back_end, tell });
            !std::mem::replace(&mut queue.pumped, true)
        };
        if begin {
            tokio::spawn(self.clone().pump());
        }
        // The pump ends only when nobody waits.
        let _ = told.await;
    }

    async fn pump(self) {
        loop {
            let next = self.lock().next(Instant::now());
            match next {
                Next::Given => {}
                Next::Wait(until) => tokio::time::sleep_until(until).await,
                Next::Empty => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whole after any of its operations.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn next(&mut self, now: Instant) -> Next {
        self.back_ends.retain(|_, free| *free > now);
        if self.waiting.is_empty() {
            self.pumped = false;
            return Next::Empty;
        }
        if now < self.next {
            return Next::Wait(self.next);
        }
        let free = self.waiting.iter().find(|(_, waiting)| !self.back_ends.contains_key(&waiting.back_end)).map(|(place, _)| *place);
        let Some(waiting) = free.and_then(|place| self.waiting.remove(&place)) else {
            return Next::Wait(self.back_ends.values().min().copied().unwrap_or(now + self.apart));
        };
        if waiting.tell.is_closed() {
            return Next::Given;
        }
        self.next = self.next.max(now.checked_sub(CATCH_UP).unwrap_or(now)) + self.apart;
        self.back_ends.insert(waiting.back_end, now + self.apart_back_end);
        let _ = waiting.tell.send(());
        Next::Given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_end(name: &str) -> BackEnd {
        BackEnd(name.into())
    }

    /// Asks for turns and tells in which order and when they came.
    async fn order(turns: &Turns, asks: &[(&'static str, &str, i64)]) -> Vec<(&'static str, Duration)> {
        let began = Instant::now();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for (name, place, last) in asks {
            let (turns, tell, place, last, name) = (turns.clone(), tell.clone(), back_end(place), Timestamp(*last), *name);
            tokio::spawn(async move {
                turns.take(place, last).await;
                tell.send((name, began.elapsed())).expect("the test waits");
            });
        }
        drop(tell);
        let mut came = Vec::new();
        while let Some(one) = told.recv().await {
            came.push(one);
        }
        came
    }

    #[tokio::test(start_paused = true)]
    async fn who_had_mail_last_comes_first_at_the_nodes_pace() {
        let turns = Turns::new(10, 1_000);
        // The first one to ask finds nobody else there.
        let asks = [("first", "a", 1), ("old", "a", 2), ("newest", "a", 9), ("new", "a", 5)];
        let came = order(&turns, &asks).await;
        let names: Vec<_> = came.iter().map(|(name, _)| *name).collect();
        assert!(names.ends_with(&["new", "old"]) || names.ends_with(&["old", "first"]), "{names:?}");
        let last = came[3].1;
        assert!((Duration::from_millis(200)..=Duration::from_millis(320)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_has_its_own_bound_and_the_others_go_before() {
        let turns = Turns::new(1_000, 10);
        let came = order(&turns, &[("1", "a", 9), ("2", "a", 8), ("3", "b", 1)]).await;
        assert_eq!(came[2].0, "2");
        assert!(came[1].1 < Duration::from_millis(20) && came[2].1 >= Duration::from_millis(90), "{came:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_turns_take_as_long_as_the_rate_says() {
        let turns = Turns::new(200, 500);
        let began = Instant::now();
        let waits = (0..2_000).map(|i| {
            let turns = turns.clone();
            async move { turns.take(back_end("a"), Timestamp(i)).await }
        });
        futures_util::future::join_all(waits).await;
        let took = began.elapsed();
        assert!((Duration::from_millis(9_500)..Duration::from_millis(11_000)).contains(&took), "{took:?}");
    }
}
