//! The one timer that an actor has.

use ractor::{ActorRef, Message};
use tokio::task::AbortHandle;

use crate::time::Monotonic;

/// A timer that can be moved; gone when dropped.
#[derive(Debug, Default)]
pub struct Alarm {
    set: Option<(Monotonic, AbortHandle)>,
}

impl Alarm {
    /// Makes the actor receive `message` at `due`; replaces what was set before. [`Monotonic::NEVER`] sets nothing.
    pub fn set<M: Message>(&mut self, now: Monotonic, due: Monotonic, actor: &ActorRef<M>, message: M) {
        if self.set.as_ref().is_some_and(|(at, task)| *at == due && !task.is_finished()) {
            return;
        }
        self.clear();
        if due == Monotonic::NEVER {
            return;
        }
        let (actor, rest) = (actor.clone(), due.since(now));
        let task = tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            // An actor that ended needs no alarm.
            let _ = actor.cast(message);
        });
        self.set = Some((due, task.abort_handle()));
    }

    fn clear(&mut self) {
        if let Some((_, task)) = self.set.take() {
            task.abort();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
