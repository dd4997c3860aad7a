//! What administrators do with mailboxes: add, list, look at, remove.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use postrider_actors::ports::registry_change::{Change, Changed};
use postrider_actors::ports::registry_store::{MailboxView, mistaken};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::audit::Trail;
use crate::api::auth::Caller;
use crate::api::error::{ApiError, Refusals, done, made};
use crate::api::extract::{MailboxParams, Page, SmtpPath};
use crate::api::{Shared, rfc3339};

/// A mailbox as an administrator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mailbox {
    /// Its address.
    smtp: String,
    /// Its tenant.
    tenant: String,
    /// The number of its row.
    id: i64,
    /// Its shard.
    shard: u16,
    /// Devices registered; it is watched while there is one.
    devices: u32,
    /// Whether its content at the beginning of the watch was taken stock of.
    seeded: bool,
    /// How often its sync state was committed.
    sync_seq: i64,
    /// Mail received before this is not announced (RFC 3339).
    watch_since: Option<String>,
    /// The newest receive time that was announced (RFC 3339).
    announced_until: Option<String>,
}

impl From<MailboxView> for Mailbox {
    fn from(view: MailboxView) -> Self {
        let time =
            |at: postrider_actors::time::Timestamp| (at.0 > 0 && at != postrider_actors::time::Timestamp::NEVER).then(|| rfc3339(at));
        Self {
            smtp: view.smtp.as_str().to_owned(),
            tenant: view.tenant.to_string(),
            id: view.mailbox.0,
            shard: view.shard.0,
            devices: view.devices,
            seeded: view.seeded,
            sync_seq: view.sync_seq,
            watch_since: time(view.watch_since),
            announced_until: time(view.announced_until),
        }
    }
}

/// One page of mailboxes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mailboxes {
    /// In the order of their addresses.
    mailboxes: Vec<Mailbox>,
    /// What to ask for as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Add a mailbox. It is watched once it has a device.
#[utoipa::path(put, path = "/v1/admin/mailboxes/{smtp}", tag = "admin", security(("bearer" = [])),
    params(MailboxParams),
    responses((status = 201, body = Mailbox, description = "It was added"), (status = 200, body = Mailbox, description = "It was there"),
        Refusals))]
pub async fn add(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    SmtpPath(smtp): SmtpPath,
) -> Result<Response, ApiError> {
    let tenant = caller.reach(&smtp)?;
    let changed = trail.change(&api, &caller, Change::MailboxAdd(tenant, &smtp, api.clock.now()), 200).await?;
    let Changed::Mailbox(view, created) = changed else { return Err(mistaken(&changed).into()) };
    trail.about(view.mailbox);
    api.control.shard_changed(view.shard);
    Ok(made(created, Mailbox::from(view)))
}

/// List mailboxes in the order of their addresses.
#[utoipa::path(get, path = "/v1/admin/mailboxes", tag = "admin", security(("bearer" = [])),
    params(("after" = Option<String>, Query, description = "The last address of the page before"),
        ("limit" = Option<u32>, Query, description = "How many; 100 unless told", minimum = 1, maximum = 1000)),
    responses((status = 200, body = Mailboxes, description = "One page"),
        Refusals))]
pub async fn list(State(api): State<Shared>, Extension(caller): Extension<Caller>, page: Page) -> Result<Json<Mailboxes>, ApiError> {
    let found = api.registry.mailbox_list(&caller.tenant.id, page.after.as_ref(), page.limit).await?;
    let full = u32::try_from(found.len()).is_ok_and(|n| n >= page.limit);
    let after = found.last().filter(|_| full).map(|last| last.smtp.as_str().to_owned());
    Ok(Json(Mailboxes { mailboxes: found.into_iter().map(Mailbox::from).collect(), after }))
}

/// Look at one mailbox.
#[utoipa::path(get, path = "/v1/admin/mailboxes/{smtp}", tag = "admin", security(("bearer" = [])),
    params(MailboxParams),
    responses((status = 200, body = Mailbox, description = "The mailbox"),
        Refusals))]
pub async fn find(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    SmtpPath(smtp): SmtpPath,
) -> Result<Json<Mailbox>, ApiError> {
    let tenant = caller.reach(&smtp)?;
    let view = api.registry.mailbox_find(tenant, &smtp).await?.ok_or(ApiError::NotFound("mailbox"))?;
    trail.about(view.mailbox);
    Ok(Json(view.into()))
}

/// Remove a mailbox and everything about it. A domain that is no longer allowed does not stand in the way.
#[utoipa::path(delete, path = "/v1/admin/mailboxes/{smtp}", tag = "admin", security(("bearer" = [])),
    params(MailboxParams),
    responses((status = 204, description = "Removed"),
        Refusals))]
pub async fn remove(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    SmtpPath(smtp): SmtpPath,
) -> Result<Response, ApiError> {
    match trail.change(&api, &caller, Change::MailboxRemove(&caller.tenant.id, &smtp), 204).await? {
        Changed::Removed(Some(shard)) => {
            api.control.shard_changed(shard);
            Ok(done())
        }
        Changed::Removed(None) => Err(ApiError::NotFound("mailbox")),
        other => Err(mistaken(&other).into()),
    }
}
