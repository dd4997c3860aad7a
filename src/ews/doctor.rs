//! Tries the whole chain for one mailbox, step by step: what was tried, what came back, what to do.

use std::time::Duration;

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
use crate::exchange::{Endpoint, LocateError};
use crate::probe::Went;

/// How long the first envelope of a stream is waited for.
const FIRST_ENVELOPE: Duration = Duration::from_secs(30);

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

impl Step {
    fn good(name: &'static str, tried: impl Into<String>, came_back: impl Into<String>) -> Self {
        Self { name, tried: tried.into(), came_back: came_back.into(), advice: String::new(), went: Went::Well }
    }

    fn bad(name: &'static str, tried: impl Into<String>, error: &EwsError) -> Self {
        Self { name, tried: tried.into(), came_back: error.to_string(), advice: advice(error).into(), went: Went::Wrong }
    }
}

impl EwsMailSource {
    /// Examines one mailbox: autodiscover, authorization, mailbox, subscription, stream, sync, end of the subscription.
    pub async fn diagnose(&self, mailbox: &MailboxRef) -> Vec<Step> {
        let mut steps = Vec::new();
        let (trace, located) = self.watching.locator.trace(mailbox).await;
        steps.extend(trace.into_iter().map(|step| Step {
            name: "autodiscover",
            tried: format!("{}: {}", step.step, step.url),
            came_back: step.outcome,
            advice: String::new(),
            went: if step.led { Went::Well } else { Went::Nowhere },
        }));
        let tried = format!("find the server of {}", mailbox.smtp);
        match located.map_err(EwsError::from).and_then(|endpoint| Ok((endpoint, self.watching.tenant(&mailbox.tenant)?))) {
            Ok((endpoint, tenant)) => {
                steps.push(Step::good("server", tried, format!("{} (group {})", endpoint.url, endpoint.grouping)));
                self.examine(mailbox, &endpoint, tenant, &mut steps).await;
            }
            Err(error) => steps.push(Step::bad("server", tried, &error)),
        }
        steps
    }

    async fn examine(&self, mailbox: &MailboxRef, endpoint: &Endpoint, tenant: &Tenant, steps: &mut Vec<Step>) {
        let client = &self.watching.client;
        let budget = client.budget(&mailbox.tenant, endpoint);
        let affinity = Affinity { anchor: mailbox.smtp.as_str().into(), cookie: None };
        let (access, act_for) = (&tenant.access, mailbox.smtp.as_str());
        let plain = Target { endpoint, budget: &budget, access, act_for, affinity: None };
        let tried = access.auth.kind();
        match access.auth.authorization().await {
            Ok(_) => steps.push(Step::good("authorization", tried, "there is one to send")),
            Err(error) => return steps.push(Step::bad("authorization", tried, &error.into())),
        }
        match client.call(&plain, Purpose::Data, &GetInboxUnread).await {
            Ok(answered) => steps.push(Step::good("mailbox", "GetFolder on the inbox", format!("{} unread", answered.output))),
            Err(error) => return steps.push(Step::bad("mailbox", "GetFolder on the inbox", &error)),
        }
        match client.call(&plain, Purpose::Data, &SyncFolderItems { state: None }).await {
            Ok(answered) => {
                let count = answered.output.changes.len();
                steps.push(Step::good("sync", "SyncFolderItems from the beginning", format!("{count} items on the first page")));
            }
            Err(error) => return steps.push(Step::bad("sync", "SyncFolderItems from the beginning", &error)),
        }
        let with_affinity = Target { affinity: Some(&affinity), ..plain };
        let subscribed = match client.call(&with_affinity, Purpose::Subscribe, &Subscribe).await {
            Ok(answered) => answered,
            Err(error) => return steps.push(Step::bad("subscription", "Subscribe on the inbox", &error)),
        };
        let cookie = if subscribed.cookie.is_some() { "with an affinity cookie" } else { "without an affinity cookie" };
        steps.push(Step::good("subscription", "Subscribe on the inbox", cookie));
        let affinity = Affinity { cookie: subscribed.cookie, ..affinity.clone() };
        let at_group = Target { endpoint, budget: &budget, access, act_for, affinity: Some(&affinity) };
        match self.first_envelope(&at_group, &subscribed.output).await {
            Ok(()) => steps.push(Step::good("stream", "GetStreamingEvents", "the first envelope came")),
            Err(error) => steps.push(Step::bad("stream", "GetStreamingEvents", &error)),
        }
        match client.call(&at_group, Purpose::Unsubscribe, &Unsubscribe { subscription: &subscribed.output }).await {
            Ok(_) => steps.push(Step::good("end", "Unsubscribe", "ended")),
            Err(error) => steps.push(Step::bad("end", "Unsubscribe", &error)),
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

/// What to do about an error; decided on its kind.
fn advice(error: &EwsError) -> &'static str {
    use super::response_code::Action;
    match error {
        EwsError::Locate(LocateError::NotAllowed) => "add the mail domain to the tenant's allowed_domains, or correct the address",
        EwsError::Locate(LocateError::ForbiddenHost { .. }) => "if the host is yours, add it to the tenant's mail.allowed_hosts",
        EwsError::Locate(LocateError::NoSuchMailbox { .. }) => "check the address; Exchange's autodiscover does not know it",
        EwsError::Locate(LocateError::Unauthorized) | EwsError::Unauthorized | EwsError::UnauthorizedInBurst => {
            "check the service account's name and password (or the application's id and secret), and that Exchange accepts this kind of authentication"
        }
        EwsError::Locate(LocateError::Unavailable { .. }) => {
            "see the steps above; set mail.ews_url or mail.autodiscover_url if autodiscover is not set up"
        }
        EwsError::Auth(_) => "check token_url, client_id, client_secret and scope; the identity provider's own log says more",
        EwsError::Forbidden(_) => {
            "EWS is switched off for the user, the tenant or this application: ask the Exchange administrator to allow it"
        }
        EwsError::Fault(fault) => match fault.action {
            Action::Park => {
                "give the service account the ApplicationImpersonation role (or full_access_as_app) for this mailbox, and check that the mailbox is enabled"
            }
            Action::SubscriptionsFull => "other programs hold subscriptions on this mailbox; they expire, mail is polled until then",
            Action::Rediscover | Action::RediscoverThenPark | Action::ResubscribeElsewhere => {
                "the mailbox may be moving; try again in some minutes"
            }
            _ => "try again; if it stays, look for the response code in Exchange's log",
        },
        EwsError::Silence(_) | EwsError::Busy { .. } | EwsError::NoTurn => "Exchange asked for silence; try again when it is over",
        EwsError::Transport(_) | EwsError::Deadline => {
            "check name, port, firewall and certificate; Windows Server 2012 (R2) with an RSA key offers no cipher suite that is accepted here"
        }
        EwsError::Redirect(_) | EwsError::Status(_) => "check the EWS address and what stands between here and Exchange",
        EwsError::Answer(_) | EwsError::TooLong(_) => "something else than Exchange may have answered: check for a proxy in between",
    }
}
