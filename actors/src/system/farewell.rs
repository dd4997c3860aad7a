//! How a node takes its leave: others take over what it owns while there is time, then what is under way is finished, then the rest is released.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::System;
use crate::node::message::Message as ToNode;
use crate::node::state::{Ended, Input as NodeInput};
use crate::ports::StoreError;
use crate::ports::cluster_store::{Depth, Manner};
use crate::snapshot::NodeState;

/// How long each step after the deadline of a drain may take: what waits is written, the actors end, the database hears that this node leaves.
const FAREWELL: Duration = Duration::from_secs(5);

impl System {
    /// Hands over to the other nodes what they take, finishes what is under way, both at most until the deadline, writes what waits, leaves and stops.
    /// What was not finished is found again by the next owner.
    pub async fn drain(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        // What is not taken in time is released; until then it goes on as ever, but for the time that its ending takes.
        self.hand_all_over(until - FAREWELL.min(deadline / 2)).await;
        self.tell_node(ToNode::Step(NodeInput::Drain));
        self.directory.drain();
        if timeout_at(until, self.context.busy.none()).await.is_err() {
            tracing::warn!(
                left = self.context.busy.count(),
                "not everything under way could be finished in time; it is taken up by the next owner"
            );
        }
        // What was not written in time is read again by the next owner.
        let _ = timeout(FAREWELL, self.context.committer.flush()).await;
        self.context.gate.close();
        let ended = self.standing.borrow().ended.clone();
        // No heartbeat may follow the farewell.
        let _ = self.root.stop_and_wait(None, Some(FAREWELL)).await;
        if ended == Some(Ended::Replaced) {
            // Its successor has subscriptions of its own, and a new life of this process begins with none.
            self.directory.strike_out(None).into_iter().for_each(|mailbox| self.context.ports.mail.unwatch(mailbox));
        }
        if matches!(ended, None | Some(Ended::Drained)) || self.manner().is_some() && matches!(ended, Some(Ended::Unusable(_))) {
            self.leave().await;
        }
    }

    async fn leave(&self) {
        let leave = self.context.ports.cluster.leave(&self.identity.node, self.identity.session);
        let late = |_| Err(StoreError::Unavailable("the farewell was not answered in time".into()));
        if let Err(error) = timeout(FAREWELL, leave).await.unwrap_or_else(late) {
            tracing::warn!(%error, "the database was not told that this node leaves; a successor waits until its heartbeat stood still, or its lock is free");
        }
    }

    /// On a database that nodes share: DRAINING, until nothing is owned any more. Nothing is done when nobody else is there.
    async fn hand_all_over(&self, until: Instant) {
        if self.manner() != Some(Manner::Shared) || self.standing.borrow().ended.is_some() {
            return;
        }
        match timeout_at(until, self.begin_draining()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return tracing::warn!("no other node is GOOD, so nobody can take users over: they wait until a node runs"),
            Ok(Err(error)) => return tracing::warn!(%error, "the others cannot be asked to take users over; they are released"),
            Err(_) => return tracing::warn!("the database does not answer; users are released when this node is missed"),
        }
        tracing::info!(node = %self.identity.node, "draining: the other nodes take users over");
        if timeout_at(until, self.ended()).await.is_err() {
            tracing::warn!(shards = self.standing.borrow().shards, "not everything was taken over in time; the rest is released");
        }
    }

    /// Says in the store that this node drains, if anybody could take over.
    async fn begin_draining(&self) -> Result<bool, StoreError> {
        let cluster = &self.context.ports.cluster;
        let view = cluster.view(Depth::Nodes).await?;
        let others = view.nodes.iter().any(|node| node.session != self.identity.session && node.state == NodeState::Good);
        Ok(others && cluster.drain(&self.identity.node).await?)
    }

    /// What this node joined, once it did.
    #[must_use]
    pub fn manner(&self) -> Option<Manner> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|membership| membership.manner)
    }
}
