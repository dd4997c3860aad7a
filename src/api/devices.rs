//! What phones and mobile-management servers do: register devices, change, list and remove them, report that one was used.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use postrider_actors::ports::push_sender::{Channel, Provider};
use postrider_actors::ports::registry_change::{Change, Changed, Of};
use postrider_actors::ports::registry_store::{DeviceView, Registered, Registration, mistaken};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::audit::Trail;
use crate::api::auth::Caller;
use crate::api::error::{ApiError, Problem, Refusals, done, made};
use crate::api::extract::{Body, DeviceParams, DevicePath, MailboxParams, SmtpPath};
use crate::api::fields::{ChangeBody, RegisterBody};
use crate::api::{Shared, rfc3339};

/// A device as its user or an administrator sees it; the token is never shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The app's own name of the device.
    device: String,
    /// `apns` or `fcm`.
    provider: &'static str,
    /// `production` or `sandbox`; APNs only.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'static str>,
    /// Bundle id or package name.
    app: String,
    /// How often it was registered with another token, app or provider.
    generation: i64,
    /// When it was registered last (RFC 3339).
    registered_at: String,
    /// When it was last unlocked and used (RFC 3339).
    last_activity: String,
    /// After how many seconds without activity pushes lose sender, subject and preview.
    push_downgrade_cutoff_sec: u64,
}

impl From<DeviceView> for Device {
    fn from(view: DeviceView) -> Self {
        let (provider, environment) = match view.provider {
            Provider::Apns => ("apns", Some("production")),
            Provider::ApnsSandbox => ("apns", Some("sandbox")),
            Provider::Fcm => ("fcm", None),
        };
        Self {
            device: view.name,
            provider,
            environment,
            app: view.app.to_string(),
            generation: view.generation.0,
            registered_at: rfc3339(view.registered_at),
            last_activity: rfc3339(view.last_activity),
            push_downgrade_cutoff_sec: view.cutoff.as_secs(),
        }
    }
}

/// The devices of a mailbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct Devices {
    /// In the order of their names.
    devices: Vec<Device>,
}

/// What registering did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegisteredAnswer {
    /// Whether the device was not known before.
    created: bool,
}

/// Register a device, or register it anew. Counts as activity. Repeating it is safe.
#[utoipa::path(put, path = "/v1/mailboxes/{smtp}/devices/{device}", tag = "devices", security(("bearer" = [])),
    params(DeviceParams),
    request_body = RegisterBody,
    responses((status = 201, body = RegisteredAnswer, description = "It is registered"), (status = 200, body = RegisteredAnswer, description = "It was known"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The mailbox has as many devices as it may have"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Too many requests, or the mailbox's push tokens changed too often (`api.token_changes` an hour); `Retry-After` says how long to wait"),
        Refusals))]
pub async fn register(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    DevicePath(smtp, name): DevicePath,
    Body(body): Body<RegisterBody>,
) -> Result<Response, ApiError> {
    let tenant = caller.reach(&smtp)?.clone();
    let what = body.check()?;
    if !(api.serves)(&Channel { tenant: tenant.clone(), provider: what.provider, app: what.app.clone() }) {
        return Err(ApiError::invalid("app", "the company has no push credential for this app with this provider and environment"));
    }
    let registration = Registration {
        tenant,
        smtp,
        name,
        provider: what.provider,
        app: what.app,
        token: what.token,
        cutoff: what.cutoff,
        create_mailbox: caller.may_create_mailbox(),
    };
    api.token_changes.take(&registration, api.clock.monotonic())?;
    match trail.change(&api, &caller, Change::Register(&registration, api.clock.now()), 200).await? {
        Changed::Registered(Registered::Done { shard, created, .. }) => {
            api.control.shard_changed(shard);
            Ok(made(created, RegisteredAnswer { created }))
        }
        Changed::Registered(Registered::NoMailbox) => Err(ApiError::NotFound("mailbox, and these credentials may not create it")),
        Changed::Registered(Registered::TooManyDevices) => Err(ApiError::TooManyDevices),
        other => Err(mistaken(&other).into()),
    }
}

/// Change the cut-off of a device.
#[utoipa::path(patch, path = "/v1/mailboxes/{smtp}/devices/{device}", tag = "devices", security(("bearer" = [])),
    params(DeviceParams),
    request_body = ChangeBody,
    responses((status = 204, description = "Changed"),
        Refusals))]
pub async fn change(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    DevicePath(smtp, name): DevicePath,
    Body(body): Body<ChangeBody>,
) -> Result<Response, ApiError> {
    let tenant = caller.reach(&smtp)?;
    let change = Change::Cutoff(Of { tenant, smtp: &smtp, name: &name }, body.push_downgrade_cutoff_sec.0);
    found(trail.change(&api, &caller, change, 204).await?)
}

/// Remove a device and what was still to be pushed to it.
#[utoipa::path(delete, path = "/v1/mailboxes/{smtp}/devices/{device}", tag = "devices", security(("bearer" = [])),
    params(DeviceParams),
    responses((status = 204, description = "Removed"),
        Refusals))]
pub async fn remove(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    DevicePath(smtp, name): DevicePath,
) -> Result<Response, ApiError> {
    let tenant = caller.reach(&smtp)?;
    match trail.change(&api, &caller, Change::DeviceRemove(Of { tenant, smtp: &smtp, name: &name }), 204).await? {
        Changed::Removed(Some(shard)) => {
            api.control.shard_changed(shard);
            Ok(done())
        }
        Changed::Removed(None) => Err(ApiError::NotFound("device")),
        other => Err(mistaken(&other).into()),
    }
}

/// Report that the device was unlocked and used at this moment: pushes show details again for as long as its cut-off says.
#[utoipa::path(post, path = "/v1/mailboxes/{smtp}/devices/{device}/activity", tag = "devices", security(("bearer" = [])),
    params(DeviceParams),
    responses((status = 204, description = "Noted"),
        Refusals))]
pub async fn activity(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    DevicePath(smtp, name): DevicePath,
) -> Result<Response, ApiError> {
    let tenant = caller.reach(&smtp)?;
    let change = Change::Activity(Of { tenant, smtp: &smtp, name: &name }, api.clock.now());
    found(trail.change(&api, &caller, change, 204).await?)
}

/// List the devices of a mailbox.
#[utoipa::path(get, path = "/v1/mailboxes/{smtp}/devices", tag = "devices", security(("bearer" = [])),
    params(MailboxParams),
    responses((status = 200, body = Devices, description = "The devices"),
        Refusals))]
pub async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    SmtpPath(smtp): SmtpPath,
) -> Result<Json<Devices>, ApiError> {
    let tenant = caller.reach(&smtp)?;
    let devices = api.registry.device_list(tenant, &smtp).await?.ok_or(ApiError::NotFound("mailbox"))?;
    Ok(Json(Devices { devices: devices.into_iter().map(Device::from).collect() }))
}

fn found(changed: Changed) -> Result<Response, ApiError> {
    if changed.is_change() { Ok(done()) } else { Err(ApiError::NotFound("device")) }
}
