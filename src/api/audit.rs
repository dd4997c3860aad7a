//! The audit trail: one line for every call of an admin route, also refused ones, also when the caller hangs up.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postrider_actors::ids::Smtp;
use postrider_actors::ports::registry_store::AuditLine;

use crate::api::Shared;
use crate::api::error::ApiError;

/// How long writing the line may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where authentication notes who called.
#[derive(Clone, Default)]
pub struct Who(Arc<OnceLock<Arc<str>>>);

impl Who {
    /// Notes the caller; the first one stays.
    pub fn is(&self, name: &Arc<str>) {
        let _ = self.0.set(name.clone());
    }

    fn name(&self) -> &str {
        self.0.get().map_or("unknown", |name| name)
    }
}

/// Carries the call out in a task of its own, so that hanging up neither stops it half way nor keeps it out of the trail, and leaves the line.
pub async fn audited(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let task = tokio::spawn(async move {
        let (mut parts, body) = request.into_parts();
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let what = format!("{} {route}", parts.method);
        let object = object(&mut parts).await;
        let who = Who::default();
        parts.extensions.insert(who.clone());
        let response = next.run(Request::from_parts(parts, body)).await;
        leave(&api, AuditLine { at: api.clock.now(), who: who.name().to_owned(), what, object, status: response.status().as_u16() }).await;
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
