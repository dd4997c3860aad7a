//! The driver against a small stand-in for the product's API.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post, put};
use axum::{Json, Router};

use super::*;
use crate::fleet::{Fleet, FleetMix};
use crate::simulators::Options;

/// Remembers devices by mailbox; refuses the first requests with 429, and everything for a foreign domain.
#[derive(Default)]
struct StandIn {
    devices: Mutex<HashMap<String, Vec<String>>>,
    hasty: AtomicU32,
    used: AtomicU32,
    bearers: Mutex<Vec<String>>,
}

type Product = State<Arc<StandIn>>;

async fn register(State(product): Product, Path((smtp, id)): Path<(String, String)>, headers: HeaderMap, body: Json<Value>) -> StatusCode {
    if product.hasty.fetch_add(1, Ordering::Relaxed) < 2 {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    let fields = ["provider", "app", "token", "pushDowngradeCutoffSec"];
    // Only Apple has environments; a name for one anywhere else is refused.
    let misplaced = body.get("environment").is_some() != (body["provider"] == "apns");
    if smtp.ends_with("@foreign.example") || misplaced || fields.iter().any(|field| body.get(field).is_none()) {
        return StatusCode::FORBIDDEN;
    }
    let bearer = headers["authorization"].to_str().unwrap_or_default().to_owned();
    product.bearers.lock().unwrap().push(bearer);
    product.devices.lock().unwrap().entry(smtp).or_default().push(id);
    StatusCode::CREATED
}

async fn list(State(product): Product, Path(smtp): Path<String>) -> Result<Json<Value>, StatusCode> {
    let devices = product.devices.lock().unwrap();
    let known = devices.get(&smtp).ok_or(StatusCode::NOT_FOUND)?;
    let devices: Vec<_> = known.iter().map(|id| json!({"device": id})).collect();
    Ok(Json(json!({ "devices": devices })))
}

async fn activity(State(product): Product) -> StatusCode {
    product.used.fetch_add(1, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

async fn stand_in() -> (Arc<StandIn>, String) {
    let product = Arc::new(StandIn::default());
    let app = Router::new()
        .route("/healthz", get(|| async {}))
        .route("/v1/mailboxes/{smtp}/devices", get(list))
        .route("/v1/mailboxes/{smtp}/devices/{id}", put(register))
        .route("/v1/mailboxes/{smtp}/devices/{id}/activity", post(activity))
        .with_state(Arc::clone(&product));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (product, api)
}

async fn driver(api: &str, caller: Caller) -> Driver {
    let simulators = Simulators::start(Options::default()).await.unwrap();
    Driver::new(api, caller, Arc::new(simulators)).unwrap()
}

#[tokio::test]
async fn a_fleet_registers_through_refusals_that_pass_and_is_owed_its_mail() {
    let (product, api) = stand_in().await;
    let driver = driver(&api, Caller::ApiKey("key".to_owned())).await;
    assert!(driver.wait_healthy(Duration::from_secs(5)).await);
    let fleet = Fleet::plan(1, 20, "user", "example.com", FleetMix::varied());
    let registered = driver.register_all(&fleet.phones, &ProgressBar::hidden()).await;
    assert_eq!((registered.phones, registered.failures.len()), (fleet.phones.len(), 0));
    assert!(product.bearers.lock().unwrap().iter().all(|bearer| bearer == "Bearer key"));
    let verdict = driver.simulators.ledger().judge();
    assert_eq!((verdict.mailboxes, verdict.devices), (20, fleet.phones.len() as u64));
    assert_eq!(driver.simulators.world().addresses().len(), 20);
    driver.report_use(&fleet.phones[0]).await.unwrap();
    assert_eq!(product.used.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status_and_nothing_is_owed_to_the_phone() {
    let (_, api) = stand_in().await;
    let driver = driver(&api, Caller::Users).await;
    let fleet = Fleet::plan(1, 1, "user", "foreign.example", FleetMix::plain());
    let registered = driver.register_all(&fleet.phones, &ProgressBar::hidden()).await;
    assert_eq!(registered.phones, 0);
    assert!(matches!(registered.failures[..], [ApiError::Refused { status: StatusCode::FORBIDDEN, .. }]));
    assert_eq!(driver.simulators.ledger().judge().devices, 0);
}

#[tokio::test]
async fn a_phone_that_the_product_forgot_is_named_unless_its_provider_gave_it_up() {
    let (product, api) = stand_in().await;
    let driver = driver(&api, Caller::Users).await;
    let fleet = Fleet::plan(1, 3, "user", "example.com", FleetMix::plain());
    driver.register_all(&fleet.phones, &ProgressBar::hidden()).await;
    assert!(driver.forgotten_without_reason(&fleet.phones).await.is_empty());
    assert!(product.bearers.lock().unwrap()[0].split('.').count() == 3, "a user's own token is a JWT");
    product.devices.lock().unwrap().remove("user1@example.com");
    product.devices.lock().unwrap().remove("user2@example.com");
    let gone = &fleet.phones[0].device;
    driver.simulators.uninstall(gone.provider, &gone.token);
    assert_eq!(driver.forgotten_without_reason(&fleet.phones).await, ["user2@example.com phone-1"]);
}
