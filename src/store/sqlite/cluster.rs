//! Membership and ownership in SQLite: heartbeats, adoption of shards, leaving.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_actors::ids::{Authority, Fence, MailboxId, NodeId, Session, ShardId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{
    AdoptedShard, AssignLine, Beat, ClusterStore, ClusterView, Depth, History, Join, Joined, Manner, OwnedMailbox, PlanCommit, Reason,
    ShardSeen,
};
use postrider_actors::ports::mail_source::MailboxRef;
use postrider_actors::snapshot::NodeState;
use postrider_actors::time::Timestamp;

use super::connection::{CALL, Durability, HEARTBEAT, Progress, Tx, within};
use super::error::Failure;
use super::{SqliteStore, look, takeover};

type OwnedRow = (i64, String, String, bool, bool, bool, i64);

#[async_trait]
impl ClusterStore for SqliteStore {
    async fn join(&self, join: &Join) -> Result<Joined, StoreError> {
        self.take_over(join).await?;
        let history = self.database().read(async { look::history(&mut *self.database().readers().acquire().await?).await }).await?;
        Ok(Joined::Done { history, now: self.now(), manner: Manner::Embedded })
    }

    async fn enter(&self, node: &NodeId, session: Session) -> Result<bool, StoreError> {
        let query = "SELECT EXISTS (SELECT 1 FROM node WHERE node_id = ?1 AND session = ?2 AND state IN ('GOOD', 'DRAINING'))";
        let query = sqlx::query_as::<_, (bool,)>(query).bind(&*node.0).bind(session.0);
        self.database().read(async { Ok(query.fetch_one(self.database().readers()).await?.0) }).await
    }

    async fn beat(&self, node: &NodeId, session: Session, users: u32) -> Result<Option<Beat>, StoreError> {
        let now = self.now();
        let locked = self.relock(session)?;
        let progress = Progress::default();
        let beat = within(HEARTBEAT, &progress, async {
            let mut writer = self.database().writer_for_heartbeat().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let beat = heartbeat(&mut tx, node, session, users, now).await?;
            if beat.is_some() && locked {
                sqlx::query("UPDATE cluster SET owner_locked = 1 WHERE owner_locked = 0").execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(beat)
        })
        .await?;
        if beat.is_none() {
            self.evicted(session);
        }
        Ok(beat)
    }

    async fn shard_adopt(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Mail, &progress).await?;
            let adopted = adopt(&mut tx, shard, authority).await?;
            tx.commit().await?;
            Ok(adopted)
        })
        .await
    }

    async fn shard_reload(&self, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, StoreError> {
        self.shard_adopt(shard, authority).await
    }

    /// One node owns everything: no shard is planned to move.
    async fn shard_peek(&self, _: ShardId, _: Session) -> Result<Option<AdoptedShard>, StoreError> {
        Ok(None)
    }

    /// As `shard_peek`.
    async fn shards_ready(&self, _: Session, _: &[ShardId]) -> Result<(), StoreError> {
        Ok(())
    }

    /// As `shard_peek`.
    async fn hand_over(&self, _: Session, _: &[(ShardId, Fence)]) -> Result<Vec<ShardId>, StoreError> {
        Ok(Vec::new())
    }

    /// A file has no timelines, and nothing is handed over.
    async fn reclaim(&self, _: Session, _: Option<&[ShardId]>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn drain(&self, _: &NodeId) -> Result<bool, StoreError> {
        Err(StoreError::Unusable("a file has one node, and there is none to take its users over: stop the service instead (systemctl stop postrider, or SIGTERM), which finishes what is under way".into()))
    }

    async fn leave(&self, node: &NodeId, session: Session) -> Result<(), StoreError> {
        let now = self.now();
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Durable, &progress).await?;
            let query = sqlx::query("UPDATE node SET state = 'LEFT' WHERE node_id = ?1 AND session = ?2 AND state IN ('GOOD', 'DRAINING')");
            query.bind(&*node.0).bind(session.0).execute(&mut *tx).await?;
            let owns: (bool,) =
                sqlx::query_as("SELECT EXISTS (SELECT 1 FROM shard WHERE owner_session = ?1)").bind(session.0).fetch_one(&mut *tx).await?;
            if owns.0 {
                takeover::assign(&mut tx, session, None, Reason::Leave, now).await?;
                sqlx::query("UPDATE cluster SET owner_locked = 1").execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await?;
        self.unlock(session);
        Ok(())
    }

    async fn view(&self, depth: Depth) -> Result<ClusterView, StoreError> {
        let now = self.now();
        self.database().read(async { look::view(&mut *self.database().readers().acquire().await?, depth, now).await }).await
    }

    /// One node needs no leader.
    async fn lead(&self, _: Session, _: Option<Session>) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// As `lead`.
    async fn plan_commit(&self, _: &PlanCommit) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn require(&self, feature: &str) -> Result<(), StoreError> {
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.database().writer().await;
            let mut tx = writer.begin(Durability::Durable, &progress).await?;
            look::require(&mut tx, feature).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    async fn assign_log(&self, limit: u32) -> Result<Vec<AssignLine>, StoreError> {
        self.database().read(async { look::assign_log(&mut *self.database().readers().acquire().await?, limit).await }).await
    }

    /// A file that was opened is accepted: its name came with it.
    async fn accept_database(&self) -> Result<History, StoreError> {
        self.database().read(async { look::history(&mut *self.database().readers().acquire().await?).await }).await
    }
}

async fn heartbeat(tx: &mut Tx<'_>, node: &NodeId, session: Session, users: u32, now: Timestamp) -> Result<Option<Beat>, Failure> {
    // The state is asked for because a session that was replaced or judged never beats again.
    let query = sqlx::query_as::<_, (i64, String)>(
        "UPDATE node SET hb_seq = hb_seq + 1, hb_at = ?4, users = ?3 \
         WHERE node_id = ?1 AND session = ?2 AND state IN ('GOOD', 'DRAINING') RETURNING hb_seq, state",
    );
    let query = query.bind(&*node.0).bind(session.0).bind(i64::from(users)).bind(now.0);
    let Some((hb_seq, state)) = query.fetch_optional(&mut **tx).await? else { return Ok(None) };
    let (system_id, assign_ver, sending_allowed): (String, i64, bool) =
        sqlx::query_as("SELECT system_id, assign_ver, sending_allowed FROM cluster").fetch_one(&mut **tx).await?;
    let query = sqlx::query_as::<_, (i64, i64, i64, i64)>(
        "SELECT shard_id, epoch, change_seq, users FROM shard WHERE owner_session = ?1 ORDER BY users = 0, shard_id",
    );
    let rows = query.bind(session.0).fetch_all(&mut **tx).await?;
    let users = rows.iter().map(|(.., users)| users.unsigned_abs()).sum();
    let seen = |(shard, epoch, change_seq, _)| ShardSeen { shard: shard_of(shard), epoch: Fence(epoch), change_seq, target: None };
    let shards = rows.into_iter().map(seen).collect();
    let history = History { system_id: system_id.into(), timeline: 0 };
    let state = NodeState::parse(&state).unwrap_or(NodeState::Good);
    Ok(Some(Beat { hb_seq, state, assign_ver, sending_allowed, now, history, shards, users, incoming: Vec::new() }))
}

async fn adopt(tx: &mut Tx<'_>, shard: ShardId, authority: Authority) -> Result<Option<AdoptedShard>, Failure> {
    let Authority { fence, session } = authority;
    let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/shard_owned.sql"));
    let owned = query.bind(i64::from(shard.0)).bind(fence.0).bind(session.0).fetch_optional(&mut **tx).await?;
    let Some((change_seq,)) = owned else { return Ok(None) };
    let query = sqlx::query(include_str!("queries/shard_stamp.sql"));
    query.bind(i64::from(shard.0)).bind(fence.0).bind(session.0).execute(&mut **tx).await?;
    let query = sqlx::query_as::<_, OwnedRow>(include_str!("queries/shard_load.sql")).bind(i64::from(shard.0));
    let mailboxes = query.fetch_all(&mut **tx).await?.into_iter().map(owned_mailbox).collect();
    Ok(Some(AdoptedShard { change_seq, mailboxes }))
}

fn owned_mailbox((id, tenant, smtp, seeded, badge_dirty, pending, announced_until): OwnedRow) -> OwnedMailbox {
    let smtp = Arc::new(Smtp::new(&smtp));
    OwnedMailbox {
        mailbox: MailboxRef { id: MailboxId(id), tenant: TenantId(tenant.into()), smtp },
        seeded,
        badge_dirty,
        pending,
        announced_until: Timestamp(announced_until),
    }
}

pub(super) fn shard_of(id: i64) -> ShardId {
    ShardId(u16::try_from(id).unwrap_or(u16::MAX))
}
