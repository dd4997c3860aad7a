//! Why a user got no push: where his mailbox stands, and what happened to it lately, hints to verdicts, in the order in which it happened.

use axum::extract::State;
use axum::{Extension, Json};
use postrider_actors::ports::registry_store::DeliveryView;
use postrider_actors::snapshot::MailboxSnapshot;
use postrider_actors::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::audit::Trail;
use crate::api::auth::Caller;
use crate::api::devices::Device;
use crate::api::error::{ApiError, Refusals};
use crate::api::extract::{MailboxParams, SmtpPath};
use crate::api::mailboxes::Mailbox;
use crate::api::node::Node;
use crate::api::{Shared, rfc3339};

/// How many delivery rows are looked at.
const DELIVERIES: u32 = 100;

/// Everything that answers the question.
#[derive(Debug, Serialize, ToSchema)]
pub struct Why {
    /// What the database says of the mailbox.
    mailbox: Mailbox,
    /// Its devices, with their last activity and cut-off.
    devices: Vec<Device>,
    /// What its actor says; absent if this node does not watch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
    /// The node that answers: a closed gate or paused sending stops every push.
    node: Node,
    /// What happened, oldest first.
    events: Vec<Event>,
}

/// Where the watch of a mailbox stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Watch {
    /// `seeding`, `catchup`, `subscribed`, `live`, `polling` or `parked`.
    phase: &'static str,
    /// When it does something by itself next (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    /// How often its actor was restarted.
    restarts: u32,
}

impl From<&MailboxSnapshot> for Watch {
    fn from(snapshot: &MailboxSnapshot) -> Self {
        let due = snapshot.due.filter(|due| *due != Timestamp::NEVER).map(rfc3339);
        Self { phase: snapshot.phase.as_str(), due, restarts: snapshot.restarts }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Event {
    /// When (RFC 3339).
    at: String,
    /// `journal` (the actor's memory), `row` (a push was committed) or `verdict` (a push was settled).
    source: &'static str,
    /// What, in codes and counts; never content.
    what: String,
    /// Short hash of the mail that a push announces.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<String>,
    /// To which device.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

/// Say why a user got no push.
#[utoipa::path(get, path = "/v1/admin/mailboxes/{smtp}/why", tag = "admin", security(("bearer" = [])),
    params(MailboxParams),
    responses((status = 200, body = Why, description = "Everything that answers the question"),
        Refusals))]
pub async fn why(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    SmtpPath(smtp): SmtpPath,
) -> Result<Json<Why>, ApiError> {
    let tenant = caller.reach(&smtp)?;
    let view = api.registry.mailbox_find(tenant, &smtp).await?.ok_or(ApiError::NotFound("mailbox"))?;
    trail.about(view.mailbox);
    let devices = api.registry.device_list(tenant, &smtp).await?.unwrap_or_default();
    let rows = api.registry.delivery_list(view.mailbox, DELIVERIES).await?;
    let snapshot = api.control.mailbox(view.mailbox).await;
    Ok(Json(Why {
        mailbox: view.into(),
        devices: devices.into_iter().map(Device::from).collect(),
        watch: snapshot.as_ref().map(Watch::from),
        node: api.control.node().into(),
        events: merge(snapshot.as_ref(), &rows),
    }))
}

/// Puts the actor's memory and the delivery rows into the order of time. At the same microsecond a collection comes before its rows, and they before their verdicts.
fn merge(snapshot: Option<&MailboxSnapshot>, rows: &[DeliveryView]) -> Vec<Event> {
    let journal = snapshot.into_iter().flat_map(|snapshot| &snapshot.journal);
    let journal =
        journal.map(|line| (line.at, Event { at: rfc3339(line.at), source: "journal", what: line.what.clone(), mail: None, device: None }));
    let rows_in_order = || rows.iter().rev();
    let committed = rows_in_order().map(|row| (row.created_at, of_row(row, row.created_at, "row", committed(row))));
    let settled = rows_in_order().filter_map(|row| row.settled_at.map(|at| (at, of_row(row, at, "verdict", settled(row)))));
    let mut all: Vec<(Timestamp, Event)> = journal.chain(committed).chain(settled).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, event)| event).collect()
}

fn of_row(row: &DeliveryView, at: Timestamp, source: &'static str, what: String) -> Event {
    Event { at: rfc3339(at), source, what, mail: Some(row.event.clone()), device: row.device.clone() }
}

fn committed(row: &DeliveryView) -> String {
    let mut what = format!("{} push for {}", row.kind, row.count);
    if row.kind == "mail" {
        what.push_str(&format!(" received {}", rfc3339(row.received_at)));
    }
    if row.settled_at.is_none() {
        let reason = row.reason.as_deref().map(|reason| format!(" after {reason}")).unwrap_or_default();
        what.push_str(&format!(", {}{reason}{}, due {}", row.state, tries(row), rfc3339(row.next_at)));
    }
    what
}

fn settled(row: &DeliveryView) -> String {
    let reason = row.reason.as_deref().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{}{reason}{}", row.state, tries(row))
}

/// Tries that were answered and put off for so long that the row says so; those of the first minute are in the journal.
fn tries(row: &DeliveryView) -> String {
    if row.attempts == 0 { String::new() } else { format!(", put off {} times before", row.attempts) }
}

#[cfg(test)]
mod tests {
    use postrider_actors::ids::MailboxId;
    use postrider_actors::snapshot::{JournalLine, Phase};

    use super::*;

    fn row(event: &str, created: i64, settled: Option<i64>) -> DeliveryView {
        DeliveryView {
            event: event.into(),
            device: Some("phone".into()),
            kind: "mail",
            state: if settled.is_some() { "SENT" } else { "PENDING" }.into(),
            reason: settled.is_none().then(|| "TooManyRequests".into()),
            count: 1,
            attempts: 1,
            received_at: Timestamp(created - 1),
            created_at: Timestamp(created),
            settled_at: settled.map(Timestamp),
            next_at: Timestamp(99),
        }
    }

    #[test]
    fn events_come_in_the_order_in_which_they_happened() {
        let line = |at, what: &str| JournalLine { at: Timestamp(at), what: what.into() };
        let snapshot = MailboxSnapshot {
            mailbox: MailboxId(1),
            phase: Phase::Live,
            due: None,
            restarts: 0,
            journal: vec![line(10, "hint mail"), line(20, "collected 1 mails 1 rows"), line(40, "hint mail")],
        };
        let events = merge(Some(&snapshot), &[row("b", 50, None), row("a", 20, Some(30))]);
        let short: Vec<String> = events.iter().map(|event| format!("{} {}", event.source, event.mail.as_deref().unwrap_or("-"))).collect();
        assert_eq!(short, ["journal -", "journal -", "row a", "verdict a", "journal -", "row b"]);
        assert!(events[5].what.contains("PENDING after TooManyRequests, put off 1 times before"), "{}", events[5].what);
    }
}
