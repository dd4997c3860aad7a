//! The one timer that an actor has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::{ActorRef, Message};
use tokio::task::AbortHandle;

use crate::time::Monotonic;

/// A timer that can be moved; gone when dropped.
#[derive(Debug, Default)]
pub struct Alarm {
    set: Option<Set>,
}

#[derive(Debug)]
struct Set {
    due: Monotonic,
    /// Said before the message is: whoever handles it finds the timer spent.
    spent: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Alarm {
    /// Makes the actor receive `message` at `due`; replaces what was set before. [`Monotonic::NEVER`] sets nothing.
    pub fn set<M: Message>(&mut self, now: Monotonic, due: Monotonic, actor: &ActorRef<M>, message: M) {
        if self.set.as_ref().is_some_and(|set| set.due == due && !set.spent.load(Ordering::Acquire)) {
            return;
        }
        self.clear();
        if due == Monotonic::NEVER {
            return;
        }
        let (actor, rest, spent) = (actor.clone(), due.since(now), Arc::new(AtomicBool::new(false)));
        let told = spent.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            told.store(true, Ordering::Release);
            // An actor that ended needs no alarm.
            let _ = actor.cast(message);
        });
        self.set = Some(Set { due, spent, task: task.abort_handle() });
    }

    fn clear(&mut self) {
        if let Some(set) = self.set.take() {
            set.task.abort();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
