//! Sends pushes to FCM with one service account, and says what became of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue};
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Permit, Provider, Push, Verdict};
use reqwest::Url;
use tokio::time::Instant;

use super::error::FcmError;
use super::payload;
use super::token::{Access, AccessToken, NoToken, ServiceAccount};
use super::verdict::{self, Reading};
use crate::config::push as config;
use crate::http::lanes::{Call, Failure, Lanes};
use crate::http::room::Room;
use crate::http::{ClientOptions, TrustRoots, USER_AGENT as OURSELVES, client, retry_after};
use crate::probe::{Step, push_to_nobody};
use crate::telemetry::metrics;

/// One service account: its connections, its token, its room.
pub struct FcmSender {
    name: String,
    messages: PathAndQuery,
    token: AccessToken,
    lanes: Lanes,
    room: Room,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for FcmSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FcmSender({})", self.name)
    }
}

impl FcmSender {
    /// Sets a credential up. Nothing is opened before the first push.
    ///
    /// # Errors
    /// A service account, an address or trust roots that cannot be used.
    pub fn new(push: &config::Push, fcm: &config::Fcm, clock: Arc<dyn Clock>) -> Result<Self, FcmError> {
        let account = ServiceAccount::parse(&fcm.service_account.read().map_err(FcmError::Secret)?, fcm)?;
        let options = ClientOptions {
            connect_timeout: push.connect_timeout,
            keep_alive: push.keep_alive,
            ..ClientOptions::new(TrustRoots::load(&fcm.roots)?)
        };
        let (server, messages) = messages_address(&fcm.url, &account.project)?;
        let name = format!("FCM, tenant {}, app {}", fcm.tenant, fcm.app);
        Ok(Self {
            messages,
            token: AccessToken::new(account, client(&options)?, Arc::clone(&clock)),
            lanes: Lanes::new(&name, &options, server, fcm.connections).ok_or_else(|| FcmError::Url(fcm.url.clone()))?,
            room: Room::new(fcm.in_flight, push.room_timeout),
            timeout: push.timeout,
            name,
            clock,
        })
    }

    /// Waits for room, at most as long as configured.
    ///
    /// # Errors
    /// [`Verdict::Later`] when there was none in time.
    pub async fn permit(&self) -> Result<Permit, Verdict> {
        match self.room.enter().await {
            Some(place) => Ok(Permit::new(place)),
            None => Err(Verdict::Later { after: None, reason: "no-room".into() }),
        }
    }

    /// Sends one push; a refused access token is renewed once and the push repeated.
    pub async fn send(&self, push: &Push) -> Verdict {
        self.deliver(push, false).await
    }

    async fn deliver(&self, push: &Push, validate_only: bool) -> Verdict {
        let deadline = Instant::now() + self.timeout;
        let mut access = match self.token.current(deadline).await {
            Ok(access) => access,
            Err(error) => return without_token(error),
        };
        let mut renewed = false;
        loop {
            match self.attempt(deadline, push, validate_only, &access).await {
                Reading::Settled(verdict) => {
                    if verdict == Verdict::Accepted {
                        self.token.works(&access);
                    }
                    return verdict;
                }
                Reading::QuotaExceeded(verdict) => {
                    metrics::throttled(metrics::Peer::Fcm, 1);
                    return verdict;
                }
                Reading::TokenRefused(verdict) if renewed => return verdict,
                Reading::TokenRefused(_) => match self.token.renewed(&access, deadline).await {
                    Ok(other) => (access, renewed) = (other, true),
                    Err(error) => return without_token(error),
                },
            }
        }
    }

    async fn attempt(&self, deadline: Instant, push: &Push, validate_only: bool, access: &Access) -> Reading {
        let body = Bytes::from(payload::payload(push, self.clock.now(), validate_only));
        let headers = || {
            let mut headers = HeaderMap::with_capacity(3);
            headers.insert(AUTHORIZATION, access.header.clone());
            headers.insert(USER_AGENT, HeaderValue::from_static(OURSELVES));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
            headers
        };
        match self.lanes.exchange(deadline, &Call { path: self.messages.clone(), headers: &headers, body }).await {
            Ok(answer) => verdict::read(answer.status.as_u16(), retry_after(&answer.headers, self.clock.now()), &answer.body),
            Err(Failure::NotTaken(reason)) => Reading::Settled(Verdict::Later { after: None, reason }),
            Err(Failure::Unknown(reason)) => Reading::Settled(Verdict::Unknown { reason }),
        }
    }

    /// Checks the credential against the service itself: a token is fetched, and a message to a device that nobody has is judged without being sent.
    pub async fn check(&self) -> Vec<Step> {
        let tried = format!("{}: fetch an access token", self.name);
        let mut steps = Vec::new();
        match self.token.current(Instant::now() + self.timeout).await {
            Ok(_) => steps.push(Step::good(tried, "granted")),
            Err(NoToken::Refused(reason)) => {
                steps.push(Step::bad(
                    tried,
                    format!("{reason}: the service account is not valid; make a new key for it, and check this machine's clock"),
                ));
                return steps;
            }
            Err(NoToken::Unavailable { reason, .. }) => {
                steps.push(Step::bad(tried, format!("{reason}: check the way to the token endpoint (firewall, `roots`) and try again")));
                return steps;
            }
        }
        let tried = format!("{}: have a message judged without sending it", self.name);
        steps.push(match self.deliver(&push_to_nobody(Provider::Fcm, "nobody", self.clock.now()), true).await {
            Verdict::Accepted | Verdict::DeviceGone { .. } => Step::good(tried, "judged: project and account are good"),
            verdict => Step::bad(tried, advice(&verdict)),
        });
        steps
    }
}

/// What to do about an answer that a check did not hope for.
fn advice(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted | Verdict::DeviceGone { .. } => "nothing".into(),
        Verdict::Credentials { reason } => {
            format!("{reason}: give the service account the role for Firebase Cloud Messaging and enable the API in the project")
        }
        Verdict::Refused { reason } | Verdict::Undeliverable { reason } => format!("{reason}: check `project` and `url`"),
        Verdict::Later { reason, .. } | Verdict::Unknown { reason } => {
            format!("{reason}: check the way to the service (`url`, firewall, `roots`) and try again")
        }
    }
}

fn without_token(error: NoToken) -> Verdict {
    match error {
        NoToken::Refused(reason) => Verdict::Credentials { reason },
        NoToken::Unavailable { after, reason } => Verdict::Later { after, reason },
    }
}

/// The server, and the path of the project's messages.
fn messages_address(base: &str, project: &str) -> Result<(Authority, PathAndQuery), FcmError> {
    let wrong = || FcmError::Url(base.to_owned());
    let url = Url::parse(base).map_err(|_| wrong())?;
    if url.scheme() != "https" {
        return Err(wrong());
    }
    let messages = url.join(&format!("/v1/projects/{project}/messages:send")).map_err(|_| wrong())?;
    let server = Authority::try_from(messages.authority()).map_err(|_| wrong())?;
    Ok((server, PathAndQuery::try_from(messages.path()).map_err(|_| wrong())?))
}
