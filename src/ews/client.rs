//! One request to Exchange: authorization, affinity, deadline, status, and what a failed one means for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use postrider_actors::ids::TenantId;
use tokio::time::Instant;

use super::budget::{Attempt, Budget, Purpose, Sign};
use super::chance::Chance;
use super::error::EwsError;
use super::response_code::Action;
use super::soap::{Fault, Header, Operation, answer, envelope};
use crate::config::ews::{Ews, Impersonation};
use crate::exchange::{Authenticator, Endpoint, Logons};
use crate::http::ClientOptions;
use crate::http::http1::{Http1, Reply};
use crate::telemetry::metrics;

/// The cookie that keeps a group at one back-end server.
const AFFINITY_COOKIE: &str = "X-BackEndOverrideCookie";
/// Cookies longer than this are not kept.
const MAX_COOKIE_BYTES: usize = 1024;
/// A gateway's trouble may be that of one back end of several: a call of a mailbox without trouble is repeated after these times before it counts.
const AT_ONCE: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];
/// A request has no more headers.
const MOST_HEADERS: usize = 12;

/// A tenant's way into Exchange.
#[derive(Clone)]
pub struct Access {
    /// How requests are authorized.
    pub auth: Arc<dyn Authenticator>,
    /// Holds back logons that would lock the account.
    pub logons: Arc<Logons>,
    /// How the mailbox to act for is named.
    pub form: Impersonation,
}

/// What keeps requests of a group at one back-end server.
#[derive(Debug, Clone)]
pub struct Affinity {
    /// The group's anchor, an SMTP address.
    pub anchor: Arc<str>,
    /// What its first answer set.
    pub cookie: Option<Box<str>>,
}

/// Where a request goes and for whom.
pub struct Target<'a> {
    /// The server.
    pub endpoint: &'a Endpoint,
    /// Its budget.
    pub budget: &'a Arc<Budget>,
    /// The way in.
    pub access: &'a Access,
    /// The mailbox that is impersonated.
    pub act_for: &'a str,
    /// For requests about subscriptions of a group.
    pub affinity: Option<&'a Affinity>,
}

/// What a good answer says, and the affinity cookie that came with it.
#[derive(Debug)]
pub struct Answered<T> {
    /// What it says.
    pub output: T,
    /// The affinity cookie, if the answer set one.
    pub cookie: Option<Box<str>>,
}

/// A tenant and its server, host and port; `None` for an address that HTTP cannot name.
type Place = (TenantId, Option<Authority>);

/// Makes requests to all servers.
pub struct Client {
    calls: Http1,
    /// Streams have connections of their own that are never used again, because an answer after a failed one may belong to the former.
    streams: Http1,
    budgets: Mutex<HashMap<Place, Arc<Budget>>>,
    settings: Arc<Ews>,
    chance: Chance,
}

impl Client {
    /// Makes the connections' pools; `base` says whom to trust.
    #[must_use]
    pub fn new(base: &ClientOptions, settings: Arc<Ews>, seed: u64) -> Self {
        let mut options = base.clone();
        options.connect_timeout = settings.connect_deadline;
        options.compressed = true;
        options.pool_max_idle = settings.calls as usize;
        let calls = Http1::new(&options);
        options.compressed = false;
        options.pool_max_idle = 0;
        let streams = Http1::new(&options);
        Self { calls, streams, budgets: Mutex::default(), settings, chance: Chance::new(seed) }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Ews {
        &self.settings
    }

    /// Varied delays.
    #[must_use]
    pub fn chance(&self) -> &Chance {
        &self.chance
    }

    /// The budget of a server towards a tenant.
    #[must_use]
    pub fn budget(&self, tenant: &TenantId, endpoint: &Endpoint) -> Arc<Budget> {
        let server = endpoint.uri().and_then(Uri::authority).cloned();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets.entry((tenant.clone(), server)).or_insert_with_key(|(tenant, server)| {
            let server = server.as_ref().map_or("without name", Authority::as_str);
            Budget::new(Arc::clone(&self.settings), format!("tenant {tenant}, server {server}"))
        });
        Arc::clone(budget)
    }

    /// Makes a call and reads its answer.
    ///
    /// # Errors
    /// [`EwsError`].
    pub async fn call<O: Operation>(&self, target: &Target<'_>, purpose: Purpose, operation: &O) -> Result<Answered<O::Output>, EwsError> {
        let turn = target.budget.turn(target.act_for, purpose).await?;
        let mut answer = self.call_once(target, operation).await;
        if answer.as_ref().is_err_and(EwsError::wants_fresh_connection) {
            // One of them gave an answer that belongs to another request.
            self.calls.leave_connections();
            answer = self.call_once(target, operation).await;
        }
        for pause in AT_ONCE {
            if !turn.attempt().calm() || !answer.as_ref().is_err_and(EwsError::is_gateway_trouble) {
                break;
            }
            tokio::time::sleep(pause).await;
            answer = self.call_once(target, operation).await;
        }
        let sign = answer.as_ref().err().map_or(Sign::Alive, EwsError::sign);
        let retry_after = turn.settle(sign, self.chance.share());
        answer.map_err(|error| match error {
            EwsError::Fault(fault) if fault.action == Action::BackOff => EwsError::Busy { retry_after, code: fault.code },
            EwsError::Busy { code, .. } => EwsError::Busy { retry_after, code },
            EwsError::Status(status @ (429 | 503)) => EwsError::Busy { retry_after, code: format!("HTTP {status}") },
            other => other,
        })
    }

    async fn call_once<O: Operation>(&self, target: &Target<'_>, operation: &O) -> Result<Answered<O::Output>, EwsError> {
        self.measured(O::METRIC, self.exchange(target, operation)).await
    }

    /// Counts a request and its time.
    async fn measured<T>(&self, operation: metrics::Operation, request: impl Future<Output = Result<T, EwsError>>) -> Result<T, EwsError> {
        let begun = Instant::now();
        let answer = request.await;
        // What was held back was not asked.
        if !matches!(answer, Err(EwsError::Silence(_) | EwsError::NoTurn)) {
            metrics::ews_requests(operation, answer.as_ref().err().map_or(metrics::Answer::Done, EwsError::answer), 1);
            metrics::ews_request_seconds(operation, begun.elapsed().as_secs_f64());
        }
        answer
    }

    async fn exchange<O: Operation>(&self, target: &Target<'_>, operation: &O) -> Result<Answered<O::Output>, EwsError> {
        let header = Header { form: target.access.form, act_for: target.act_for };
        let request = envelope::write(header, |body| operation.write(body)).into();
        let exchange = async {
            let response = self.send(&self.calls, target, O::NAME, request).await?;
            let status = response.status();
            let cookie = affinity_cookie(response.headers());
            let bytes = response.whole(self.settings.answer_limit.len()).await?;
            Ok::<_, EwsError>((status, cookie, bytes))
        };
        let (status, cookie, bytes) =
            tokio::time::timeout(self.settings.call_deadline, exchange).await.map_err(|_| EwsError::Deadline)??;
        let answer = answer::read(&bytes, O::NAME).map_err(|error| match EwsError::from(error) {
            // An error page instead of an answer.
            EwsError::Answer(_) if status != StatusCode::OK => EwsError::Status(status.as_u16()),
            error => error,
        });
        let output = answer.and_then(|answer| operation.read(answer).map_err(EwsError::from))?;
        Ok(Answered { output, cookie })
    }

    /// Opens a stream and gives its answer to be read; a fault in an HTTP 500 is read here.
    ///
    /// # Errors
    /// [`EwsError`].
    pub async fn open_stream(&self, target: &Target<'_>, subscriptions: &[Arc<str>], minutes: u32) -> Result<Reply, EwsError> {
        // The mailbox that is impersonated stands for many: its own trouble does not hold the stream back.
        let waited = tokio::time::timeout(self.settings.wait_deadline, target.budget.admit(None)).await;
        let attempt: Attempt = waited.map_err(|_| EwsError::NoTurn)??;
        let opened = self.measured(metrics::Operation::Stream, self.opened(target, subscriptions, minutes)).await;
        let wanted = opened.as_ref().err().map_or(Sign::Alive, EwsError::sign);
        let share = self.chance.share();
        let retry_after = attempt.settle(wanted, share);
        opened.map_err(|error| match error {
            EwsError::Fault(fault) if matches!(wanted, Sign::Silence(_)) => EwsError::Busy { retry_after, code: fault.code },
            EwsError::Busy { code, .. } => EwsError::Busy { retry_after, code },
            // Without a time that was told the stream's own pause grows.
            other => other,
        })
    }

    async fn opened(&self, target: &Target<'_>, subscriptions: &[Arc<str>], minutes: u32) -> Result<Reply, EwsError> {
        use super::soap::get_streaming_events as operation;
        let header = Header { form: target.access.form, act_for: target.act_for };
        let request = envelope::write(header, |body| operation::write(body, subscriptions, minutes)).into();
        let exchange = async {
            let response = self.send(&self.streams, target, operation::NAME, request).await?;
            if response.status() == StatusCode::OK {
                return Ok(response);
            }
            let status = response.status().as_u16();
            let bytes = response.whole(self.settings.answer_limit.len()).await?;
            Err(match answer::read(&bytes, operation::NAME).map_err(EwsError::from) {
                Err(EwsError::Fault(fault)) => EwsError::Fault(fault),
                _ => EwsError::Status(status),
            })
        };
        tokio::time::timeout(self.settings.call_deadline, exchange).await.map_err(|_| EwsError::Deadline)?
    }

    /// Asks without credentials: what the server answers says what it offers.
    pub(super) async fn knock(&self, endpoint: &Endpoint) -> Result<Reply, EwsError> {
        let Some(uri) = endpoint.uri() else {
            return Err(EwsError::Transport("the EWS address names a host that HTTP cannot name".into()));
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        let asked = tokio::time::timeout(self.settings.call_deadline, self.calls.post(uri.clone(), headers, Bytes::new()));
        Ok(asked.await.map_err(|_| EwsError::Deadline)??)
    }

    /// Sends a request; an HTTP 401 is answered once with another authorization, if there is one.
    async fn send(&self, http: &Http1, target: &Target<'_>, operation: &str, request: Bytes) -> Result<Reply, EwsError> {
        let Some(uri) = target.endpoint.uri() else {
            return Err(EwsError::Transport("the EWS address names a host that HTTP cannot name".into()));
        };
        let id = uuid::Uuid::from_u128(rand::random()).to_string();
        let mut renewed = false;
        loop {
            let logon = target.access.logons.enter(target.act_for).await?;
            let authorization = match target.access.auth.authorization().await {
                Ok(authorization) => authorization,
                Err(error) => {
                    logon.without_authorization(&*target.access.auth, &error);
                    return Err(error.into());
                }
            };
            // A silence may have begun while an authorization was waited for.
            if let Some(left) = target.budget.silence() {
                return Err(EwsError::Silence(left));
            }
            let mut headers = headers(target, operation, &id);
            headers.insert(AUTHORIZATION, authorization.clone());
            let response = match http.post(uri.clone(), headers, request.clone()).await {
                Ok(response) => response,
                Err(error) => {
                    logon.broke();
                    return Err(error.into());
                }
            };
            match response.status() {
                StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => {
                    logon.accepted();
                    return Ok(response);
                }
                StatusCode::UNAUTHORIZED if !renewed && target.access.auth.refused(&authorization) => renewed = true,
                StatusCode::UNAUTHORIZED if logon.refused() => return Err(EwsError::UnauthorizedInBurst),
                StatusCode::UNAUTHORIZED => return Err(EwsError::Unauthorized),
                _ => return Err(self.judge(target, &response)),
            }
        }
    }

    /// What a status that brings no SOAP means.
    fn judge(&self, target: &Target<'_>, response: &Reply) -> EwsError {
        let status = response.status();
        match status {
            StatusCode::FORBIDDEN if response.headers().contains_key("x-ews-policy-reason") => EwsError::Forbidden("EwsPolicy"),
            StatusCode::FORBIDDEN => EwsError::Forbidden("HTTP 403"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => match retry_after(response.headers()) {
                Some(retry_after) => EwsError::Busy { retry_after, code: format!("HTTP {}", status.as_u16()) },
                None => EwsError::Status(status.as_u16()),
            },
            status if status.is_redirection() => redirect(target.endpoint, response),
            status => EwsError::Status(status.as_u16()),
        }
    }

    /// What a fault on a stream that runs means: a silence that the server asks for begins.
    pub fn note_busy(&self, budget: &Arc<Budget>, fault: &Fault) -> EwsError {
        let error = EwsError::Fault(fault.clone());
        match error.sign() {
            Sign::Silence(wanted) => EwsError::Busy { retry_after: budget.be_silent(wanted), code: fault.code.clone() },
            _ => error,
        }
    }
}

/// The headers of a request but the authorization.
fn headers(target: &Target<'_>, operation: &str, id: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(MOST_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    let action = format!("\"http://schemas.microsoft.com/exchange/services/2006/messages/{operation}\"");
    insert(&mut headers, "soapaction", &action);
    insert(&mut headers, "client-request-id", id);
    let anchor = target.affinity.map_or(target.act_for, |affinity| &affinity.anchor);
    insert(&mut headers, "x-anchormailbox", anchor);
    if let Some(affinity) = target.affinity {
        headers.insert("x-preferserveraffinity", HeaderValue::from_static("true"));
        if let Some(cookie) = &affinity.cookie {
            insert(&mut headers, COOKIE.as_str(), &format!("{AFFINITY_COOKIE}={cookie}"));
        }
    }
    headers
}

/// Inserts a header whose value can be one; an address with characters that no header carries is left away, the body names it too.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(http::HeaderName::from_static(name), value);
    }
}

/// The affinity cookie that an answer sets.
fn affinity_cookie(headers: &HeaderMap) -> Option<Box<str>> {
    let set = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let value = set.filter_map(|cookie| cookie.strip_prefix(AFFINITY_COOKIE)?.strip_prefix('=')).next()?;
    let value = value.split(';').next().unwrap_or_default().trim();
    (!value.is_empty() && value.len() <= MAX_COOKIE_BYTES).then(|| value.into())
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); the form with a date is not used by Exchange, and none at all is meant by zero.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|told| !told.is_zero())
}

/// A redirection: to the server's error page it is passing trouble, else the address is wrong.
fn redirect(endpoint: &Endpoint, response: &Reply) -> EwsError {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if location.to_ascii_lowercase().contains("/genericerrorpage.htm") {
        return EwsError::Status(response.status().as_u16());
    }
    let to = endpoint.url.join(location).ok();
    EwsError::Redirect(to.map_or_else(|| "nowhere".into(), |url| url.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_affinity_cookie_is_told_from_the_others() {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("exchangecookie=abc; path=/"));
        headers.append(SET_COOKIE, HeaderValue::from_static("X-BackEndCookie=a@b=x; path=/EWS"));
        assert_eq!(affinity_cookie(&headers), None);
        headers.append(
            SET_COOKIE,
            HeaderValue::from_static("X-BackEndOverrideCookie=CO1PR06MB222.namprd06.prod.outlook.com~1941996295; path=/; secure; HttpOnly"),
        );
        assert_eq!(affinity_cookie(&headers).as_deref(), Some("CO1PR06MB222.namprd06.prod.outlook.com~1941996295"));
    }
}
