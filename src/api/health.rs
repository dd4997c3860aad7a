//! What monitoring asks: whether the process lives, whether the node works, its metrics, and the description of the API.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use postrider_actors::snapshot::NodeState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::{ApiError, Problem};
use crate::api::{Shared, openapi};

/// A node that is well.
#[derive(Debug, Serialize, ToSchema)]
pub struct Well {
    /// Always `ok`.
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "monitoring", responses((status = 200, body = Well, description = "It lives")))]
pub async fn live() -> Json<Well> {
    Json(Well { status: "ok" })
}

/// Whether the node is GOOD and may act.
#[utoipa::path(get, path = "/readyz", tag = "monitoring",
    responses((status = 200, body = Well, description = "It works"), (status = 503, body = Problem, content_type = "application/problem+json", description = "Why not")))]
pub async fn ready(State(api): State<Shared>) -> Result<Json<Well>, ApiError> {
    let node = api.control.node();
    if node.state != NodeState::Good {
        return Err(ApiError::NotReady(format!("the node is {}", node.state.as_str()).into()));
    }
    if !node.gate_open {
        return Err(ApiError::NotReady("the node's last heartbeat is too old: it may not act until the database answers".into()));
    }
    Ok(Json(Well { status: "ok" }))
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "monitoring",
    responses((status = 200, body = String, content_type = "text/plain", description = "The metrics"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "On an address shared with phones an admin key is wanted")))]
pub async fn metrics(State(api): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.metrics_text)())
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "monitoring", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn description() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], openapi::document())
}
