//! All routes of the API on one screen, and what stands around them.

use std::any::Any;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn, from_fn_with_state as layer, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::error::{ApiError, no_method, no_route};
use crate::api::{Shared, audit, auth, cluster, devices, health, limit, mailboxes, node, why};
use crate::telemetry::metrics;

/// What phones and mobile-management servers reach; with `admin_too`, administrators as well.
pub fn public(api: &Shared, admin_too: bool) -> Router {
    let mut routes = phones(api);
    if admin_too {
        routes = routes.merge(admin(api)).merge(monitoring().route_layer(layer(api.clone(), auth::authenticate_admin)));
    }
    guarded(api, routes)
}

/// What administrators and monitoring reach on an address of their own.
pub fn private(api: &Shared) -> Router {
    guarded(api, admin(api).merge(monitoring()))
}

fn phones(api: &Shared) -> Router<Shared> {
    Router::new()
        .route("/v1/mailboxes/{smtp}/devices", get(devices::list))
        .route("/v1/mailboxes/{smtp}/devices/{device}", put(devices::register).patch(devices::change).delete(devices::remove))
        .route("/v1/mailboxes/{smtp}/devices/{device}/activity", post(devices::activity))
        .route_layer(layer(api.clone(), auth::authenticate))
        .route_layer(from_fn(audit::noted))
}

fn admin(api: &Shared) -> Router<Shared> {
    Router::new()
        .route("/v1/admin/mailboxes", get(mailboxes::list))
        .route("/v1/admin/mailboxes/{smtp}", get(mailboxes::find).put(mailboxes::add).delete(mailboxes::remove))
        .route("/v1/admin/mailboxes/{smtp}/why", get(why::why))
        .route("/v1/admin/cluster", get(cluster::cluster))
        .route("/v1/admin/node", get(node::node))
        .route("/v1/admin/sending", post(node::sending))
        .route("/v1/admin/audit", get(audit::list))
        .route_layer(layer(api.clone(), auth::authenticate_admin))
        .route_layer(CatchPanicLayer::custom(panicked))
        .route_layer(layer(api.clone(), audit::audited))
}

fn monitoring() -> Router<Shared> {
    Router::new().route("/metrics", get(health::metrics))
}

/// Health is answered even under load; everything else goes through the limits first. The layer added last is met first.
fn guarded(api: &Shared, routes: Router<Shared>) -> Router {
    let health =
        Router::new().route("/healthz", get(health::live)).route("/readyz", get(health::ready)).method_not_allowed_fallback(no_method);
    routes
        .route("/openapi.json", get(health::description))
        .method_not_allowed_fallback(no_method)
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(api.settings.body_limit.len()))
        .layer(layer(api.clone(), announced_size))
        .layer(layer(limit::Load::new(&api.settings), limit::by_load))
        .layer(layer(api.clone(), limit::by_address))
        .merge(health)
        .layer(layer(api.clone(), observed))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(map_response(for_nobody_else))
        .with_state(api.clone())
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request made the API panic");
    ApiError::Internal.into_response()
}

/// Counts each request and notes it for those who look closely; the path's template, never the path.
async fn observed(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let begun = api.clock.monotonic();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let (template, status) = (route.as_ref().map(MatchedPath::as_str), response.status().as_u16());
    let took = api.clock.monotonic().since(begun);
    let route = metrics::Route::of(template);
    metrics::api_requests(route, metrics::Status::of(status), 1);
    metrics::api_request_seconds(route, took.as_secs_f64());
    tracing::debug!(%method, route = template.unwrap_or("none"), status, micros = took.as_micros(), "request");
    response
}

/// Refuses a body that says itself that it is too large, also where no body is read.
async fn announced_size(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let limit = api.settings.body_limit.len();
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > limit) { ApiError::TooLarge(limit).into_response() } else { next.run(request).await }
}

async fn for_nobody_else(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
