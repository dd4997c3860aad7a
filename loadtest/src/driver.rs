//! A fleet of phones as the product's public API sees it: registrations, reports of use, removals.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::fleet::FleetPhone;
use crate::ledger::Provider;
use crate::simulators::Simulators;

/// Requests under way at a time.
const CONCURRENCY: usize = 32;
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// A request that is told to come later is repeated so often.
const ATTEMPTS: u32 = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Phones with a short cut-off are used once in so long, on average.
const USE_EVERY: Duration = Duration::from_secs(5);

/// As whom the phones speak.
#[derive(Clone)]
pub enum Caller {
    /// A management server with an API key.
    ApiKey(String),
    /// Each user with a token of the company's identity provider.
    Users,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey",
            Self::Users => "Users",
        })
    }
}

/// Why the product did not do what a phone asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer.
    #[error("the API did not answer: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// A refusal.
    #[error("{path} was answered with {status}: {problem}")]
    Refused {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: StatusCode,
        /// The problem document, or what came instead.
        problem: String,
    },
}

/// How registering a fleet went.
#[derive(Debug, Default)]
pub struct Registered {
    /// Phones that the product took.
    pub phones: usize,
    /// Why it did not take the others; the first few.
    pub failures: Vec<ApiError>,
}

/// Speaks to one product for a fleet of phones, and keeps the books of the simulated world at the same time.
#[derive(Clone)]
pub struct Driver {
    client: Client,
    api: String,
    caller: Caller,
    simulators: Arc<Simulators>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("api", &self.api).field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver for the product whose API is at `api` (`http://host:port`); certificates of the simulated authority are trusted.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(api: &str, caller: Caller, simulators: Arc<Simulators>) -> Result<Self, ApiError> {
        crate::tls::install_provider();
        let root = reqwest::Certificate::from_pem(simulators.ca_pem().as_bytes())?;
        let client = Client::builder().tls_certs_only([root]).timeout(REQUEST_DEADLINE).build()?;
        Ok(Self { client, api: api.trim_end_matches('/').to_owned(), caller, simulators })
    }

    /// Waits until the product says that it is healthy, at most for `deadline`.
    pub async fn wait_healthy(&self, deadline: Duration) -> bool {
        let healthy = async {
            loop {
                let answer = self.client.get(format!("{}/healthz", self.api)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(deadline, healthy).await.is_ok()
    }

    /// Makes the mailboxes and registers every phone.
    pub async fn register_all(&self, phones: &[FleetPhone], progress: &ProgressBar) -> Registered {
        progress.set_length(phones.len() as u64);
        let each = stream::iter(phones).map(|phone| async move {
            let done = self.register(phone).await;
            progress.inc(1);
            done
        });
        let mut result = Registered::default();
        let mut running = each.buffer_unordered(CONCURRENCY);
        while let Some(done) = running.next().await {
            match done {
                Ok(()) => result.phones += 1,
                Err(error) if result.failures.len() < 5 => result.failures.push(error),
                Err(_) => {}
            }
        }
        result
    }

    /// Registers one phone; the simulated provider knows it before, the books know it after.
    ///
    /// # Errors
    /// When the product refuses, or does not answer.
    pub async fn register(&self, phone: &FleetPhone) -> Result<(), ApiError> {
        let device = &phone.device;
        self.simulators.world().add_mailbox(&device.mailbox);
        self.simulators.install(device.provider, &device.token);
        let mut body = json!({
            "provider": device.provider.to_string(),
            "app": Credentials::APP,
            "token": device.token,
            "pushDowngradeCutoffSec": device.cutoff.as_secs(),
        });
        if device.provider == Provider::Apns {
            body["environment"] = json!("production");
        }
        self.ask(Method::PUT, phone, "", Some(&body)).await?;
        self.simulators.registered(device);
        Ok(())
    }

    /// The phone was unlocked and used.
    ///
    /// # Errors
    /// When the product refuses, or does not answer.
    pub async fn report_use(&self, phone: &FleetPhone) -> Result<(), ApiError> {
        // Before the request: the product may act on it before it has answered.
        self.simulators.ledger().activity(&phone.device.token, jiff::Timestamp::now());
        self.ask(Method::POST, phone, "/activity", None).await
    }

    /// The user removes the phone.
    ///
    /// # Errors
    /// When the product refuses, or does not answer.
    pub async fn remove(&self, phone: &FleetPhone) -> Result<(), ApiError> {
        self.simulators.ledger().forgotten(&phone.device.token);
        self.ask(Method::DELETE, phone, "", None).await
    }

    /// Phones that the product should still know and does not, out of those that their provider has not given up. More than
    /// [`Registered::failures`] are not worth a list: only the first few are named.
    pub async fn forgotten_without_reason(&self, phones: &[FleetPhone]) -> Vec<String> {
        let missing = stream::iter(phones)
            .map(|phone| async move {
                let kept = self.knows(phone).await;
                let gone = self.is_gone(phone);
                (!kept && !gone).then(|| format!("{} {}", phone.device.mailbox, phone.id))
            })
            .buffer_unordered(CONCURRENCY);
        missing.filter_map(|name| async move { name }).take(20).collect().await
    }

    fn is_gone(&self, phone: &FleetPhone) -> bool {
        let device = &phone.device;
        let phones = match device.provider {
            Provider::Apns => self.simulators.apple().phones(),
            Provider::Fcm => self.simulators.google().phones(),
        };
        matches!(phones.find(&device.token, ""), Some(crate::phones::Phone::Gone { .. }))
    }

    /// Whether the product lists the phone; a product that does not answer is taken to know it.
    async fn knows(&self, phone: &FleetPhone) -> bool {
        let path = format!("/v1/mailboxes/{}/devices", phone.device.mailbox);
        let request = self.client.get(format!("{}{path}", self.api)).bearer_auth(self.bearer(&phone.device.mailbox));
        let Ok(answer) = request.send().await else {
            return true;
        };
        match answer.status() {
            StatusCode::NOT_FOUND => false,
            StatusCode::OK => {
                let list: Value = answer.json().await.unwrap_or(Value::Null);
                list.to_string().contains(&format!("\"{}\"", phone.id))
            }
            _ => true,
        }
    }

    /// Uses the phones with a short cut-off now and then until cancelled, so that details go and come back.
    pub async fn use_phones(&self, phones: &[FleetPhone], cancel: &CancellationToken) {
        let short = |phone: &&FleetPhone| (1..600).contains(&phone.device.cutoff.as_secs());
        let short: Vec<&FleetPhone> = phones.iter().filter(short).collect();
        if short.is_empty() {
            return;
        }
        let pause = USE_EVERY / short.len() as u32;
        loop {
            let wait = pause.mul_f64(rand::random_range(0.5..1.5));
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let phone = short[rand::random_range(0..short.len())];
            // A report that is lost is a report that was not made: the books only let the phone show more than it will.
            let _ = self.report_use(phone).await;
        }
    }

    fn bearer(&self, user: &str) -> String {
        match &self.caller {
            Caller::ApiKey(key) => key.clone(),
            Caller::Users => self.simulators.phone_user_token(user),
        }
    }

    async fn ask(&self, method: Method, phone: &FleetPhone, rest: &str, body: Option<&Value>) -> Result<(), ApiError> {
        let path = format!("/v1/mailboxes/{}/devices/{}{rest}", phone.device.mailbox, phone.id);
        let bearer = self.bearer(&phone.device.mailbox);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.api)).bearer_auth(&bearer);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if may_repeat(answer.status()) && attempt < ATTEMPTS => {
                    tokio::time::sleep(told_to_wait(&answer, attempt)).await;
                }
                Ok(answer) => {
                    let status = answer.status();
                    let problem = answer.text().await.unwrap_or_default().chars().take(300).collect();
                    return Err(ApiError::Refused { path, status, problem });
                }
                Err(_) if attempt < ATTEMPTS => tokio::time::sleep(back_off(attempt)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn may_repeat(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn back_off(attempt: u32) -> Duration {
    Duration::from_millis(100 << attempt.min(6)).mul_f64(rand::random_range(0.5..1.5))
}

fn told_to_wait(answer: &reqwest::Response, attempt: u32) -> Duration {
    let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let told = header.and_then(|value| value.parse().ok()).map(Duration::from_secs);
    told.unwrap_or_else(|| back_off(attempt)).min(LONGEST_WAIT)
}

/// A progress bar with a name; it draws nothing where there is no terminal.
pub fn progress_bar(name: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {per_sec} {msg}");
    let bar = ProgressBar::new(0).with_prefix(name);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests;
