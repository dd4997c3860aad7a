//! What the shell of a node tells the store about its shards: new epochs, shards that it warmed up, shards that it hands over.

use ractor::ActorRef;

use super::State;
use crate::ids::{Fence, ShardId};
use crate::node::message::Message;
use crate::node::state::Input;

/// What fails when it cannot be said which shards are warmed up.
const READY: &str = "saying which shards are warmed up";
/// What fails when shards cannot be handed over.
const HANDING: &str = "handing shards over";

impl State {
    pub(super) fn reclaim(&mut self, myself: &ActorRef<Message>) {
        let (context, join) = (self.begin.context.clone(), self.begin.join.clone());
        tracing::warn!(node = %join.node, "the database was promoted: everything that is ours is taken anew, because its last seconds may be lost");
        self.tasks.run(myself, || Message::Vanished, async move {
            Message::Step(Input::Reclaimed(context.ports.cluster.reclaim(join.session, None).await))
        });
    }

    pub(super) fn say_ready(&mut self, myself: &ActorRef<Message>, shards: Vec<ShardId>) {
        let (context, session, node) = (self.begin.context.clone(), self.begin.join.session, self.begin.join.node.clone());
        self.tasks.run(myself, || Message::Vanished, async move {
            match context.ports.cluster.shards_ready(session, &shards).await {
                Ok(_) => context.works(READY),
                Err(error) => {
                    if let Some(due) = context.failed(READY) {
                        let (node, repeated) = (&node, due.repeated);
                        tracing::warn!(%node, %error, shards = shards.len(), repeated, "it could not be said which shards are warmed up; said again");
                    }
                }
            }
            Message::Step(Input::SaidReady)
        });
    }

    /// Writes what waits to be written, then hands over: what comes too late is read again by the next owner.
    pub(super) fn hand_over(&mut self, myself: &ActorRef<Message>, offered: Vec<(ShardId, Fence)>) {
        let (context, session, node) = (self.begin.context.clone(), self.begin.join.session, self.begin.join.node.clone());
        self.tasks.run(myself, || Message::Vanished, async move {
            let _ = tokio::time::timeout(context.settings.heartbeat, context.committer.flush()).await;
            let answer = context.ports.cluster.hand_over(session, &offered).await;
            match &answer {
                Ok(_) => context.works(HANDING),
                Err(error) => {
                    if let Some(due) = context.failed(HANDING) {
                        tracing::warn!(%node, %error, shards = offered.len(), repeated = due.repeated, "shards could not be handed over; tried again");
                    }
                }
            }
            Message::Step(Input::HandedOver(offered, answer))
        });
    }

    /// What the store may still do of a hand-over that it did not answer must not happen behind our back.
    pub(super) fn retake(&mut self, myself: &ActorRef<Message>, shards: Vec<ShardId>) {
        let (context, session) = (self.begin.context.clone(), self.begin.join.session);
        self.tasks.run(myself, || Message::Vanished, async move {
            let answer = context.ports.cluster.reclaim(session, Some(&shards)).await;
            Message::Step(Input::Retaken(shards, answer))
        });
    }
}
