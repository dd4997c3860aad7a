//! Membership and ownership in PostgreSQL: the port, one transaction a method.

use async_trait::async_trait;
use postrider_actors::ids::{Authority, Fence, NodeId, Session, ShardId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{
    AdoptedShard, AssignLine, Beat, ClusterStore, ClusterView, Depth, History, Join, Joined, PlanCommit,
};

use super::call::{reading, transaction};
use super::{PostgresStore, adopt, commit_plan, hand_over, look, membership};

#[async_trait]
impl ClusterStore for PostgresStore {
    async fn join(&self, join: &Join) -> Result<Joined, StoreError> {
        let joined = transaction!(self, |connection| membership::join(connection, join).await?)?;
        if matches!(joined, Joined::Done { .. }) && !self.inner.pulse.synchronous() {
            tracing::warn!(
                "the database has no synchronous standby (synchronous_standby_names is empty): a promotion may lose its last seconds, some pushes are then made twice"
            );
        }
        Ok(joined)
    }

    async fn enter(&self, node: &NodeId, session: Session) -> Result<bool, StoreError> {
        transaction!(self, |connection| membership::enter(connection, node, session).await?)
    }

    async fn beat(&self, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError> {
        membership::beat(self, node, session, users).await
    }

    async fn shard_adopt(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        transaction!(self, |connection| adopt::adopt(connection, shard, authority).await?)
    }

    async fn shard_reload(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        self.shard_adopt(shard, authority).await
    }

    async fn shard_peek(&self, shard: ShardId, session: Session) -> Result<Option<AdoptedShard>, StoreError> {
        reading!(self, |connection| adopt::peek(connection, shard, session).await?)
    }

    async fn shards_ready(&self, session: Session, shards: &[ShardId]) -> Result<(), StoreError> {
        transaction!(self, |connection| hand_over::ready(connection, session, shards).await?)
    }

    async fn hand_over(&self, session: Session, shards: &[(ShardId, Fence)]) -> Result<Vec<ShardId>, StoreError> {
        transaction!(self, |connection| hand_over::hand_over(connection, session, shards).await?)
    }

    async fn reclaim(&self, session: Session, shards: Option<&[ShardId]>) -> Result<(), StoreError> {
        transaction!(self, |connection| membership::reclaim(connection, session, shards).await?)
    }

    async fn drain(&self, node: &NodeId) -> Result<bool, StoreError> {
        transaction!(self, |connection| membership::drain(connection, node).await?)
    }

    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        transaction!(self, |connection| membership::leave(connection, node, session).await?)
    }

    async fn view(&self, depth: Depth) -> Result<ClusterView, StoreError> {
        look::view(self, depth).await
    }

    async fn view_for_people(&self, depth: Depth) -> Result<ClusterView, StoreError> {
        look::for_people(self, depth).await
    }

    async fn lead(&self, session: Session, seen: Option<Session>) -> Result<bool, StoreError> {
        transaction!(self, |connection| membership::lead(connection, session, seen).await?)
    }

    async fn plan_commit(&self, plan: &PlanCommit) -> Result<Option<i64>, StoreError> {
        transaction!(self, |connection| commit_plan::plan_commit(connection, plan).await?)
    }

    async fn require(&self, feature: &str) -> Result<(), StoreError> {
        transaction!(self, |connection| membership::require(connection, feature).await?)
    }

    async fn assign_log(&self, limit: u32) -> Result<Vec<AssignLine>, StoreError> {
        reading!(self.people(), |connection| look::assign_log(connection, limit).await?)
    }

    async fn accept_database(&self) -> Result<History, StoreError> {
        transaction!(self, |connection| membership::accept(connection).await?)
    }
}
