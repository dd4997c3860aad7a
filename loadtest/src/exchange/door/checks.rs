//! What a request to the web services must pass, in the order in which the real server looks.

use std::io;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};

use super::super::affinity::Wish;
use super::super::budgets::{Counted, Slot};
use super::super::faults::RequestFault;
use super::super::names::{Failure, ends_subscriptions};
use super::super::operations::resolve::resolve_names;
use super::super::operations::{Answer, Call, refused};
use super::super::reply;
use super::super::request::{self, Operation, Request};
use super::super::schema::Violation;
use super::super::server::Shared;
use super::{dress, is_xml, log_on, plain, unauthorized};
use crate::https::Body;
use crate::socket::Cut;
use crate::world::Mailbox;

/// Answers a request to the web services.
pub(super) async fn web_service(shared: Arc<Shared>, headers: &HeaderMap, body: &[u8], cut: Cut) -> io::Result<Response<Body>> {
    let account = match log_on(&shared, headers) {
        Ok(account) => account,
        Err(why) => return Ok(unauthorized(why)),
    };
    if !is_xml(headers) {
        shared.misuse("content-type", "a request is not text/xml");
        return Ok(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/xml is expected"));
    }
    let request = match read(body) {
        Ok(request) => request,
        Err(violation) => return Ok(dress::fault(&refusal(&shared, violation))),
    };
    if let Some(away) = shared.budgets.back_off(&account, shared.options.timings.back_off_grace) {
        if away.knew {
            shared.misuse("request-during-back-off", request.operation.name().as_str());
        }
        return Ok(dress::fault(&Failure::busy(away.left)));
    }
    if let (Operation::ResolveNames(ask), None) = (&request.operation, &request.impersonated) {
        // The directory is asked in the caller's own name, which needs no mailbox.
        let xml = resolve_names(&shared.options.world, ask);
        return Ok(dress::document(&xml, None, false));
    }
    let mailbox = match impersonated(&shared, &account, is_token(headers), &request) {
        Ok(mailbox) => mailbox,
        Err(failure) if failure.is_fault => return Ok(dress::fault(&failure)),
        Err(failure) => return Ok(dress::document(&refused(request.operation.name(), &failure), None, false)),
    };
    let wish = Wish::read(headers);
    check_anchor(&shared, &wish, &mailbox);
    let door = Door { shared, account, mailbox, wish, cut, accepts_gzip: dress::accepts_gzip(headers) };
    door.pass(request).await
}

fn is_token(headers: &HeaderMap) -> bool {
    let header = headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    header.and_then(|value| value.get(..7)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

fn read(body: &[u8]) -> Result<Request, Violation> {
    let text = std::str::from_utf8(body).map_err(|_| Violation::new("not UTF-8"))?;
    let root = crate::xml::parse(text).map_err(|e| Violation::new(e.to_string()))?;
    request::read(&root)
}

/// The answer to a request that is not carried out; only what breaks the schema is held against the client.
fn refusal(shared: &Shared, violation: Violation) -> Failure {
    match violation {
        Violation::Broken(what) => {
            let text = format!("The request failed schema validation: {what}");
            shared.misuse("schema", what);
            Failure::fault("ErrorSchemaValidation", text)
        }
        Violation::NotSimulated(what) => shared.not_simulated(&what),
        Violation::Refused(failure) => {
            shared.misuse("refused", failure.code);
            failure
        }
    }
}

/// The mailbox that is acted as. A service account has no mailbox of its own here, so it must impersonate, and must be allowed to.
fn impersonated(shared: &Shared, account: &str, is_token: bool, request: &Request) -> Result<Arc<Mailbox>, Failure> {
    let Some(smtp) = &request.impersonated else {
        shared.misuse("impersonation-missing", request.operation.name().as_str());
        if !is_token {
            let text = "When making a request as an account that does not have a mailbox, you must specify the mailbox primary SMTP address for any distinguished folder Ids.";
            return Err(Failure::message("ErrorMissingEmailAddress", text));
        }
        let text = "ExchangeImpersonation SOAP header must be present for this type of account.";
        return Err(Failure::fault("ErrorInvalidExchangeImpersonationHeaderData", text));
    };
    let allowed = &shared.options.impersonators;
    if !allowed.is_empty() && !allowed.iter().any(|known| known == account) {
        let text = "The account does not have permission to impersonate the requested user.";
        return Err(Failure::fault("ErrorImpersonateUserDenied", text));
    }
    shared.options.world.mailbox(smtp).map_err(|_| {
        let text = "The SMTP address has no mailbox associated with it.";
        Failure::fault("ErrorNonExistentMailbox", text)
    })
}

/// Affinity needs an anchor; without affinity it is advised, and must be the mailbox itself, else the request lands elsewhere.
fn check_anchor(shared: &Shared, wish: &Wish, mailbox: &Mailbox) {
    match &wish.anchor {
        None if wish.affinity => shared.misuse("anchor-missing", mailbox.smtp()),
        None => shared.remark("anchor-missing", mailbox.smtp()),
        Some(anchor) if !wish.affinity && anchor != mailbox.smtp() => {
            shared.misuse("anchor-of-another-mailbox", mailbox.smtp());
        }
        Some(_) => {}
    }
}

/// A request that is understood and whose sender is known.
struct Door {
    shared: Arc<Shared>,
    account: String,
    mailbox: Arc<Mailbox>,
    wish: Wish,
    cut: Cut,
    accepts_gzip: bool,
}

impl Door {
    async fn pass(self, request: Request) -> io::Result<Response<Body>> {
        let name = request.operation.name();
        let fault = self.shared.options.faults.request(name, self.mailbox.smtp());
        let mut is_astray = false;
        match &fault {
            Some(RequestFault::WrongBackEnd) => is_astray = true,
            Some(RequestFault::Slow(by)) => tokio::time::sleep(*by).await,
            Some(RequestFault::LoseAnswer | RequestFault::Truncate) | None => {}
            Some(RequestFault::Busy(length)) => {
                self.shared.budgets.begin_back_off(&self.account, *length);
                return Ok(dress::fault(&Failure::busy(*length)));
            }
            Some(RequestFault::BusyInside(length)) => {
                self.shared.budgets.begin_back_off(&self.account, *length);
                let busy = Failure::busy_inside(*length);
                return Ok(dress::document(&refused(name, &busy), None, false));
            }
            Some(RequestFault::LoseSubscription) => {
                if let Operation::GetStreamingEvents(ask) = &request.operation
                    && let Some(id) = ask.ids.last()
                {
                    self.shared.subscriptions.remove(id);
                }
            }
            Some(RequestFault::Reset) => return self.reset(),
            Some(other) => {
                self.end_subscriptions(other, &request.operation);
                return Ok(dress::faulty(other, name));
            }
        }
        let slots = match self.take_slots(&request) {
            Ok(slots) => slots,
            Err(failure) => return Ok(dress::fault(&failure)),
        };
        let latency = self.shared.options.timings.latency;
        // A sleep of no length still waits for the timer's next tick.
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let flavour = self.shared.options.faults.flavour();
        let groups = &self.shared.options.groups;
        let mut back_end = self.wish.route(groups, |smtp| self.shared.home(smtp));
        if is_astray {
            back_end = back_end.neighbour(groups);
        }
        let call = Call {
            shared: Arc::clone(&self.shared),
            account: self.account.clone(),
            mailbox: Arc::clone(&self.mailbox),
            wish: self.wish.clone(),
            back_end,
            is_astray,
            flavour,
            cut: self.cut.clone(),
        };
        let answer = call.carry_out(request);
        match fault {
            Some(RequestFault::LoseAnswer) => return self.reset(),
            Some(RequestFault::Truncate) => return Ok(dress::truncated(answer, name)),
            _ => {}
        }
        let gzip = flavour.gzip && self.accepts_gzip;
        if let Ok(Answer::Document(xml, _)) = &answer
            && let Some(spoilt) = self.shared.options.faults.spoils(name, xml)
        {
            return Ok(dress::faulty(&spoilt, name));
        }
        Ok(match answer {
            Ok(Answer::Document(xml, cookie)) => dress::document(&xml, cookie.as_deref(), gzip),
            Ok(Answer::Stream(body)) => dress::stream(body, slots),
            Err(failure) if failure.is_fault => dress::fault(&failure),
            Err(failure) => dress::document(&refused(name, &failure), None, gzip),
        })
    }

    /// Where a fault says that the subscriptions of a stream are gone, they are.
    fn end_subscriptions(&self, fault: &RequestFault, operation: &Operation) {
        let (RequestFault::Code { code, .. } | RequestFault::Fault { code, .. }) = fault else {
            return;
        };
        let ids = match operation {
            Operation::GetStreamingEvents(ask) => ask.ids.as_slice(),
            Operation::Unsubscribe(id) => std::slice::from_ref(id),
            _ => &[],
        };
        if ends_subscriptions(code) {
            ids.iter().for_each(|id| self.shared.subscriptions.remove(id));
        }
    }

    fn reset(&self) -> io::Result<Response<Body>> {
        self.cut.now();
        Err(io::ErrorKind::ConnectionReset.into())
    }

    /// Takes a place in the budget of the impersonated mailbox, as impersonation charges it.
    fn take_slots(&self, request: &Request) -> Result<Vec<Slot>, Failure> {
        let limits = &self.shared.options.limits;
        let wanted: &[(Counted, usize, &'static str)] = match request.operation {
            Operation::GetStreamingEvents(_) => &[(Counted::Hanging, limits.hanging_connections, "hanging-connections")],
            Operation::SyncFolderItems(_) => {
                &[(Counted::Requests, limits.concurrency, "concurrency"), (Counted::SyncCalls, limits.sync_calls, "concurrent-sync-calls")]
            }
            _ => &[(Counted::Requests, limits.concurrency, "concurrency")],
        };
        let mut slots = Vec::with_capacity(wanted.len());
        for (counted, limit, rule) in wanted {
            let Some(slot) = self.shared.budgets.take(*counted, self.mailbox.smtp(), *limit) else {
                self.shared.misuse(rule, self.mailbox.smtp());
                return Err(over_budget(*counted, *limit));
            };
            slots.push(slot);
        }
        Ok(slots)
    }
}

/// The refusal for a budget that is used up.
fn over_budget(counted: Counted, limit: usize) -> Failure {
    if counted == Counted::SyncCalls {
        return Failure::busy(std::time::Duration::from_secs(5));
    }
    let text =
        "You have exceeded the available concurrent connections for your account. Try again once your other requests have completed.";
    Failure {
        values: vec![("Policy", "MaxConcurrency".to_owned()), ("MaxConcurrencyLimit", limit.to_string())],
        ..Failure::fault("ErrorExceededConnectionCount", text)
    }
}

/// A document that has nothing to do with what was asked.
pub(super) fn answer_to_another(name: request::OperationName) -> String {
    let other = match name {
        request::OperationName::Unsubscribe => request::OperationName::GetFolder,
        _ => request::OperationName::Unsubscribe,
    };
    reply::response(other, &reply::success(other, ""))
}
