//! What autodiscover answered, for a day: bounded, and each endpoint kept once however many mailboxes share it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_actors::ids::MailboxId;
use tokio::time::Instant;

use crate::exchange::{Endpoint, LocateError};

/// What is known of a mailbox.
type Known = Result<Arc<Endpoint>, LocateError>;

/// The cache.
#[derive(Debug)]
pub struct Cache {
    max_entries: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<MailboxId, (Known, Instant)>,
    endpoints: HashSet<Arc<Endpoint>>,
}

impl Cache {
    /// Makes an empty cache.
    #[must_use]
    pub fn new(max_entries: usize) -> Self {
        Self { max_entries, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known and fresh.
    #[must_use]
    pub fn fresh(&self, mailbox: MailboxId) -> Option<Known> {
        let now = Instant::now();
        self.state().entries.get(&mailbox).filter(|(_, until)| *until > now).map(|(known, _)| known.clone())
    }

    /// The endpoint that is known, fresh or not.
    #[must_use]
    pub fn known(&self, mailbox: MailboxId) -> Option<Arc<Endpoint>> {
        self.state().entries.get(&mailbox).and_then(|(known, _)| known.clone().ok())
    }

    /// Notes an answer for a while. A failure to answer does not replace an endpoint that was known: that is believed a little longer.
    pub fn note(&self, mailbox: MailboxId, answer: Known, believe: Duration) -> Known {
        let mut state = self.state();
        let until = Instant::now() + believe;
        let answer = match (answer, state.entries.get(&mailbox)) {
            (Err(LocateError::Unavailable { .. }), Some((Ok(known), _))) => Ok(Arc::clone(known)),
            (answer, _) => answer.map(|endpoint| state.shared(endpoint)),
        };
        if state.entries.len() >= self.max_entries && !state.entries.contains_key(&mailbox) {
            state.make_room(self.max_entries);
        }
        state.entries.insert(mailbox, (answer.clone(), until));
        answer
    }

    /// Forgets a mailbox.
    pub fn forget(&self, mailbox: MailboxId) {
        self.state().entries.remove(&mailbox);
    }
}

impl State {
    /// The one copy of an endpoint.
    fn shared(&mut self, endpoint: Arc<Endpoint>) -> Arc<Endpoint> {
        if let Some(known) = self.endpoints.get(&endpoint) {
            return Arc::clone(known);
        }
        self.endpoints.retain(|known| Arc::strong_count(known) > 1);
        self.endpoints.insert(Arc::clone(&endpoint));
        endpoint
    }

    /// Drops what is over, else a tenth of everything: they are looked for again when they are needed.
    fn make_room(&mut self, max_entries: usize) {
        let now = Instant::now();
        self.entries.retain(|_, (_, until)| *until > now);
        if self.entries.len() >= max_entries {
            let some: Vec<MailboxId> = self.entries.keys().take(max_entries / 10 + 1).copied().collect();
            some.iter().for_each(|mailbox| drop(self.entries.remove(mailbox)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str) -> Arc<Endpoint> {
        Arc::new(Endpoint::new(format!("https://{host}/").parse().unwrap(), "g"))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_believed_for_their_time_and_endpoints_kept_once() {
        let cache = Cache::new(10);
        let day = Duration::from_secs(86_400);
        let first = cache.note(MailboxId(1), Ok(endpoint("a")), day).unwrap();
        let second = cache.note(MailboxId(2), Ok(endpoint("a")), day).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        tokio::time::advance(day).await;
        assert_eq!(cache.fresh(MailboxId(1)), None);
        let trouble = Err(LocateError::Unavailable { code: "x".into() });
        assert!(cache.note(MailboxId(1), trouble.clone(), Duration::from_secs(10)).is_ok(), "believed a little longer");
        assert_eq!(cache.note(MailboxId(3), trouble.clone(), Duration::from_secs(10)), trouble);
        cache.forget(MailboxId(1));
        assert_eq!(cache.fresh(MailboxId(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_its_bound() {
        let cache = Cache::new(20);
        for n in 0..1_000 {
            let _ = cache.note(MailboxId(n), Ok(endpoint(&format!("h{n}"))), Duration::from_secs(60));
        }
        let state = cache.state();
        assert!(state.entries.len() <= 20 && state.endpoints.len() <= 21);
        drop(state);
        assert!(cache.fresh(MailboxId(999)).is_some());
    }
}
