//! What every change of ownership begins and ends with: one row that all of them lock, the epoch, the log.

use std::time::Duration;

use postrider_actors::ids::{Fence, Session, ShardId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{History, Reason};
use sqlx::PgConnection;

use super::error::Failure;
use super::number_of;

/// How long the log of assignments is kept.
const LOG_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The one row of `cluster`, locked: ownership changes one after the other, and as long as it is held nobody else's does.
pub(super) struct Cluster {
    pub(super) assign_ver: i64,
    pub(super) leader: Option<Session>,
    /// The server's, at this moment.
    pub(super) history: History,
    /// The one that was accepted.
    accepted: History,
}

/// One shard that changes hands, or is planned to.
pub(super) struct Change {
    pub(super) shard: ShardId,
    pub(super) to: Option<Session>,
    pub(super) reason: Reason,
}

impl Cluster {
    /// Locks it without asking whether the database was accepted.
    pub(super) async fn lock_any(connection: &mut PgConnection) -> Result<Self, Failure> {
        let (assign_ver, leader, accepted_id, accepted_tli, system_id, timeline): (i64, Option<i64>, String, i64, String, i64) =
            sqlx::query_as(
                "SELECT assign_ver, leader_session, system_id, tli, (SELECT system_identifier::text FROM pg_control_system()), timeline() \
                 FROM cluster WHERE id = 1 FOR UPDATE",
            )
            .fetch_one(connection)
            .await?;
        let history = |id: String, timeline| History { system_id: id.into(), timeline: u32::try_from(timeline).unwrap_or(0) };
        Ok(Self {
            assign_ver,
            leader: leader.map(Session),
            history: history(system_id, timeline),
            accepted: history(accepted_id, accepted_tli),
        })
    }

    /// Locks it; refuses a database that is not the one that was accepted.
    pub(super) async fn lock(connection: &mut PgConnection) -> Result<Self, Failure> {
        let cluster = Self::lock_any(connection).await?;
        refuse_other(&cluster.accepted, &cluster.history)?;
        Ok(cluster)
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.accepted == self.history
    }

    /// Notes which database it is from here on.
    pub(super) async fn record(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        if !self.is_accepted() {
            let query = sqlx::query("UPDATE cluster SET system_id = $1, tli = $2");
            query.bind(&*self.history.system_id).bind(i64::from(self.history.timeline)).execute(connection).await?;
        }
        Ok(())
    }

    /// Takes the next number, tells all nodes when the transaction commits, and removes what is too old of the log. Says the number and the epoch.
    pub(super) async fn advance(&self, connection: &mut PgConnection) -> Result<(i64, Fence), Failure> {
        let version = self.assign_ver + 1;
        let query = sqlx::query("UPDATE cluster SET assign_ver = $1, tli = $2 WHERE id = 1");
        query.bind(version).bind(i64::from(self.history.timeline)).execute(&mut *connection).await?;
        // In steps: after a long silence there may be much of it.
        let query = sqlx::query(
            "DELETE FROM assign_log WHERE ctid = ANY (ARRAY (SELECT ctid FROM assign_log WHERE at < now_micros() - $1 ORDER BY at LIMIT 5000))",
        );
        query.bind(i64::try_from(LOG_KEPT.as_micros()).unwrap_or(i64::MAX)).execute(&mut *connection).await?;
        // Heartbeats find it anyway; this is for whoever listens.
        sqlx::query("SELECT pg_notify('postrider_plan', $1::text)").bind(version).execute(connection).await?;
        Ok((version, Fence::new(self.history.timeline, version)))
    }
}

/// Which database was accepted, and which one it is.
pub(super) async fn histories(connection: &mut PgConnection) -> Result<(History, History), Failure> {
    let (accepted, tli, system_id, timeline): (String, i64, String, i64) =
        sqlx::query_as("SELECT system_id, tli, (SELECT system_identifier::text FROM pg_control_system()), timeline() FROM cluster")
            .fetch_one(connection)
            .await?;
    let history = |id: String, timeline| History { system_id: id.into(), timeline: u32::try_from(timeline).unwrap_or(0) };
    Ok((history(accepted, tli), history(system_id, timeline)))
}

/// A database that is another one than was accepted, or an older copy of it.
pub(super) fn refuse_other(accepted: &History, found: &History) -> Result<(), StoreError> {
    if found.system_id == accepted.system_id && found.timeline >= accepted.timeline {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "this database belongs to another server, or is an older copy, than the one that was accepted (system {} timeline {}, accepted: system {} timeline {}): \
         if it is meant, run `postrider cluster accept-database`",
        found.system_id, found.timeline, accepted.system_id, accepted.timeline
    )))
}

/// Leaves a line for each change in the log, with the names of now; before the shards change, because it tells whom they come from.
pub(super) async fn log(
    connection: &mut PgConnection,
    (version, epoch): (i64, Fence),
    by: Session,
    changes: &[Change],
) -> Result<(), Failure> {
    let shards: Vec<i32> = changes.iter().map(|change| number_of(change.shard)).collect();
    let to: Vec<Option<i64>> = changes.iter().map(|change| change.to.map(|to| to.0)).collect();
    let reasons: Vec<&str> = changes.iter().map(|change| change.reason.as_str()).collect();
    let query = sqlx::query(include_str!("queries/log.sql")).bind(version).bind(epoch.0).bind(by.0);
    query.bind(shards).bind(to).bind(reasons).execute(connection).await?;
    Ok(())
}

/// Gives shards to their new owners under the epoch; their targets are cleared.
pub(super) async fn assign(
    connection: &mut PgConnection,
    (version, epoch): (i64, Fence),
    by: Session,
    changes: &[Change],
) -> Result<u64, Failure> {
    log(connection, (version, epoch), by, changes).await?;
    let shards: Vec<i32> = changes.iter().map(|change| number_of(change.shard)).collect();
    let to: Vec<Option<i64>> = changes.iter().map(|change| change.to.map(|to| to.0)).collect();
    let query = sqlx::query(
        "UPDATE shard SET owner_session = change.owner, epoch = $1, moved_ver = $2, target_session = NULL, ready_session = NULL \
         FROM unnest($3::int[], $4::bigint[]) AS change (shard_id, owner) WHERE shard.shard_id = change.shard_id",
    );
    Ok(query.bind(epoch.0).bind(version).bind(shards).bind(to).execute(connection).await?.rows_affected())
}
