//! Tasks of an actor: what waits for the outside runs here and comes back as a message; all end with the actor.

use std::future::Future;

use ractor::{ActorRef, Message};
use tokio::task::{AbortHandle, JoinSet};

/// The tasks that an actor has under way. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<()>,
}

impl Tasks {
    /// Runs `work`; what it returns is cast to the actor. Should it panic, `vanished` is cast instead, so that no answer is waited for in vain.
    pub fn run<M: Message>(&mut self, actor: &ActorRef<M>, vanished: fn() -> M, work: impl Future<Output = M> + Send + 'static) {
        while self.running.try_join_next().is_some() {}
        self.running.spawn(answered(actor, vanished, work));
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

/// One task by itself. Dropping it ends it.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Runs `work` as [`Tasks::run`] does.
    pub fn start<M: Message>(
        actor: &ActorRef<M>,
        vanished: impl FnOnce() -> M + Send + 'static,
        work: impl Future<Output = M> + Send + 'static,
    ) -> Self {
        Self(tokio::spawn(answered(actor, vanished, work)).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `work` and casts what it returns to the actor, or `vanished` if it ends without.
fn answered<M: Message, V: FnOnce() -> M + Send + 'static>(
    actor: &ActorRef<M>,
    vanished: V,
    work: impl Future<Output = M> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let mut answer = Answer { actor: actor.clone(), vanished: Some(vanished) };
    async move {
        let message = work.await;
        answer.vanished = None;
        // An actor that ended needs no answer.
        let _ = answer.actor.cast(message);
    }
}

struct Answer<M: Message, V: FnOnce() -> M> {
    actor: ActorRef<M>,
    vanished: Option<V>,
}

impl<M: Message, V: FnOnce() -> M> Drop for Answer<M, V> {
    fn drop(&mut self) {
        if let Some(vanished) = self.vanished.take() {
            let _ = self.actor.cast(vanished());
        }
    }
}
