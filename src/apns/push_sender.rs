//! Sends pushes to Apple with one credential in one environment, and says what became of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, StatusCode};
use postrider_actors::ports::Clock;
use postrider_actors::ports::push_sender::{Permit, Provider, Push, Verdict};
use reqwest::Url;
use tokio::time::Instant;

use super::error::ApnsError;
use super::payload;
use super::token::{ProviderToken, ProviderTokens, Token};
use super::verdict::{self, Reading};
use crate::config::push as config;
use crate::http::lanes::{Answer, Call, Failure, Lanes};
use crate::http::room::Room;
use crate::http::{ClientOptions, TrustRoots, USER_AGENT as OURSELVES, retry_after};
use crate::notification::MAX_PAYLOAD_BYTES;
use crate::probe::{Step, push_to_nobody};
use crate::telemetry::metrics;

/// What a payload is shortened to when Apple finds one too large that we do not.
const SHORTER_PAYLOAD_BYTES: usize = 2048;
const TOPIC: HeaderName = HeaderName::from_static("apns-topic");
const PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const ID: HeaderName = HeaderName::from_static("apns-id");
const COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
/// A device token of the right form that no device has.
const NOBODY: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// Which of Apple's two services: a device token belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Apps from the store, and those signed for distribution.
    Production,
    /// Apps signed for development.
    Sandbox,
}

/// One credential in one environment: its connections, its token, its room.
#[derive(Debug)]
pub struct ApnsSender {
    name: String,
    /// The part of a device's address before its token.
    devices: String,
    topic: HeaderValue,
    token: Arc<ProviderToken>,
    lanes: Lanes,
    room: Room,
    timeout: Duration,
    clock: ClockHandle,
}

/// A clock with a `Debug` of its own.
struct ClockHandle(Arc<dyn Clock>);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// What tells one try of a push from the next.
struct Try {
    token: Token,
    payload: Bytes,
    renewed: bool,
    shortened: bool,
}

impl ApnsSender {
    /// Sets a credential up. Nothing is opened before the first push.
    ///
    /// # Errors
    /// A key, an address or trust roots that cannot be used.
    pub fn new(
        push: &config::Push,
        apns: &config::Apns,
        environment: Environment,
        tokens: &mut ProviderTokens,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ApnsError> {
        let key = apns.key.read().map_err(ApnsError::Secret)?;
        let options = ClientOptions {
            connect_timeout: push.connect_timeout,
            keep_alive: push.keep_alive,
            ..ClientOptions::new(TrustRoots::load(&apns.roots)?)
        };
        let (url, place) = match environment {
            Environment::Production => (&apns.url, "production"),
            Environment::Sandbox => (&apns.sandbox_url, "sandbox"),
        };
        let (server, devices) = devices_address(url)?;
        let name = format!("APNs {place}, tenant {}, app {}", apns.tenant, apns.app);
        Ok(Self {
            devices,
            topic: topic_header(apns.topic.as_ref().unwrap_or(&apns.app))?,
            token: tokens.of(&apns.team_id, &apns.key_id, &key)?,
            lanes: Lanes::new(&name, &options, server, apns.connections).ok_or_else(|| ApnsError::Url(url.clone()))?,
            room: Room::new(apns.in_flight, push.room_timeout),
            timeout: push.timeout,
            name,
            clock: ClockHandle(clock),
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

    /// Sends one push. Whatever was not taken for certain is repeated within the deadline at most once for each reason that a repeat can mend.
    pub async fn send(&self, push: &Push) -> Verdict {
        let deadline = Instant::now() + self.timeout;
        let mut this = match self.first_try(push) {
            Ok(this) => this,
            Err(verdict) => return verdict,
        };
        loop {
            let answer = match self.exchange(deadline, push, &this).await {
                Ok(answer) => answer,
                Err(Failure::NotTaken(reason)) => return Verdict::Later { after: None, reason },
                Err(Failure::Unknown(reason)) => return Verdict::Unknown { reason },
            };
            match self.read(&answer) {
                Reading::Settled(verdict) => {
                    if verdict == Verdict::Accepted {
                        self.token.works(&this.token);
                    }
                    return verdict;
                }
                reading @ (Reading::TokenExpired(_) | Reading::TokenInvalid(_)) => {
                    let expired = matches!(reading, Reading::TokenExpired(_));
                    let (Reading::TokenExpired(verdict) | Reading::TokenInvalid(verdict)) = reading else { continue };
                    // Noted in any case: another one is signed when the channel's first pause is over.
                    match self.another(&this.token, expired) {
                        Some(token) if !this.renewed => this = Try { token, renewed: true, ..this },
                        _ => return verdict,
                    }
                }
                Reading::TooLarge(verdict) if this.shortened => return verdict,
                Reading::TooLarge(_) => {
                    this = Try { payload: payload::payload(push, SHORTER_PAYLOAD_BYTES).into(), shortened: true, ..this };
                }
            }
        }
    }

    fn first_try(&self, push: &Push) -> Result<Try, Verdict> {
        let token = self.token.current(self.clock.0.now(), self.clock.0.monotonic());
        let token = token.map_err(|_| Verdict::Credentials { reason: "key-does-not-sign".into() })?;
        // The token becomes part of an address: letters that would make another address of it are not sent.
        if push.token.0.is_empty() || !push.token.0.bytes().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Verdict::Undeliverable { reason: "token-malformed".into() });
        }
        Ok(Try { token, payload: payload::payload(push, MAX_PAYLOAD_BYTES).into(), renewed: false, shortened: false })
    }

    async fn exchange(&self, deadline: Instant, push: &Push, this: &Try) -> Result<Answer, Failure> {
        let path = PathAndQuery::try_from(format!("{}{}", self.devices, push.token.0)).expect("a path, letters and digits");
        let headers = || self.headers(push, &this.token);
        self.lanes.exchange(deadline, &Call { path, headers: &headers, body: this.payload.clone() }).await
    }

    /// Apple, "Sending notification requests to APNs".
    fn headers(&self, push: &Push, token: &Token) -> HeaderMap {
        let plain = |text: String| HeaderValue::try_from(text).expect("digits, letters and dashes");
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(AUTHORIZATION, token.header.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(OURSELVES));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TOPIC, self.topic.clone());
        headers.insert(PUSH_TYPE, HeaderValue::from_static("alert"));
        headers.insert(PRIORITY, HeaderValue::from_static(payload::priority(push)));
        headers.insert(EXPIRATION, HeaderValue::from(payload::expiration(push)));
        headers.insert(ID, once(plain(push.id.to_string())));
        headers.insert(COLLAPSE_ID, once(plain(payload::collapse_id(push))));
        headers
    }

    fn read(&self, answer: &Answer) -> Reading {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            metrics::throttled(metrics::Peer::Apns, 1);
        }
        verdict::read(answer.status.as_u16(), retry_after(&answer.headers, self.clock.0.now()), &answer.body)
    }

    fn another(&self, refused: &Token, expired: bool) -> Option<Token> {
        self.token.refused(refused, expired, self.clock.0.now(), self.clock.0.monotonic()).ok().flatten()
    }

    /// Checks the credential against the service itself: a push to a device that nobody has is refused for its device, if all else is right.
    pub async fn check(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.token.current(self.clock.0.now(), self.clock.0.monotonic()).is_err() {
            steps.push(Step::bad(format!("{}: sign a token", self.name), ApnsError::Key("it does not sign").to_string()));
            return steps;
        }
        steps.push(Step::good(format!("{}: sign a token", self.name), "signed"));
        let tried = format!("{}: send to a device that nobody has", self.name);
        steps.push(match self.send(&push_to_nobody(Provider::Apns, NOBODY, self.clock.0.now())).await {
            Verdict::DeviceGone { reason, .. } if &*reason == "BadDeviceToken" => {
                Step::good(tried, "refused for its device only: key, team and topic are good")
            }
            verdict => Step::bad(tried, advice(&verdict, &self.topic)),
        });
        steps
    }
}

/// What to do about an answer that a check did not hope for.
fn advice(verdict: &Verdict, topic: &HeaderValue) -> String {
    let topic = topic.to_str().unwrap_or_default();
    match verdict {
        Verdict::Accepted => "the service took a push for a device that nobody has; is `url` Apple's?".into(),
        Verdict::DeviceGone { reason, .. } => {
            format!("{reason}: the key is good, but `topic` (or `app`), {topic}, is not a bundle id of this team")
        }
        Verdict::Credentials { reason } if matches!(&**reason, "TopicDisallowed" | "BadTopic" | "MissingTopic") => {
            format!(
                "{reason}: the key is good, but may not push to the bundle id {topic}: correct `topic` (or `app`), or use the key of the team whose app it is"
            )
        }
        Verdict::Credentials { reason } => format!("{reason}: check `key`, `key_id` and `team_id`, and this machine's clock"),
        Verdict::Refused { reason } | Verdict::Undeliverable { reason } => {
            format!("{reason}: check `topic` (or `app`): it must be a bundle id that the key may push to")
        }
        Verdict::Later { reason, .. } | Verdict::Unknown { reason } => {
            format!("{reason}: check the way to the service (`url`, firewall, `roots`) and try again")
        }
    }
}

/// A value that no other push carries, kept out of the connection's table of headers (RFC 7541, section 6.2.3): it would drive out those that all carry.
fn once(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn topic_header(topic: &str) -> Result<HeaderValue, ApnsError> {
    HeaderValue::try_from(topic).map_err(|_| ApnsError::Topic(topic.to_owned()))
}

/// The server, and the part of a device's address before its token.
fn devices_address(base: &str) -> Result<(Authority, String), ApnsError> {
    let wrong = || ApnsError::Url(base.to_owned());
    let url = Url::parse(base).map_err(|_| wrong())?;
    if url.scheme() != "https" {
        return Err(wrong());
    }
    let devices = url.join("/3/device/").map_err(|_| wrong())?;
    let server = Authority::try_from(devices.authority()).map_err(|_| wrong())?;
    Ok((server, devices.path().to_owned()))
}
