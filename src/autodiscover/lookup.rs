//! One look-up of one mailbox: candidate after candidate, redirections followed within bounds, every step noted.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::Url;

use super::answer::Answer;
use super::candidates::{Candidate, Protocol, of_domain, of_records};
use super::last_ways::LastWays;
use super::{Tenant, pox, soap};
use crate::config::autodiscover::Autodiscover;
use crate::config::tenants::is_domain;
use crate::exchange::offers::Offers;
use crate::exchange::{AuthError, Endpoint, HearsTracing, Hosts, LocateError, TraceStep, Tracing};
use crate::http::names::NameError;
use crate::http::{Cause, body, cause_of, explain};

/// The code of a look-up that asked nobody.
const NO_CANDIDATES: &str = "NoCandidates";

/// What looking needs.
pub struct Means<'a> {
    /// The settings.
    pub settings: &'a Autodiscover,
    /// The tenant.
    pub tenant: &'a Tenant,
    /// For https.
    pub http: &'a reqwest::Client,
    /// For the one unencrypted request, which carries no credentials.
    pub plain: &'a reqwest::Client,
    /// What is tried when no https candidate answered.
    pub last_ways: &'a dyn LastWays,
    /// What answered for this domain lately, tried first.
    pub favourite: Option<Candidate>,
    /// Hears of each step.
    pub hears: HearsTracing<'a>,
}

/// A look-up under way.
pub struct Lookup<'a> {
    means: Means<'a>,
    address: String,
    queue: VecDeque<Candidate>,
    asked: HashSet<(String, Url)>,
    addresses: HashSet<String>,
    redirects_left: u32,
    /// The failure that says most, so far.
    failure: LocateError,
}

impl<'a> Lookup<'a> {
    /// Begins to look for an address.
    #[must_use]
    pub fn new(means: Means<'a>, address: &str) -> Self {
        let redirects_left = means.settings.redirects;
        let failure = LocateError::Unavailable { code: NO_CANDIDATES.into() };
        let mut lookup = Self {
            means,
            address: String::new(),
            queue: VecDeque::new(),
            asked: HashSet::new(),
            addresses: HashSet::new(),
            redirects_left,
            failure,
        };
        lookup.begin(address.to_owned());
        lookup
    }

    /// Takes up an address: its list of candidates is fresh.
    fn begin(&mut self, address: String) {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
        let configured = self.means.tenant.autodiscover_url.clone().map(Candidate::at);
        let usual = of_domain(&domain, self.means.settings.root_domain, self.means.settings.swap_candidates);
        self.queue = self.means.favourite.take().into_iter().chain(configured).chain(usual).collect();
        self.addresses.insert(address.to_lowercase());
        self.address = address;
    }

    /// Looks until something answers. Says also which candidate did.
    ///
    /// # Errors
    /// [`LocateError`].
    pub async fn run(&mut self) -> Result<(Arc<Endpoint>, Candidate), LocateError> {
        let mut more = self.means.settings.redirect_and_srv;
        loop {
            while let Some(candidate) = self.queue.pop_front() {
                if let Some(endpoint) = self.try_one(&candidate).await {
                    return Ok((endpoint, candidate));
                }
            }
            if !std::mem::take(&mut more) {
                return Err(self.failure.clone());
            }
            self.redirection_without_tls().await;
            self.records().await;
        }
    }

    /// Says what is tried now.
    fn asking(&self, step: &'static str, url: &str) {
        (self.means.hears)(Tracing::Asking { step, url: url.into(), at_most: self.means.settings.request_deadline });
    }

    fn asked(&self, step: TraceStep) {
        (self.means.hears)(Tracing::Asked(step));
    }

    /// Notes a step that led nowhere.
    fn note(&mut self, step: &'static str, url: &str, outcome: impl Into<String>) {
        self.asked(TraceStep { step, url: url.into(), outcome: outcome.into(), led: false });
    }

    /// Notes a step that led to the server, or to where it is to be looked for.
    fn note_led(&mut self, step: &'static str, url: &str, outcome: String) {
        self.asked(TraceStep { step, url: url.into(), outcome, led: true });
    }

    /// Keeps the failure that says most, of equals the first: a forbidden host, then "no such mailbox", which a server says only to whom it knows, then refused credentials.
    fn failed(&mut self, failure: LocateError) {
        let rank = |failure: &LocateError| match failure {
            LocateError::Unavailable { code } if code == NO_CANDIDATES => 0,
            // Of the usual places, most have no name.
            LocateError::Unavailable { code } if NameError::is_code(code) => 1,
            LocateError::Unavailable { .. } => 2,
            LocateError::Unauthorized => 3,
            LocateError::NoSuchMailbox { .. } => 4,
            LocateError::ForbiddenHost { .. } | LocateError::NotAllowed => 5,
        };
        if rank(&failure) > rank(&self.failure) {
            self.failure = failure;
        }
    }

    /// Asks one candidate; redirections it gives go to the front of the queue.
    async fn try_one(&mut self, candidate: &Candidate) -> Option<Arc<Endpoint>> {
        if !self.asked.insert((self.address.clone(), candidate.url.clone())) {
            return None;
        }
        let step = match candidate.protocol {
            Protocol::Soap => "ask by SOAP",
            Protocol::Pox => "ask by POX",
        };
        let url = candidate.url.as_str().to_owned();
        if let Err(host) = self.means.tenant.hosts.check_unauthorized(&candidate.url) {
            self.note(step, &url, format!("not asked: {host} is not an allowed host"));
            self.failed(LocateError::ForbiddenHost { host });
            return None;
        }
        self.asking(step, &url);
        match self.ask(candidate).await {
            Ok(answer) => self.take(step, &url, answer),
            Err(Failure { error, outcome }) => {
                self.note(step, &url, outcome);
                self.failed(error);
                None
            }
        }
    }

    /// Acts on an answer.
    fn take(&mut self, step: &'static str, url: &str, answer: Answer) -> Option<Arc<Endpoint>> {
        match answer {
            Answer::Settings { ews_url, grouping } => return self.settings(step, url, &ews_url, grouping),
            Answer::RedirectUrl(to) => self.redirect(step, url, &to, Hosts::check),
            Answer::RedirectAddress(to) => self.redirect_address(step, url, to),
            Answer::NoSuchMailbox(code) => {
                self.note(step, url, format!("knows no such mailbox ({code})"));
                self.failed(LocateError::NoSuchMailbox { code });
            }
            Answer::Failed(code) => {
                self.note(step, url, format!("answered {code}"));
                self.failed(LocateError::Unavailable { code });
            }
        }
        None
    }

    /// The EWS address must be one that may be spoken to.
    fn settings(&mut self, step: &'static str, url: &str, ews_url: &str, grouping: Option<String>) -> Option<Arc<Endpoint>> {
        let allowed = Url::parse(ews_url).map_err(|_| "an unreadable address".to_owned());
        match allowed.and_then(|ews| self.means.tenant.hosts.check(&ews).map(|()| ews)) {
            Ok(ews) => {
                let grouping = grouping.as_deref().unwrap_or("none");
                self.note_led(step, url, format!("EWS is at {ews}, group {grouping}"));
                Some(Arc::new(Endpoint::new(ews, grouping)))
            }
            Err(host) => {
                self.note(step, url, format!("names {host} for EWS, which is not an allowed host"));
                self.failed(LocateError::ForbiddenHost { host });
                None
            }
        }
    }

    fn redirect(&mut self, step: &'static str, url: &str, to: &str, check: fn(&Hosts, &Url) -> Result<(), String>) {
        let next = Url::parse(url).ok().and_then(|base| base.join(to).ok());
        let Some(next) = next else {
            self.note(step, url, "redirects to an unreadable address");
            return;
        };
        if let Err(host) = check(&self.means.tenant.hosts, &next) {
            self.note(step, url, format!("redirects to {host}, which is not an allowed host"));
            self.failed(LocateError::ForbiddenHost { host });
        } else if self.redirects_left == 0 {
            self.note(step, url, "redirects once more than is followed");
            self.failed(LocateError::Unavailable { code: "TooManyRedirects".into() });
        } else {
            self.redirects_left -= 1;
            self.note_led(step, url, format!("redirects to {next}"));
            self.queue.push_front(Candidate::at(next));
        }
    }

    /// Another address of the same person: of the tenant's domains, or nothing is looked up for it.
    fn redirect_address(&mut self, step: &'static str, url: &str, to: String) {
        let domain = to.rsplit_once('@').map_or("", |(_, domain)| domain);
        if !self.means.tenant.hosts.has_domain(domain) {
            let host = if is_domain(domain) { domain.to_lowercase() } else { "an unreadable domain".to_owned() };
            self.note(step, url, format!("redirects to an address of {host}, which is not among the allowed domains"));
            self.failed(LocateError::ForbiddenHost { host });
            return;
        }
        if self.redirects_left == 0 || !self.addresses.insert(to.to_lowercase()) {
            self.note(step, url, "redirects to an address that was asked for already, or once more than is followed");
            self.failed(LocateError::Unavailable { code: "TooManyRedirects".into() });
            return;
        }
        self.redirects_left -= 1;
        self.note_led(step, url, format!("redirects to an address of {}", to.rsplit('@').next().unwrap_or_default()));
        self.begin(to);
    }

    /// Sends a request without credentials, and with them if the server asks for some: what only redirects never sees them. Another HTTP 401 is answered once
    /// with another authorization, if there is one.
    async fn ask(&self, candidate: &Candidate) -> Result<Answer, Failure> {
        let (content_type, request) = match candidate.protocol {
            Protocol::Soap => (soap::CONTENT_TYPE, soap::request(&self.address, candidate.url.as_str())),
            Protocol::Pox => (pox::CONTENT_TYPE, pox::request(&self.address)),
        };
        let auth = &self.means.tenant.auth;
        let post = || self.means.http.post(candidate.url.clone()).header(CONTENT_TYPE, content_type).body(request.clone());
        let broken = |error: reqwest::Error| Failure::transport(&cause_of(&error));
        let mut response = post().send().await.map_err(broken)?;
        let mut renewed = false;
        loop {
            if response.status() == StatusCode::UNAUTHORIZED {
                if self.means.tenant.hosts.check(&candidate.url).is_err() {
                    return Err(Failure::unavailable(
                        "NoTokenForHost",
                        "asks for credentials, and the scope of the token is for other hosts".into(),
                    ));
                }
                let logon = self.means.tenant.logons.enter(&self.address).await.map_err(Failure::auth)?;
                let authorization = match auth.authorization().await {
                    Ok(authorization) => authorization,
                    Err(error) => {
                        logon.without_authorization(&**auth, &error);
                        return Err(Failure::auth(error));
                    }
                };
                response = match post().header(AUTHORIZATION, authorization.clone()).send().await {
                    Ok(response) => response,
                    Err(error) => {
                        logon.broke();
                        return Err(broken(error));
                    }
                };
                match response.status() {
                    StatusCode::OK => logon.accepted(),
                    StatusCode::UNAUTHORIZED if !std::mem::replace(&mut renewed, true) && auth.refused(&authorization) => continue,
                    StatusCode::UNAUTHORIZED => drop(logon.refused()),
                    _ => {}
                }
            }
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
                return Ok(Answer::RedirectUrl(to.to_owned()));
            }
            return match status {
                StatusCode::OK => self.read(candidate.protocol, response).await,
                StatusCode::UNAUTHORIZED => {
                    let outcome = format!("refuses the credentials (HTTP 401), offers {}", Offers::of(response.headers()));
                    Err(Failure { error: LocateError::Unauthorized, outcome })
                }
                status => Err(Failure::unavailable(&format!("HTTP {}", status.as_u16()), format!("answered HTTP {}", status.as_u16()))),
            };
        }
    }

    async fn read(&self, protocol: Protocol, response: reqwest::Response) -> Result<Answer, Failure> {
        let limit = self.means.settings.answer_limit.len();
        let bytes = body(response, limit).await.map_err(|error| Failure::unavailable("BrokenAnswer", error.to_string()))?;
        let answer = match protocol {
            Protocol::Soap => soap::read(&bytes),
            Protocol::Pox => pox::read(&bytes),
        };
        answer.map_err(|error| Failure::unavailable("MalformedAnswer", error.to_string()))
    }

    fn domain(&self) -> String {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned()
    }

    /// An unencrypted request without credentials, of whose answer only the redirection counts.
    async fn redirection_without_tls(&mut self) {
        const STEP: &str = "unencrypted redirection";
        let Some(url) = self.means.last_ways.unencrypted(&self.domain()) else { return };
        self.asking(STEP, url.as_str());
        match self.means.plain.get(url.clone()).send().await {
            Ok(response) if response.status() == StatusCode::FOUND || response.status() == StatusCode::MOVED_PERMANENTLY => {
                let to = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
                self.redirect(STEP, url.as_str(), &to, Hosts::check_unproven);
            }
            Ok(response) => self.note(STEP, url.as_str(), format!("answered HTTP {}", response.status().as_u16())),
            Err(error) => self.note(STEP, url.as_str(), explain(&error)),
        }
    }

    /// What DNS names goes to the end of the queue.
    async fn records(&mut self) {
        const STEP: &str = "DNS record";
        let domain = self.domain();
        let name = format!("_autodiscover._tcp.{domain}");
        self.asking(STEP, &name);
        match self.means.last_ways.records(&domain).await {
            Ok(records) => {
                let candidates = of_records(records, &mut |most| self.means.last_ways.draw(most));
                let (candidates, strange): (Vec<_>, Vec<_>) =
                    candidates.into_iter().partition(|candidate| self.means.tenant.hosts.check_unproven(&candidate.url).is_ok());
                for candidate in strange.iter().step_by(2) {
                    let host = candidate.url.host_str().unwrap_or_default().to_owned();
                    self.note(STEP, &name, format!("names {host}, which is not an allowed host"));
                    self.failed(LocateError::ForbiddenHost { host });
                }
                let (outcome, led) = (format!("{} addresses", candidates.len()), !candidates.is_empty());
                self.asked(TraceStep { step: STEP, url: name, outcome, led });
                self.queue.extend(candidates);
            }
            Err(outcome) => self.note(STEP, &name, outcome),
        }
    }
}

/// A candidate that gave no answer.
struct Failure {
    error: LocateError,
    outcome: String,
}

impl Failure {
    fn unavailable(code: &str, outcome: String) -> Self {
        Self { error: LocateError::Unavailable { code: code.to_owned() }, outcome }
    }

    fn transport(cause: &Cause) -> Self {
        Self::unavailable(&cause.code, cause.to_string())
    }

    fn auth(error: AuthError) -> Self {
        let outcome = error.to_string();
        match error {
            AuthError::Refused { .. } => Self { error: LocateError::Unauthorized, outcome },
            // The gate itself sees to it that nothing is asked too often.
            AuthError::Rests { all, .. } => {
                let code = if all { "CredentialRefused" } else { "HTTP 401" };
                Self { error: LocateError::Unavailable { code: code.into() }, outcome }
            }
            AuthError::Unavailable { code } => Self { error: LocateError::Unavailable { code }, outcome },
        }
    }
}
