//! What Google answers to a message and to a request for a token.

use std::collections::HashMap;
use std::time::Instant;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode, request::Parts};
use serde_json::json;

use crate::ledger::{Provider, Push};
use crate::phones::Phone;
use crate::push_faults::Fault;
use crate::witness::{Misuse, Witness};

use super::Service;
use super::error::{Code, Refusal};
use super::message;
use super::oauth::Worth;

/// When a request arrived, on both clocks.
pub(super) struct Arrival {
    at: Instant,
    ms: i64,
}

impl Arrival {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), ms: jiff::Timestamp::now().as_millisecond() }
    }
}

/// An HTTP answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after_s: Option<u64>,
    pub(super) body: String,
}

impl Answer {
    fn json(status: StatusCode, body: String) -> Self {
        Self { status, retry_after_s: None, body }
    }
}

impl Service {
    /// `POST /token`.
    pub(super) fn token(&self, parts: &Parts, body: &[u8], now_s: i64) -> Answer {
        let form: HashMap<String, String> = match kind_of(parts) {
            "application/x-www-form-urlencoded" => form_fields(body),
            "application/json" => serde_json::from_slice(body).unwrap_or_default(),
            _ => HashMap::new(),
        };
        let granted =
            if parts.method == Method::POST { self.tokens.grant(&form, now_s) } else { self.tokens.grant(&HashMap::new(), now_s) };
        match granted {
            Ok((token, expires_in)) => {
                Answer::json(StatusCode::OK, json!({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}).to_string())
            }
            Err(denied) => {
                self.misuse("token-request-refused", denied.description.to_owned());
                let body = json!({
                    "error": denied.error,
                    "error_description": denied.description,
                });
                Answer::json(StatusCode::BAD_REQUEST, body.to_string())
            }
        }
    }

    /// `POST /v1/projects/<project>/messages:send`.
    pub(super) fn send(&self, parts: &Parts, body: &[u8], arrival: &Arrival, fault: Fault) -> Answer {
        match self.judge(parts, body, arrival, fault) {
            Ok(()) => {
                let project = &self.options.project;
                let id = rand::random::<u64>();
                let name = format!("projects/{project}/messages/0:{}%{id:016x}", arrival.ms);
                Answer::json(StatusCode::OK, json!({ "name": name }).to_string())
            }
            Err(refusal) => {
                self.refused(&refusal);
                Answer { status: refusal.http, retry_after_s: refusal.retry_after_s, body: refusal.body(self.options.names_violations) }
            }
        }
    }

    fn judge(&self, parts: &Parts, body: &[u8], arrival: &Arrival, fault: Fault) -> Result<(), Refusal> {
        self.find_project(parts)?;
        if fault == Fault::ExpireTokens {
            self.tokens.revoke_all();
        }
        self.authenticate(parts, arrival.ms / 1_000)?;
        injected(fault)?;
        self.quota.take(arrival.at).map_err(|wait_s| Refusal::fcm(Code::QuotaExceeded).after(wait_s))?;
        if kind_of(parts) != "application/json" {
            return Err(Refusal::unreadable("The body is not application/json.").blame("content-type", kind_of(parts)));
        }
        let said = message::read(body, arrival.ms)?;
        let Some(token) = said.token.as_deref() else {
            // Who has subscribed to a topic is nobody's business here.
            return Ok(());
        };
        self.at_home(token, arrival.ms, fault)?;
        if said.validate_only {
            return Ok(());
        }
        self.options.ledger.push_accepted(&Push {
            provider: Provider::Fcm,
            token,
            id: &said.tag,
            kind: said.kind,
            count: said.count,
            hashes: &said.hashes,
            details: said.details,
            badge: said.badge,
            expiry: said.expiry,
            arrived: arrival.at,
            arrived_ms: arrival.ms,
            payload: body,
        });
        Ok(())
    }

    /// A foreign project or path is a plain 404, in which FCM has no say.
    fn find_project(&self, parts: &Parts) -> Result<(), Refusal> {
        let not_found = || Refusal::plain(StatusCode::NOT_FOUND, "NOT_FOUND");
        let project = parts
            .uri
            .path()
            .strip_prefix("/v1/projects/")
            .and_then(|rest| rest.strip_suffix("/messages:send"))
            .ok_or_else(|| not_found().blame("path", ""))?;
        if parts.method != Method::POST {
            return Err(not_found().blame("method", parts.method.to_string()));
        }
        if project != self.options.project {
            return Err(not_found());
        }
        Ok(())
    }

    fn authenticate(&self, parts: &Parts, now_s: i64) -> Result<(), Refusal> {
        let refused = || Refusal::plain(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
        let header = parts.headers.get(AUTHORIZATION);
        let token = header
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token)
            .ok_or_else(|| refused().blame("access-token-missing", ""))?;
        match self.tokens.worth(token, now_s) {
            Worth::Good => Ok(()),
            Worth::Revoked => Err(refused()),
            Worth::Expired => Err(refused().blame("access-token-not-renewed", "")),
            Worth::Unknown => Err(refused().blame("access-token-unknown", "")),
        }
    }

    fn at_home(&self, token: &str, now_ms: i64, fault: Fault) -> Result<(), Refusal> {
        let options = &self.options;
        if fault == Fault::Gone {
            options.phones.remove(token, now_ms);
            options.ledger.forgotten(token);
        }
        match options.phones.find(token, &options.project) {
            Some(Phone::Installed { app }) if *app == *options.project => Ok(()),
            Some(Phone::Installed { .. }) => Err(Refusal::fcm(Code::SenderIdMismatch)),
            Some(Phone::ThirdParty) => Err(Refusal::fcm(Code::ThirdPartyAuthError)),
            Some(Phone::Gone { .. }) => Err(Refusal::fcm(Code::Unregistered)),
            None => Err(Refusal::field("message.token", "Invalid registration token")),
        }
    }

    fn misuse(&self, rule: &'static str, detail: String) {
        self.options.ledger.misuse(Misuse { server: "fcm", rule, detail });
    }

    fn refused(&self, refusal: &Refusal) {
        let status = refusal.http.as_u16();
        self.options.ledger.push_refused(Provider::Fcm, status, refusal.reason());
        if let Some((rule, detail)) = &refusal.misuse {
            self.misuse(rule, detail.clone());
        }
    }

    /// A connection was cut under a request.
    pub(super) fn cut_off(&self, how: &str) {
        self.options.ledger.push_refused(Provider::Fcm, 0, how);
    }
}

/// The faults that are answers.
fn injected(fault: Fault) -> Result<(), Refusal> {
    Err(match fault {
        Fault::TooMany => Refusal::fcm(Code::QuotaExceeded).after(1),
        Fault::Internal => Refusal::fcm(Code::Internal),
        Fault::Forbidden => Refusal::plain(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        Fault::Unavailable { retry_after_s } => Refusal::fcm(Code::Unavailable).after(u64::from(retry_after_s)),
        _ => return Ok(()),
    })
}

/// The media type of the body, without parameters.
fn kind_of(parts: &Parts) -> &str {
    let kind = parts.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim()
}

/// The fields of an `application/x-www-form-urlencoded` body.
fn form_fields(body: &[u8]) -> HashMap<String, String> {
    // axum's extractor reads the same format; a body that is none has no fields.
    let Ok(uri) = format!("/?{}", String::from_utf8_lossy(body)).parse::<http::Uri>() else {
        return HashMap::new();
    };
    axum::extract::Query::<HashMap<String, String>>::try_from_uri(&uri).map(|query| query.0).unwrap_or_default()
}
