//! The audit trail: one line for every call of an admin route, also refused ones, also when the caller hangs up.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postrider_actors::ids::{MailboxId, Smtp};
use postrider_actors::ports::registry_store::AuditLine;

use crate::api::Shared;
use crate::api::error::ApiError;

/// How long writing the line may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where authentication notes who called, and handlers about which mailbox.
#[derive(Clone, Default)]
pub struct Trail(Arc<Noted>);

#[derive(Default)]
struct Noted {
    who: OnceLock<Arc<str>>,
    mailbox: OnceLock<MailboxId>,
}

impl Trail {
    /// Notes the caller; the first one stays.
    pub fn by(&self, name: &Arc<str>) {
        let _ = self.0.who.set(name.clone());
    }

    /// Notes the mailbox that was found, so that the line tells it from others whose addresses look the same when they are shortened.
    pub fn about(&self, mailbox: MailboxId) {
        let _ = self.0.mailbox.set(mailbox);
    }

    fn who(&self) -> String {
        self.0.who.get().map_or("unknown", |name| name).to_owned()
    }

    /// The address as it was asked for, shortened, and the mailbox's number, which says nothing about a person once the mailbox is removed.
    fn object(&self, address: String) -> String {
        match self.0.mailbox.get() {
            Some(mailbox) => format!("{address} (mailbox {mailbox})"),
            None => address,
        }
    }
}

/// Carries the call out in a task of its own, so that hanging up neither stops it half way nor keeps it out of the trail, and leaves the line.
pub async fn audited(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let task = tokio::spawn(async move {
        let (mut parts, body) = request.into_parts();
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let what = format!("{} {route}", parts.method);
        let object = object(&mut parts).await;
        let trail = Trail::default();
        parts.extensions.insert(trail.clone());
        let response = next.run(Request::from_parts(parts, body)).await;
        let (who, object, status) = (trail.who(), trail.object(object), response.status().as_u16());
        leave(&api, AuditLine { at: api.clock.now(), who, what, object, status }).await;
        response
    });
    task.await.unwrap_or_else(|_| ApiError::Internal.into_response())
}

/// The mailbox in the path, shortened as everywhere but in answers.
async fn object(parts: &mut axum::http::request::Parts) -> String {
    let found = RawPathParams::from_request_parts(parts, &()).await.ok();
    let smtp = found.as_ref().and_then(|found| found.iter().find(|(key, _)| *key == "smtp"));
    smtp.map(|(_, value)| Smtp::new(value).to_string().chars().filter(|c| !c.is_control()).take(100).collect()).unwrap_or_default()
}

async fn leave(api: &Shared, line: AuditLine) {
    // The mailbox stands in the trail only: logs above DEBUG hold no address, not even a shortened one.
    tracing::info!(target: "postrider::audit", who = %line.who, what = %line.what, status = line.status, "admin call");
    match tokio::time::timeout(WRITE_TIMEOUT, api.registry.audit(&line)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the audit line could not be kept; it is in this log only"),
        Err(_) => tracing::warn!("the audit line could not be kept in time; it is in this log only"),
    }
}
