//! Changes in PostgreSQL, each with the lines that it leaves in the trail.

use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_change::{AuditAsk, Change, Changed, Of, Signed};
use postrider_actors::ports::registry_store::{AuditLine, Registered};
use postrider_actors::time::Timestamp;
use sqlx::PgConnection;

use super::error::Failure;
use super::{registry_devices, registry_mailboxes};
use crate::store::names;

type LineRow = (i64, i64, String, String, String, i32, String);

/// Carries a change out and leaves its lines.
pub(super) async fn change(connection: &mut PgConnection, change: &Change<'_>, signed: Option<&Signed>) -> Result<Changed, Failure> {
    // A removed mailbox has no number afterwards.
    let before = match change {
        Change::MailboxRemove(tenant, smtp) if signed.is_some() => number(connection, tenant, smtp).await?,
        _ => None,
    };
    let (changed, left) = apply(connection, change).await?;
    let Some(signed) = signed.filter(|signed| changed.is_change() && (!signed.moves_only || left.is_some())) else { return Ok(changed) };
    let mailbox = match (change, &changed) {
        (_, Changed::Registered(Registered::Done { mailbox, .. })) => Some(*mailbox),
        (_, Changed::Mailbox(view, _)) => Some(view.mailbox),
        (Change::Cutoff(of, _) | Change::Activity(of, _) | Change::DeviceRemove(of), _) => number(connection, of.tenant, of.smtp).await?,
        _ => before,
    };
    for line in signed.lines(&changed, mailbox, left) {
        leave(connection, &line).await?;
    }
    Ok(changed)
}

async fn number(connection: &mut PgConnection, tenant: &TenantId, smtp: &Smtp) -> Result<Option<MailboxId>, Failure> {
    Ok(registry_mailboxes::find(connection, tenant, smtp).await?.map(|(mailbox, _)| MailboxId(mailbox)))
}

/// What became of it, and the mailbox whose device lost its token by it.
async fn apply(connection: &mut PgConnection, change: &Change<'_>) -> Result<(Changed, Option<MailboxId>), Failure> {
    let changed = match change {
        Change::Register(registration, now) => {
            let (registered, left) = registry_devices::register(connection, registration, *now).await?;
            return Ok((Changed::Registered(registered), left));
        }
        Change::Cutoff(of, cutoff) => {
            let set = "UPDATE device SET cutoff = $4 WHERE mailbox_id = (SELECT mailbox_id FROM mailbox WHERE tenant = $1 AND smtp = $2) AND name = $3";
            Changed::Found(set_one(connection, set, *of, registry_devices::micros(*cutoff)).await?)
        }
        Change::Activity(of, at) => {
            let set = "UPDATE device SET last_activity = greatest(last_activity, $4) \
                       WHERE mailbox_id = (SELECT mailbox_id FROM mailbox WHERE tenant = $1 AND smtp = $2) AND name = $3";
            Changed::Found(set_one(connection, set, *of, at.0).await?)
        }
        Change::DeviceRemove(of) => Changed::Removed(registry_devices::remove(connection, of.tenant, of.smtp, of.name).await?),
        Change::MailboxAdd(tenant, smtp, now) => {
            let (view, created) = registry_mailboxes::add(connection, tenant, smtp, *now).await?;
            Changed::Mailbox(view, created)
        }
        Change::MailboxRemove(tenant, smtp) => Changed::Removed(registry_mailboxes::remove(connection, tenant, smtp).await?),
        Change::KeyCreate(key) => {
            let query = sqlx::query(
                "INSERT INTO api_key (id, hash, role, tenant, note, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            );
            let query = query.bind(&*key.id).bind(&key.hash[..]).bind(names::role(key.role)).bind(&*key.tenant.0).bind(&*key.note);
            if query.bind(key.created_at.0).execute(&mut *connection).await?.rows_affected() == 0 {
                return Err(StoreError::Unusable("a key of this id exists".into()).into());
            }
            Changed::Found(true)
        }
        Change::KeyRevoke(id) => {
            Changed::Found(sqlx::query("DELETE FROM api_key WHERE id = $1").bind(*id).execute(&mut *connection).await?.rows_affected() == 1)
        }
        Change::Sending(allowed) => {
            sqlx::query("UPDATE cluster SET sending_allowed = $1").bind(*allowed).execute(&mut *connection).await?;
            Changed::Found(true)
        }
    };
    Ok((changed, None))
}

async fn set_one(connection: &mut PgConnection, set: &'static str, of: Of<'_>, value: i64) -> Result<bool, Failure> {
    let query = sqlx::query(set).bind(&*of.tenant.0).bind(of.smtp.as_str()).bind(of.name).bind(value);
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

/// Leaves one line.
pub(super) async fn leave(connection: &mut PgConnection, line: &AuditLine) -> Result<(), Failure> {
    let query = sqlx::query("INSERT INTO audit (at, who, what, object, status, tenant) VALUES ($1, $2, $3, $4, $5, $6)");
    let query = query.bind(line.at.0).bind(&*line.who).bind(&*line.what).bind(&*line.object);
    query.bind(i32::from(line.status)).bind(&*line.tenant.0).execute(connection).await?;
    Ok(())
}

/// Lines of the trail, newest first.
pub(super) async fn list(connection: &mut PgConnection, ask: &AuditAsk) -> Result<Vec<(i64, AuditLine)>, Failure> {
    let query = sqlx::query_as::<_, LineRow>(include_str!("queries/audit_list.sql"));
    let query = query.bind(ask.tenants.iter().map(|tenant| tenant.0.to_string()).collect::<Vec<_>>()).bind(ask.before);
    let query = query.bind(ask.since.map(|at| at.0)).bind(ask.until.map(|at| at.0)).bind(ask.who.as_deref());
    let query = query.bind(ask.what.as_deref()).bind(ask.object.as_deref()).bind(i64::from(ask.limit));
    let line = |(id, at, who, what, object, status, tenant): LineRow| {
        let status = u16::try_from(status).unwrap_or(0);
        (id, AuditLine { at: Timestamp(at), who, what, object, status, tenant: TenantId(tenant.into()) })
    };
    Ok(query.fetch_all(connection).await?.into_iter().map(line).collect())
}
