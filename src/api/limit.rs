//! How much one caller may ask for: by address before any signature is checked, by subject after, and all together at a moment.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock, Reference};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use crate::api::Shared;
use crate::api::error::ApiError;
use crate::config::api::{Api as ApiSettings, Network};
use crate::telemetry::metrics::{LimitedBy, api_limited};

/// How many addresses or subjects are told apart; beyond, the rest shares [`CROWD`] allowances.
const KEYS_MAX: usize = 20_000;
/// Allowances shared by those who came after the room was full.
const CROWD: u64 = 1_024;
/// The shortest time between two clean-ups, as each looks at every key.
const CLEAN_UP_PAUSE: Duration = Duration::from_secs(1);

/// Who has an allowance of his own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    One(Box<str>),
    Crowd(u64),
}

struct Rate {
    limiter: DefaultKeyedRateLimiter<Key>,
    clock: DefaultClock,
    cleaned: Mutex<Option<<DefaultClock as Clock>::Instant>>,
}

impl Rate {
    fn new(per_minute: u32, burst: u32) -> Self {
        let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(burst));
        Self { limiter: RateLimiter::dashmap(quota), clock: DefaultClock::default(), cleaned: Mutex::default() }
    }

    fn check(&self, name: &str) -> Result<(), ApiError> {
        let key = self.key(name);
        self.limiter.check_key(&key).map_err(|not_until| ApiError::RateLimited(not_until.wait_time_from(self.clock.now())))
    }

    fn key(&self, name: &str) -> Key {
        if self.limiter.len() >= KEYS_MAX {
            self.clean_up();
        }
        if self.limiter.len() < KEYS_MAX {
            return Key::One(name.into());
        }
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Key::Crowd(hasher.finish() % CROWD)
    }

    /// Forgets those who have their whole allowance again.
    fn clean_up(&self) {
        let now = self.clock.now();
        let Ok(mut cleaned) = self.cleaned.try_lock() else { return };
        if cleaned.is_none_or(|last| Duration::from(now.duration_since(last)) >= CLEAN_UP_PAUSE) {
            *cleaned = Some(now);
            self.limiter.retain_recent();
        }
    }
}

/// The limits of one node's API.
pub struct Limits {
    address: Rate,
    subject: Rate,
    proxies: Vec<Network>,
}

impl Limits {
    /// Full allowances for everybody.
    #[must_use]
    pub fn new(settings: &ApiSettings) -> Self {
        Self {
            address: Rate::new(settings.address_rate, settings.burst),
            subject: Rate::new(settings.subject_rate, settings.burst),
            proxies: settings.trusted_proxies.clone(),
        }
    }

    /// Takes one request from a recognised caller's allowance.
    ///
    /// # Errors
    /// `RateLimited` if there is none left.
    pub fn subject(&self, name: &str) -> Result<(), ApiError> {
        self.subject.check(name).inspect_err(|_| api_limited(LimitedBy::Subject, 1))
    }

    /// The caller's address.
    #[must_use]
    pub fn caller(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |info| info.0.ip());
        caller(peer, headers, &self.proxies)
    }

    fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<(), ApiError> {
        let checked = self.address.check(&network_of(self.caller(extensions, headers)));
        checked.inspect_err(|_| api_limited(LimitedBy::Address, 1))
    }
}

/// The caller's address: the peer, or, if that is a trusted proxy, the last address in `X-Forwarded-For` that is none.
fn caller(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    let mut caller = peer.to_canonical();
    let forwarded: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    for hop in forwarded.iter().rev() {
        if !trusted(caller) {
            break;
        }
        let Some(address) = address_of(hop.trim()) else { break };
        caller = address;
    }
    caller
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(address, _)| address);
    bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip())).map(|address| address.to_canonical())
}

/// What shares an allowance: an IPv4 address, or the /64 that one IPv6 line has.
#[must_use]
pub fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Takes one request from the allowance of the caller's address, before anything is looked at.
pub async fn by_address(State(api): State<Shared>, request: Request, next: Next) -> Response {
    match api.limits.address(request.extensions(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Room for the requests of one address listened on: phones do not take it from administrators who have their own.
#[derive(Clone)]
pub struct Load {
    room: Arc<Semaphore>,
    request_timeout: Duration,
}

impl Load {
    /// All room is free.
    #[must_use]
    pub fn new(settings: &ApiSettings) -> Self {
        Self { room: Arc::new(Semaphore::new(settings.max_requests)), request_timeout: settings.request_timeout }
    }
}

/// Answers at once when too many requests are under way, and ends those that take too long.
pub async fn by_load(State(load): State<Load>, request: Request, next: Next) -> Response {
    let Ok(_room) = load.room.try_acquire() else {
        api_limited(LimitedBy::Load, 1);
        return ApiError::Overloaded.into_response();
    };
    match tokio::time::timeout(load.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Timeout.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn only_trusted_proxies_say_who_called() {
        let proxies = [Network::try_from("10.0.0.0/8".to_owned()).unwrap()];
        for (peer, lines, wanted) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["forged"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(caller(ip(peer), &forwarded(lines), &proxies), ip(wanted), "{peer} {lines:?}");
        }
    }

    #[test]
    fn one_ipv6_line_has_one_allowance() {
        assert_eq!(network_of(ip("2001:db8:1:2:3::4")), network_of(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(network_of(ip("2001:db8:1:2::1")), network_of(ip("2001:db8:1:3::1")));
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate_applies() {
        let rate = Rate::new(1, 3);
        assert_eq!((0..5).filter(|_| rate.check("a").is_ok()).count(), 3);
        assert!(rate.check("b").is_ok());
        assert!(matches!(rate.check("a"), Err(ApiError::RateLimited(wait)) if wait > Duration::from_secs(30)));
    }

    #[test]
    fn the_memory_for_callers_is_bounded() {
        let rate = Rate::new(1, 1);
        for n in 0..KEYS_MAX + 3_000 {
            let _ = rate.check(&n.to_string());
        }
        assert!(rate.limiter.len() <= KEYS_MAX + usize::try_from(CROWD).unwrap());
    }
}
