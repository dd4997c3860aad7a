//! Tasks of an actor: what waits for the outside runs here and comes back as a message; all end with the actor.

use std::future::Future;

use ractor::{ActorRef, Message};
use tokio::task::JoinSet;

/// The tasks that an actor has under way. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<()>,
}

impl Tasks {
    /// Runs `work`; what it returns is cast to the actor. Should it panic, `vanished` is cast instead, so that no answer is waited for in vain.
    pub fn run<M: Message>(&mut self, actor: &ActorRef<M>, vanished: fn() -> M, work: impl Future<Output = M> + Send + 'static) {
        while self.running.try_join_next().is_some() {}
        let mut answer = Answer { actor: actor.clone(), vanished: Some(vanished) };
        self.running.spawn(async move {
            let message = work.await;
            answer.vanished = None;
            // An actor that ended needs no answer.
            let _ = answer.actor.cast(message);
        });
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

struct Answer<M: Message> {
    actor: ActorRef<M>,
    vanished: Option<fn() -> M>,
}

impl<M: Message> Drop for Answer<M> {
    fn drop(&mut self) {
        if let Some(vanished) = self.vanished.take() {
            let _ = self.actor.cast(vanished());
        }
    }
}
