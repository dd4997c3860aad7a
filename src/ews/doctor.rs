//! Tries the whole chain for one mailbox, step by step: what was tried, what came back, what to do.

use std::time::Duration;

use http::StatusCode;
use postrider_actors::ports::mail_source::MailboxRef;

use super::budget::Purpose;
use super::client::{Affinity, Target};
use super::error::EwsError;
use super::mail_source::EwsMailSource;
use super::soap::get_folder::GetInboxUnread;
use super::soap::get_streaming_events as stream;
use super::soap::splitter::Splitter;
use super::soap::subscribe::Subscribe;
use super::soap::sync_folder_items::SyncFolderItems;
use super::soap::unsubscribe::Unsubscribe;
use super::watching::Tenant;
use crate::exchange::offers::Offers;
use crate::exchange::{AuthError, Authenticator, Endpoint, LocateError, Tracing};
use crate::http::cause;
use crate::probe::Went;

/// How long the first envelope of a stream is waited for.
const FIRST_ENVELOPE: Duration = Duration::from_secs(30);
/// How long an authorization is waited for; the way in has a deadline of its own below.
const AUTHORIZATION: Duration = Duration::from_secs(30);

/// One step of the examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the step is called.
    pub name: &'static str,
    /// What was tried.
    pub tried: String,
    /// What came back.
    pub came_back: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
    /// How it went. The first that went wrong ends the chain.
    pub went: Went,
}

/// What is told while the examination goes on.
#[derive(Debug)]
pub enum Told {
    /// This is tried now, and given up after so long.
    Trying(String, Duration),
    /// A step is done.
    Done(Step),
}

/// Whose trouble a failed examination shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The one mailbox's, as far as this one examination can tell: another may fare better.
    Mailbox,
    /// Everybody's: the way in, the credential, the server. Another mailbox would meet the same, and a refused credential once more.
    Everybody,
}

/// Hears what is told.
pub type Hears<'a> = &'a (dyn Fn(Told) + Send + Sync);

impl EwsMailSource {
    /// Examines one mailbox: authorization, autodiscover, the server's door, mailbox, sync, subscription, stream, end of the subscription.
    /// Says whose trouble it is, if there is any.
    pub async fn diagnose(&self, mailbox: &MailboxRef, hears: Hears<'_>) -> Option<Whose> {
        let told = Teller(hears);
        let auth = match self.watching.tenant(&mailbox.tenant) {
            Ok(tenant) => &tenant.access.auth,
            Err(error) => return told.bad("server", format!("find the server of {}", mailbox.smtp.as_str()), &error),
        };
        if let Some(failed) = authorized(&**auth, &told).await {
            return Some(failed);
        }
        let trace = |tracing: Tracing| match tracing {
            Tracing::Asking { step, url, at_most } => told.trying(format!("{step}: {url}"), at_most),
            Tracing::Asked(step) => told.done(Step {
                name: "autodiscover",
                tried: format!("{}: {}", step.step, step.url),
                came_back: step.outcome,
                advice: String::new(),
                went: if step.led { Went::Well } else { Went::Nowhere },
            }),
        };
        let located = self.watching.locator.trace(mailbox, &trace).await;
        let tried = format!("find the server of {}", mailbox.smtp.as_str());
        match located.map_err(EwsError::from).and_then(|endpoint| Ok((endpoint, self.watching.tenant(&mailbox.tenant)?))) {
            Ok((endpoint, tenant)) => {
                told.good("server", tried, format!("{} (group {})", endpoint.url, endpoint.grouping));
                self.examine(mailbox, &endpoint, tenant, &told).await
            }
            Err(error) => told.bad("server", tried, &error),
        }
    }

    async fn examine(&self, mailbox: &MailboxRef, endpoint: &Endpoint, tenant: &Tenant, told: &Teller<'_>) -> Option<Whose> {
        if let Some(failed) = self.door(endpoint, &*tenant.access.auth, told).await {
            return Some(failed);
        }
        let client = &self.watching.client;
        let deadline = client.settings().call_deadline;
        let budget = client.budget(&mailbox.tenant, endpoint);
        let affinity = Affinity { anchor: mailbox.smtp.as_str().into(), cookie: None };
        let (access, act_for) = (&tenant.access, mailbox.smtp.as_str());
        let plain = Target { endpoint, budget: &budget, access, act_for, affinity: None };
        let tried = "GetFolder on the inbox";
        told.trying(format!("mailbox: {tried}"), deadline);
        match client.call(&plain, Purpose::Data, &GetInboxUnread).await {
            Ok(answered) => told.good("mailbox", tried, format!("{} unread", answered.output)),
            Err(error) => return told.bad("mailbox", tried, &error),
        }
        let tried = "SyncFolderItems from the beginning";
        told.trying(format!("sync: {tried}"), deadline);
        match client.call(&plain, Purpose::Data, &SyncFolderItems { state: None, bare: None }).await {
            Ok(answered) => told.good("sync", tried, format!("{} items on the first page", answered.output.changes.len())),
            Err(error) => return told.bad("sync", tried, &error),
        }
        let with_affinity = Target { affinity: Some(&affinity), ..plain };
        told.trying("subscription: Subscribe on the inbox".into(), deadline);
        let subscribed = match client.call(&with_affinity, Purpose::Subscribe, &Subscribe).await {
            Ok(answered) => answered,
            Err(error) => return told.bad("subscription", "Subscribe on the inbox", &error),
        };
        let cookie = if subscribed.cookie.is_some() { "with an affinity cookie" } else { "without an affinity cookie" };
        told.good("subscription", "Subscribe on the inbox", cookie);
        let affinity = Affinity { cookie: subscribed.cookie, ..affinity.clone() };
        let at_group = Target { endpoint, budget: &budget, access, act_for, affinity: Some(&affinity) };
        told.trying("stream: GetStreamingEvents".into(), FIRST_ENVELOPE);
        let streamed = match self.first_envelope(&at_group, &subscribed.output).await {
            Ok(()) => {
                told.good("stream", "GetStreamingEvents", "the first envelope came");
                None
            }
            Err(error) => told.bad("stream", "GetStreamingEvents", &error),
        };
        told.trying("end: Unsubscribe".into(), deadline);
        match client.call(&at_group, Purpose::Unsubscribe, &Unsubscribe { subscription: &subscribed.output }).await {
            Ok(_) => {
                told.good("end", "Unsubscribe", "ended");
                streamed
            }
            Err(error) => streamed.or(told.bad("end", "Unsubscribe", &error)),
        }
    }

    /// Knocks without credentials: the way to the server, its certificate, and what it offers, before it sees a password.
    async fn door(&self, endpoint: &Endpoint, auth: &dyn Authenticator, told: &Teller<'_>) -> Option<Whose> {
        let client = &self.watching.client;
        let tried = "ask without credentials what the server offers";
        told.trying(format!("door: {tried}"), client.settings().call_deadline);
        let reply = match client.knock(endpoint).await {
            Ok(reply) => reply,
            Err(error) => return told.bad("door", tried, &error),
        };
        let (status, offers) = (reply.status(), Offers::of(reply.headers()));
        let came_back = format!("HTTP {}, offers {offers}", status.as_u16());
        match auth.scheme() {
            Some(scheme) if status == StatusCode::UNAUTHORIZED && !offers.is_empty() && !offers.has(scheme) => {
                let advice = match scheme {
                    "Basic" => {
                        "Basic is configured here, which the server does not offer: switch Basic on at its EWS virtual directory (Set-WebServicesVirtualDirectory -BasicAuthentication $true), or use [tenant.NAME.mail.oauth]"
                    }
                    _ => {
                        "a token is configured here, which the server does not take: switch OAuth on at its EWS virtual directory (Set-WebServicesVirtualDirectory -OAuthAuthentication $true), or use [tenant.NAME.mail.basic]"
                    }
                };
                told.done(Step { name: "door", tried: tried.into(), came_back, advice: advice.into(), went: Went::Wrong });
                Some(Whose::Everybody)
            }
            _ => {
                told.good("door", tried, came_back);
                None
            }
        }
    }

    /// Opens a stream for one subscription and waits for its first envelope.
    async fn first_envelope(&self, target: &Target<'_>, subscription: &str) -> Result<(), EwsError> {
        let client = &self.watching.client;
        let mut response = client.open_stream(target, &[subscription.into()], 1).await?;
        let mut splitter = Splitter::new(client.settings().answer_limit.len());
        let read = async {
            while let Some(chunk) = response.chunk().await? {
                splitter.push(&chunk);
                if let Some(envelope) = splitter.next_envelope().map_err(|error| EwsError::Transport(error.to_string().into()))? {
                    return stream::read(&envelope)?.fault.map_or(Ok(()), |fault| Err(EwsError::Fault(fault)));
                }
            }
            Err(EwsError::Transport("the stream ended before its first envelope".into()))
        };
        tokio::time::timeout(FIRST_ENVELOPE, read).await.map_err(|_| EwsError::Deadline)?
    }
}

/// The way in by itself, before anybody is shown what comes of it.
async fn authorized(auth: &dyn Authenticator, told: &Teller<'_>) -> Option<Whose> {
    let at = auth.authority().map_or_else(String::new, |authority| format!(" at {authority}"));
    let tried = format!("{}{at}", auth.kind());
    told.trying(format!("authorization: {tried}"), AUTHORIZATION);
    let asked = tokio::time::timeout(AUTHORIZATION, auth.authorization()).await;
    match asked.unwrap_or_else(|_| Err(AuthError::Unavailable { code: "TokenDeadline".into() })) {
        Ok(_) => {
            told.good("authorization", tried, "there is one to send");
            None
        }
        Err(error) => told.bad("authorization", tried, &error.into()),
    }
}

struct Teller<'a>(Hears<'a>);

impl Teller<'_> {
    fn trying(&self, what: String, at_most: Duration) {
        (self.0)(Told::Trying(what, at_most));
    }

    fn done(&self, step: Step) {
        (self.0)(Told::Done(step));
    }

    fn good(&self, name: &'static str, tried: impl Into<String>, came_back: impl Into<String>) {
        self.done(Step { name, tried: tried.into(), came_back: came_back.into(), advice: String::new(), went: Went::Well });
    }

    fn bad(&self, name: &'static str, tried: impl Into<String>, error: &EwsError) -> Option<Whose> {
        self.done(Step { name, tried: tried.into(), came_back: error.to_string(), advice: advice(error).into(), went: Went::Wrong });
        Some(whose(error))
    }
}

/// Whose trouble an error is; one that only another mailbox could tell is the mailbox's.
fn whose(error: &EwsError) -> Whose {
    match error {
        EwsError::Auth(_)
        | EwsError::Unauthorized
        | EwsError::UnauthorizedInBurst
        | EwsError::Locate(LocateError::Unauthorized | LocateError::Unavailable { .. })
        | EwsError::Transport(_)
        | EwsError::Deadline => Whose::Everybody,
        _ => Whose::Mailbox,
    }
}

/// What to do about an error; decided on its kind and code.
fn advice(error: &EwsError) -> &'static str {
    use super::response_code::{Action, is_known};
    match error {
        EwsError::Locate(LocateError::NotAllowed) => "add the mail domain to the tenant's allowed_domains, or correct the address",
        EwsError::Locate(LocateError::ForbiddenHost { .. }) => "if the host is yours, add it to the tenant's mail.allowed_hosts",
        EwsError::Locate(LocateError::NoSuchMailbox { .. }) => "check the address; Exchange's autodiscover does not know it",
        EwsError::Locate(LocateError::Unauthorized) | EwsError::Unauthorized | EwsError::UnauthorizedInBurst => {
            "check the service account's name and password (or the application's id and secret), and that Exchange accepts this kind of authentication"
        }
        EwsError::Locate(LocateError::Unavailable { code }) => {
            cause::advice(code).unwrap_or("see the steps above; set mail.ews_url or mail.autodiscover_url if autodiscover is not set up")
        }
        EwsError::Auth(AuthError::Refused { code }) => advice_of_refusal(code),
        EwsError::Auth(AuthError::Unavailable { code }) => cause::advice(code)
            .unwrap_or("check token_url and the way there; the identity provider is in trouble, or answers something else"),
        EwsError::Auth(AuthError::Rests { .. }) => "the credential was refused a moment ago: see the steps above, then try again",
        EwsError::Forbidden(_) => {
            "EWS is switched off for the user, the tenant or this application: ask the Exchange administrator to allow it"
        }
        EwsError::Fault(fault) => match fault.action {
            Action::Park => {
                "give the service account the ApplicationImpersonation role (or full_access_as_app) for this mailbox, and check that the mailbox is enabled"
            }
            Action::SubscriptionsFull => "other programs hold subscriptions on this mailbox; they expire, mail is polled until then",
            Action::RediscoverThenPark => {
                "Exchange knows no mailbox by this address: check its primary SMTP address, and whether the mailbox was removed or lives elsewhere"
            }
            Action::Rediscover | Action::ResubscribeElsewhere => "the mailbox may be moving; try again in some minutes",
            Action::ItemGone | Action::ItemUnreadable => "one item cannot be read; the others are announced all the same",
            _ if !is_known(&fault.code) => "this version does not know the response code: look for it in Exchange's log and documentation",
            _ => "try again; if it stays, look for the response code in Exchange's log",
        },
        EwsError::Silence(_) | EwsError::Busy { .. } | EwsError::NoTurn => "Exchange asked for silence; try again when it is over",
        EwsError::Transport(cause) => cause::advice(&cause.code).unwrap_or("check name, port, firewall and what stands in between"),
        EwsError::Deadline => "the server took the connection and said nothing: look at its own health, and at what stands in between",
        EwsError::Redirect(_) | EwsError::Status(_) => "check the EWS address and what stands between here and Exchange",
        EwsError::Answer(_) | EwsError::TooLong(_) => "something else than Exchange may have answered: check for a proxy in between",
        #[allow(unreachable_patterns, reason = "kinds that others add have this advice until they have their own")]
        _ => "look for the code in the log of the node",
    }
}

/// What to do about a refusal of the identity provider; the numbers are those of Microsoft Entra.
fn advice_of_refusal(code: &str) -> &'static str {
    let number = code.rsplit(' ').next().and_then(|word| word.strip_prefix("AADSTS")).unwrap_or_default();
    match number {
        "90002" | "900023" | "700038" => "token_url names a tenant that the identity provider does not know: correct the tenant's id in it",
        "700016" => "client_id names no application of this tenant: correct it, or register the application there",
        "7000215" => "client_secret is wrong: it takes the secret's value, not its id",
        "7000222" => "client_secret has expired: make a new one for the application",
        "500011" | "70011" | "1002012" => "scope names nothing that the identity provider knows: for Exchange it ends in /.default",
        _ => "check token_url, client_id, client_secret and scope; the identity provider's own log says more",
    }
}
