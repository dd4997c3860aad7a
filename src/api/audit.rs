//! The audit trail: a line for every call of an admin route with a key, also a refused one, also when the caller hangs up, and for every change made with a key, in
//! the transaction of the change. Callers without a key leave no line: they are counted and logged (see `strangers.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::registry_change::{Change, Changed, Signed};
use postrider_actors::ports::registry_store::AuditLine;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::{Caller, Kind};
use crate::api::error::{ApiError, Refusals};
use crate::api::extract::AuditPage;
use crate::api::{Shared, rfc3339};

/// How long writing the line may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where authentication notes who called, and handlers about which mailbox.
#[derive(Clone, Default)]
pub struct Trail(Arc<Noted>);

#[derive(Default)]
struct Noted {
    what: String,
    object: String,
    caller: OnceLock<Caller>,
    mailbox: OnceLock<MailboxId>,
    /// Whether the line was left with the change itself.
    left: AtomicBool,
}

impl Trail {
    fn new(what: String, object: String) -> Self {
        Self(Arc::new(Noted { what, object, ..Noted::default() }))
    }

    /// Notes the caller; the first one stays.
    pub fn by(&self, caller: &Caller) {
        let _ = self.0.caller.set(caller.clone());
    }

    /// Notes the mailbox that was found, so that the line tells it from others whose addresses look the same when they are shortened.
    pub fn about(&self, mailbox: MailboxId) {
        let _ = self.0.mailbox.set(mailbox);
    }

    /// Carries a change out together with its line.
    ///
    /// # Errors
    /// The store's.
    pub async fn change(&self, api: &Shared, caller: &Caller, change: Change<'_>, status: u16) -> Result<Changed, ApiError> {
        let Noted { what, object, .. } = &*self.0;
        let line = AuditLine {
            at: api.clock.now(),
            who: (*caller.name).to_owned(),
            what: what.clone(),
            object: object.clone(),
            status,
            tenant: caller.tenant.id.clone(),
        };
        let by_key = matches!(caller.kind, Kind::Key(_));
        let changed = api.registry.change(change, Some(&Signed { line, moves_only: !by_key })).await?;
        self.0.left.store(changed.is_change(), Ordering::Relaxed);
        Ok(changed)
    }

    /// What is left to be written: nothing for callers without a key, or when the change took its line along.
    fn rest(&self, api: &Shared, status: u16) -> Option<AuditLine> {
        let caller = self.0.caller.get().filter(|caller| matches!(caller.kind, Kind::Key(_)))?;
        if self.0.left.load(Ordering::Relaxed) {
            return None;
        }
        let object = match self.0.mailbox.get() {
            Some(mailbox) => format!("{} (mailbox {mailbox})", self.0.object),
            None => self.0.object.clone(),
        };
        let (who, what, tenant) = ((*caller.name).to_owned(), self.0.what.clone(), caller.tenant.id.clone());
        Some(AuditLine { at: api.clock.now(), who, what, object, status, tenant })
    }
}

/// Makes the trail known to the routes of phones: what changes there with a key leaves its line with the change, what only looks leaves none.
pub async fn noted(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let trail = trail(&mut parts).await;
    parts.extensions.insert(trail);
    next.run(Request::from_parts(parts, body)).await
}

/// Carries the call out in a task of its own, so that hanging up neither stops it half way nor keeps it out of the trail, and leaves the line.
pub async fn audited(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let task = tokio::spawn(async move {
        let (mut parts, body) = request.into_parts();
        let trail = trail(&mut parts).await;
        parts.extensions.insert(trail.clone());
        let response = next.run(Request::from_parts(parts, body)).await;
        let status = response.status().as_u16();
        if let Some(caller) = trail.0.caller.get() {
            // The mailbox stands in the trail only: logs above DEBUG hold no address, not even a shortened one.
            tracing::info!(target: "postrider::audit", who = %caller.name, what = %trail.0.what, status, "admin call");
        }
        if let Some(line) = trail.rest(&api, status) {
            leave(&api, line).await;
        }
        response
    });
    task.await.unwrap_or_else(|_| ApiError::Internal.into_response())
}

async fn trail(parts: &mut axum::http::request::Parts) -> Trail {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let what = format!("{} {route}", parts.method);
    Trail::new(what, object(parts).await)
}

/// The mailbox in the path, shortened as everywhere but in answers.
async fn object(parts: &mut axum::http::request::Parts) -> String {
    let found = RawPathParams::from_request_parts(parts, &()).await.ok();
    let smtp = found.as_ref().and_then(|found| found.iter().find(|(key, _)| *key == "smtp"));
    smtp.map(|(_, value)| Smtp::new(value).to_string().chars().filter(|c| !c.is_control()).take(100).collect()).unwrap_or_default()
}

async fn leave(api: &Shared, line: AuditLine) {
    match tokio::time::timeout(WRITE_TIMEOUT, api.registry.audit(&line)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the audit line could not be kept; it is in this log only"),
        Err(_) => tracing::warn!("the audit line could not be kept in time; it is in this log only"),
    }
}

/// One line of the trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    /// Its number; lines are left in the order of their numbers.
    id: i64,
    /// When (RFC 3339).
    at: String,
    /// The key, the hash of a user, or the command line.
    who: String,
    /// Method and route, or the command.
    what: String,
    /// What it was about: a shortened address with the number of its mailbox, or a key.
    object: String,
    /// The status of the answer.
    status: u16,
}

/// One page of the trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lines {
    /// Newest first.
    lines: Vec<Line>,
    /// What to ask for as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
}

/// List the audit trail of the company, newest first.
#[utoipa::path(get, path = "/v1/admin/audit", tag = "admin", security(("bearer" = [])),
    params(("before" = Option<i64>, Query, description = "The number of the last line of the page before", minimum = 1),
        ("limit" = Option<u32>, Query, description = "How many; 100 unless told", minimum = 1, maximum = 1000),
        ("since" = Option<String>, Query, description = "Not before this moment (RFC 3339)", format = "date-time"),
        ("until" = Option<String>, Query, description = "Before this moment (RFC 3339)", format = "date-time"),
        ("who" = Option<String>, Query, description = "Of this caller, exactly", min_length = 1, max_length = 200),
        ("what" = Option<String>, Query, description = "Whose action has this in it", min_length = 1, max_length = 200),
        ("object" = Option<String>, Query, description = "Whose object has this in it", min_length = 1, max_length = 200)),
    responses((status = 200, body = Lines, description = "One page"),
        Refusals))]
pub async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    AuditPage(mut ask): AuditPage,
) -> Result<Json<Lines>, ApiError> {
    ask.tenants = vec![caller.tenant.id.clone()];
    if api.tenants.len() == 1 {
        // What was done on the command line concerns the only company there is.
        ask.tenants.push(TenantId("".into()));
    }
    let limit = ask.limit;
    let found = api.registry.audit_list(&ask).await?;
    let full = u32::try_from(found.len()).is_ok_and(|n| n >= limit);
    let before = found.last().filter(|_| full).map(|(id, _)| *id);
    let line = |(id, line): (i64, AuditLine)| {
        let AuditLine { at, who, what, object, status, tenant: _ } = line;
        Line { id, at: rfc3339(at), who, what, object, status }
    };
    Ok(Json(Lines { lines: found.into_iter().map(line).collect(), before }))
}
