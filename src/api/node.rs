//! What administrators see of this node, and the switch that pauses all sending.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use postrider_actors::ports::registry_change::Change;
use postrider_actors::snapshot::{NodeSnapshot, Phase};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::api::Shared;
use crate::api::audit::Trail;
use crate::api::auth::Caller;
use crate::api::error::{ApiError, Refusals, done};
use crate::api::extract::Body;
use crate::api::fields::SendingBody;

/// This node among the others.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    node: String,
    /// This life of its process. As text, since it has 63 bits.
    session: String,
    /// `JOINING`, `GOOD`, `DRAINING`, `LEFT` or `BAD`.
    state: &'static str,
    /// Whether pushes and writes may begin at this moment.
    gate_open: bool,
    /// Whether sending is allowed on all nodes.
    sending_allowed: bool,
    /// Shards owned.
    shards: u32,
    /// Mailboxes watched, by phase.
    mailboxes: BTreeMap<&'static str, u32>,
}

impl From<NodeSnapshot> for Node {
    fn from(snapshot: NodeSnapshot) -> Self {
        Self {
            node: snapshot.node.to_string(),
            session: snapshot.session.to_string(),
            state: snapshot.state.as_str(),
            gate_open: snapshot.gate_open,
            sending_allowed: snapshot.sending_allowed,
            shards: snapshot.shards,
            mailboxes: Phase::ALL.iter().map(|phase| phase.as_str()).zip(snapshot.mailboxes).collect(),
        }
    }
}

/// Look at this node.
#[utoipa::path(get, path = "/v1/admin/node", tag = "admin", security(("bearer" = [])),
    responses((status = 200, body = Node, description = "This node"),
        Refusals))]
pub async fn node(State(api): State<Shared>) -> Json<Node> {
    Json(api.control.node().into())
}

/// Pause all sending on all nodes, or allow it again. What is not sent stays due until it expires.
#[utoipa::path(post, path = "/v1/admin/sending", tag = "admin", security(("bearer" = [])),
    request_body = SendingBody,
    responses((status = 204, description = "Switched; nodes notice at their next heartbeat"),
        Refusals))]
pub async fn sending(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    Body(body): Body<SendingBody>,
) -> Result<Response, ApiError> {
    // The switch is one for all companies: the key of one must not stop the pushes of another.
    if api.tenants.len() > 1 {
        return Err(ApiError::Forbidden("the node serves several companies: its operator switches sending with `postrider sending`"));
    }
    trail.change(&api, &caller, Change::Sending(body.allowed.0), 204).await?;
    tracing::warn!(by = %caller.name, allowed = body.allowed.0, "sending was switched");
    Ok(done())
}
