//! How a process takes the file over: by the operating system's lock, or past a former owner that stands still.
//!
//! A free lock proves that the owner is dead or let go, provided that the owner was the one who held it (`cluster.owner_locked`). Otherwise the newcomer
//! writes its session down, which ends the former owner's heartbeats, and waits until that one lets go or T has passed: by then its gate is closed.
//! A process that was put out this way comes back only when nobody else is alive, so that two of them do not take turns.

use std::time::Duration;

use postrider_actors::ids::{Fence, Session};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::cluster_store::{Join, Reason};
use postrider_actors::time::Timestamp;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::connection::{CALL, Durability, Progress, within};
use super::error::Failure;
use super::lock::{self, FileLock};

/// How often a waiting newcomer looks again.
const POLL: Duration = Duration::from_millis(50);
/// How long the log of assignments is kept.
const LOG_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What this process knows about its own ownership.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    lock: Option<FileLock>,
    /// The session that it joined with last.
    session: Option<Session>,
    /// Whether another process put an end to that session.
    evicted: bool,
}

/// A look at the file's ownership in one transaction.
enum Step {
    Done,
    Wait,
    Refused(&'static str),
}

/// Another live node: its session, whether it only announced itself yet, its heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rival {
    session: Session,
    joining: bool,
    hb_seq: i64,
}

/// What a join remembers from look to look.
struct Attempt<'a> {
    join: &'a Join,
    waited: Duration,
    announced: bool,
    /// Whom it saw first, to tell whether he moves.
    seen: Option<Option<Rival>>,
}

impl SqliteStore {
    /// Joins; ends after `patience` and a few seconds at most.
    pub(super) async fn take_over(&self, join: &Join) -> Result<(), StoreError> {
        let mut attempt = Attempt { join, waited: Duration::ZERO, announced: false, seen: None };
        loop {
            // Held only while looking, unless it becomes ours: a lock kept while waiting would keep out whoever announced himself.
            let mut taken = None;
            let held = self.ownership().lock.is_some();
            if !held {
                taken = lock::try_lock(&lock::path_of(&self.inner.path))?;
            }
            let progress = Progress::default();
            let step = within(CALL, &progress, self.look(&mut attempt, held, held || taken.is_some(), &progress)).await?;
            match step {
                Step::Done => {
                    let mut ownership = self.ownership();
                    let kept = ownership.lock.take();
                    *ownership = Ownership { lock: kept.or(taken), session: Some(join.session), evicted: false };
                    return Ok(());
                }
                Step::Refused(why) => return Err(StoreError::Unavailable(why.into())),
                Step::Wait => drop(taken),
            }
            tokio::time::sleep(POLL).await;
            attempt.waited += POLL;
        }
    }

    async fn look(&self, attempt: &mut Attempt<'_>, held: bool, free: bool, progress: &Progress) -> Result<Step, Failure> {
        let now = self.now();
        let join = attempt.join;
        let was_evicted = self.ownership().evicted;
        let mut writer = self.database().writer().await;
        let mut tx = writer.begin(Durability::Durable, progress).await?;
        let (owner_locked,): (bool,) = sqlx::query_as("SELECT owner_locked FROM cluster").fetch_one(&mut *tx).await?;
        let rival = rival(&mut tx, join.session).await?;
        if attempt.announced && !announced(&mut tx, join.session).await? {
            return Ok(Step::Refused("another process announced itself on the same database meanwhile"));
        }
        let claimed = rival.is_some_and(|rival| rival.joining);
        let polite = was_evicted || (claimed && held);
        let dead = free && owner_locked && !(polite && claimed);
        let patient = attempt.waited >= join.patience && (attempt.announced || free);
        let step = if dead || patient {
            write_session(&mut tx, join, "GOOD", now).await?;
            assign(&mut tx, join.session, Some(join.session), Reason::TakeOver, now).await?;
            sqlx::query("UPDATE cluster SET owner_locked = ?1").bind(free).execute(&mut *tx).await?;
            Step::Done
        } else if polite {
            let still = *attempt.seen.get_or_insert(rival) == rival && attempt.waited < join.patience;
            if still { Step::Wait } else { Step::Refused("another process has taken the database over and is alive") }
        } else {
            if !attempt.announced {
                write_session(&mut tx, join, "JOINING", now).await?;
            }
            Step::Wait
        };
        tx.commit().await?;
        attempt.announced |= !polite;
        Ok(step)
    }

    /// Takes the lock if this session owns the file without it; says whether it holds it.
    pub(super) fn relock(&self, session: Session) -> Result<bool, StoreError> {
        let mut ownership = self.ownership();
        if ownership.session != Some(session) || ownership.evicted {
            return Ok(false);
        }
        if ownership.lock.is_none() {
            ownership.lock = lock::try_lock(&lock::path_of(&self.inner.path))?;
        }
        Ok(ownership.lock.is_some())
    }

    /// The session was put out: let go, so that the newcomer need not wait for T.
    pub(super) fn evicted(&self, session: Session) {
        let mut ownership = self.ownership();
        if ownership.session == Some(session) {
            ownership.evicted = true;
            ownership.lock = None;
        }
    }

    pub(super) fn unlock(&self, session: Session) {
        let mut ownership = self.ownership();
        if ownership.session == Some(session) {
            ownership.lock = None;
        }
    }

    fn ownership(&self) -> std::sync::MutexGuard<'_, Ownership> {
        self.inner.ownership.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn rival(connection: &mut SqliteConnection, session: Session) -> Result<Option<Rival>, Failure> {
    let query = sqlx::query_as::<_, (i64, bool, i64)>(
        "SELECT session, state = 'JOINING', hb_seq FROM node WHERE session <> ?1 AND state IN ('JOINING', 'GOOD', 'DRAINING') ORDER BY node_id LIMIT 1",
    );
    let row = query.bind(session.0).fetch_optional(connection).await?;
    Ok(row.map(|(session, joining, hb_seq)| Rival { session: Session(session), joining, hb_seq }))
}

async fn announced(connection: &mut SqliteConnection, session: Session) -> Result<bool, Failure> {
    let query = sqlx::query_as::<_, (bool,)>("SELECT EXISTS (SELECT 1 FROM node WHERE session = ?1 AND state = 'JOINING')");
    Ok(query.bind(session.0).fetch_one(connection).await?.0)
}

/// Puts every other session out and writes ours down.
async fn write_session(connection: &mut SqliteConnection, join: &Join, state: &str, now: Timestamp) -> Result<(), Failure> {
    sqlx::query("UPDATE node SET state = 'BAD' WHERE session <> ?1 AND state IN ('JOINING', 'GOOD', 'DRAINING')")
        .bind(join.session.0)
        .execute(&mut *connection)
        .await?;
    let query = sqlx::query(
        "INSERT INTO node (node_id, session, state, hb_at, max_users, version, weight, features, addr) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (node_id) DO UPDATE SET session = excluded.session, state = excluded.state, hb_seq = 0, hb_at = excluded.hb_at, \
         max_users = excluded.max_users, version = excluded.version, weight = excluded.weight, features = excluded.features, addr = excluded.addr, users = 0",
    );
    let query = query.bind(&*join.node.0).bind(join.session.0).bind(state).bind(now.0).bind(i64::from(join.max_users)).bind(&*join.version);
    let query = query.bind(i64::from(join.weight)).bind(join.features.to_string()).bind(&*join.addr);
    query.execute(connection).await?;
    Ok(())
}

/// Gives all shards to a session, or to nobody, under a new epoch.
pub(super) async fn assign(
    connection: &mut SqliteConnection,
    by: Session,
    to: Option<Session>,
    reason: Reason,
    now: Timestamp,
) -> Result<(), Failure> {
    let (version,): (i64,) =
        sqlx::query_as("UPDATE cluster SET assign_ver = assign_ver + 1 RETURNING assign_ver").fetch_one(&mut *connection).await?;
    let epoch = Fence::new(0, version);
    let query = sqlx::query(
        "INSERT INTO assign_log (ver, by_session, reason, from_session, to_session, epoch, at, by_node, from_node, to_node) \
         SELECT ?1, ?2, ?3, owner, ?4, ?5, ?6, (SELECT node_id FROM node WHERE session = ?2), (SELECT node_id FROM node WHERE session = owner), \
         (SELECT node_id FROM node WHERE session = ?4) FROM (SELECT (SELECT owner_session FROM shard LIMIT 1) AS owner)",
    );
    query
        .bind(version)
        .bind(by.0)
        .bind(reason.as_str())
        .bind(to.map(|to| to.0))
        .bind(epoch.0)
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM assign_log WHERE at < ?1").bind((now - LOG_KEPT).0).execute(&mut *connection).await?;
    let query = sqlx::query("UPDATE shard SET owner_session = ?1, epoch = ?2, moved_ver = ?3, target_session = NULL, ready_session = NULL");
    query.bind(to.map(|to| to.0)).bind(epoch.0).bind(version).execute(connection).await?;
    Ok(())
}
