//! Remote control of the simulated world by plain HTTP: users, phones, mail, tokens, and a look at the books.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arrivals::{Arrivals, Mix};
use crate::ledger::{Device, Provider};
use crate::simulators::Simulators;
use crate::world::{MailSpec, WorldError};

/// One request makes at most so many users.
const MAX_USERS: usize = 100_000;
/// One request makes at most so many mails.
const MAX_MAILS: u64 = 1_000_000;
/// The longest wait for a verdict that can be asked for.
const MAX_WAIT_S: u64 = 300;

const HELP: &str = "\
GET  /                  this text
GET  /ledger?wait=5     the verdict; waits up to so many seconds for outstanding pushes
GET  /ledger/table      the same for people
GET  /snapshot          running totals and a sample payload
GET  /coverage?limitMs=2000  mailboxes that had no open stream with a live subscription for longer
POST /coverage          begin that account anew
POST /users             {\"count\": 10, \"prefix\": \"user\", \"domain\": \"example.com\"}: mailboxes user1@example.com ...
POST /devices           {\"provider\": \"apns\"|\"fcm\", \"token\": \"...\", \"mailbox\": \"...\", \"pushDowngradeCutoffSec\": 43200}:
                        the app is installed, and the books expect every mail to reach this phone
POST /devices/gone      {\"provider\": \"...\", \"token\": \"...\"}: the app was removed
POST /devices/activity  {\"token\": \"...\"}: the phone was used (tell the product as well)
POST /mail              {\"to\": \"...\", \"sender\": \"...\", \"subject\": \"...\", \"preview\": \"...\"}
POST /mail/burst        {\"count\": 100, \"rate\": 20, \"users\": [\"...\"], \"seed\": 1}: without users, to all mailboxes
POST /mail/read         {\"to\": \"...\", \"id\": \"...\"}; /mail/delete and /mail/move alike
POST /token             {\"email\": \"...\"}: a phone user's bearer token
POST /faults            {\"active\": false}
";

type Shared = Arc<Simulators>;
type Answer = Result<Json<Value>, Refused>;

/// A refusal for a person at a terminal.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> axum::response::Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<WorldError> for Refused {
    fn from(error: WorldError) -> Self {
        Self(StatusCode::NOT_FOUND, error.to_string())
    }
}

#[derive(Clone)]
struct Control {
    simulators: Shared,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Serves the remote control until cancelled.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(bind: SocketAddr, simulators: Shared, cancel: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::bind(bind).await?;
    let control = Control { simulators, tasks: TaskTracker::new(), cancel: cancel.clone() };
    let app = Router::new()
        .route("/", get(|| async { HELP }))
        .route("/ledger", get(ledger))
        .route("/ledger/table", get(table))
        .route("/snapshot", get(snapshot))
        .route("/coverage", get(coverage).post(restart_coverage))
        .route("/users", post(users))
        .route("/devices", post(devices))
        .route("/devices/gone", post(gone))
        .route("/devices/activity", post(activity))
        .route("/mail", post(mail))
        .route("/mail/burst", post(burst))
        .route("/mail/read", post(read))
        .route("/mail/delete", post(delete))
        .route("/mail/move", post(move_out))
        .route("/token", post(token))
        .route("/faults", post(faults))
        .with_state(control);
    axum::serve(listener, app).with_graceful_shutdown(cancel.cancelled_owned()).await
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait: u64,
}

async fn ledger(State(control): State<Control>, Query(Wait { wait }): Query<Wait>) -> Answer {
    let wait = Duration::from_secs(wait.min(MAX_WAIT_S));
    let verdict = control.simulators.ledger().verdict(wait).await;
    Ok(Json(json!(verdict)))
}

async fn table(State(control): State<Control>, Query(Wait { wait }): Query<Wait>) -> String {
    let wait = Duration::from_secs(wait.min(MAX_WAIT_S));
    control.simulators.ledger().verdict(wait).await.to_string()
}

async fn snapshot(State(control): State<Control>) -> Answer {
    Ok(Json(json!(control.simulators.ledger().snapshot())))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limit {
    #[serde(default)]
    limit_ms: u64,
}

async fn coverage(State(control): State<Control>, Query(Limit { limit_ms }): Query<Limit>) -> Answer {
    Ok(Json(json!(control.simulators.exchange().coverage(Duration::from_millis(limit_ms)))))
}

async fn restart_coverage(State(control): State<Control>) -> Answer {
    control.simulators.exchange().restart_coverage();
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Users {
    count: usize,
    #[serde(default = "user")]
    prefix: String,
    #[serde(default = "domain")]
    domain: String,
}

fn user() -> String {
    "user".to_owned()
}

fn domain() -> String {
    "example.com".to_owned()
}

async fn users(State(control): State<Control>, Json(ask): Json<Users>) -> Answer {
    if ask.count > MAX_USERS {
        return Err(Refused(StatusCode::BAD_REQUEST, format!("at most {MAX_USERS} users at a time")));
    }
    let world = control.simulators.world();
    let address = |number: usize| format!("{}{number}@{}", ask.prefix, ask.domain);
    let made = (1..=ask.count).filter(|number| world.add_mailbox(&address(*number))).count();
    Ok(Json(json!({ "made": made })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Phone {
    provider: Provider,
    token: String,
    mailbox: String,
    #[serde(default = "cutoff")]
    push_downgrade_cutoff_sec: u64,
}

fn cutoff() -> u64 {
    43_200
}

async fn devices(State(control): State<Control>, Json(ask): Json<Phone>) -> Answer {
    control.simulators.install(ask.provider, &ask.token);
    control.simulators.registered(&Device {
        token: ask.token,
        provider: ask.provider,
        mailbox: ask.mailbox,
        cutoff: Duration::from_secs(ask.push_downgrade_cutoff_sec),
    });
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Gone {
    provider: Provider,
    token: String,
}

async fn gone(State(control): State<Control>, Json(ask): Json<Gone>) -> Answer {
    control.simulators.uninstall(ask.provider, &ask.token);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Used {
    token: String,
}

async fn activity(State(control): State<Control>, Json(ask): Json<Used>) -> Answer {
    control.simulators.ledger().activity(&ask.token, jiff::Timestamp::now());
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Mail {
    to: String,
    #[serde(default = "sender")]
    sender: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    preview: String,
}

fn sender() -> String {
    "Ann Baker".to_owned()
}

async fn mail(State(control): State<Control>, Json(ask): Json<Mail>) -> Answer {
    let spec = MailSpec::new(ask.sender, ask.subject, ask.preview);
    let id = control.simulators.world().deliver(&ask.to, spec)?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
struct Burst {
    count: u64,
    rate: f64,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    seed: u64,
}

async fn burst(State(control): State<Control>, Json(ask): Json<Burst>) -> Answer {
    let users = if ask.users.is_empty() { control.simulators.world().addresses() } else { ask.users };
    if ask.count > MAX_MAILS || users.is_empty() || !ask.rate.is_finite() || ask.rate <= 0.0 {
        return Err(Refused(StatusCode::BAD_REQUEST, format!("1 to {MAX_MAILS} mails, a rate above 0, and users to get them")));
    }
    let arrivals = Arrivals { seed: ask.seed, users, mails: ask.count, rate: ask.rate, mix: Mix::plain() };
    let (simulators, cancel) = (Arc::clone(&control.simulators), control.cancel.clone());
    control.tasks.spawn(async move { arrivals.run(simulators.world(), &cancel, || {}).await });
    Ok(Json(json!({ "mails": ask.count })))
}

#[derive(Deserialize)]
struct Item {
    to: String,
    id: String,
}

async fn read(State(control): State<Control>, Json(ask): Json<Item>) -> Answer {
    control.simulators.world().mark_read(&ask.to, &ask.id)?;
    Ok(Json(json!({})))
}

async fn delete(State(control): State<Control>, Json(ask): Json<Item>) -> Answer {
    control.simulators.world().delete(&ask.to, &ask.id)?;
    Ok(Json(json!({})))
}

async fn move_out(State(control): State<Control>, Json(ask): Json<Item>) -> Answer {
    control.simulators.world().move_out(&ask.to, &ask.id)?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Email {
    email: String,
}

async fn token(State(control): State<Control>, Json(ask): Json<Email>) -> Answer {
    Ok(Json(json!({ "token": control.simulators.phone_user_token(&ask.email) })))
}

#[derive(Deserialize)]
struct Active {
    active: bool,
}

async fn faults(State(control): State<Control>, Json(ask): Json<Active>) -> Answer {
    control.simulators.set_faults_active(ask.active);
    Ok(Json(json!({})))
}
