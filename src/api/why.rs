//! Why a user got no push: where the mailbox stands, and what happened to it lately, in the order in which it happened and in words of those who ask.
//!
//! Any node tells what the database holds. What only the mailbox's owner knows (the phase, what it heard and read) that node tells alone: another one names it, with
//! the address that the owner wrote into the database itself (`node.addr`). The caller asks there with the same key, which every node of the cluster checks by the same
//! database. So no node holds a caller's key for another, and no address comes from anywhere but the cluster's own table.

use axum::extract::State;
use axum::{Extension, Json};
use postrider_actors::ids::{Session, ShardId};
use postrider_actors::ports::cluster_store::{ClusterView, Depth, NodeSeen};
use postrider_actors::ports::registry_store::DeliveryView;
use postrider_actors::snapshot::{MailboxSnapshot, NodeState};
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
    /// How it is watched; absent if this node does not watch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
    /// The node that watches it, if it is another one: only that one knows what was heard and read lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    /// The node that answers: a closed gate or paused sending stops every push.
    node: Node,
    /// What happened, oldest first.
    events: Vec<Event>,
}

/// Where the watch of a mailbox stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// `seeding`, `catchup`, `subscribed`, `live`, `polling` or `parked`.
    phase: &'static str,
    /// When it does something by itself next (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    /// How often its actor was restarted.
    restarts: u32,
}

impl From<&MailboxSnapshot> for Watch {
    fn from(snapshot: &MailboxSnapshot) -> Self {
        let next_at = snapshot.due.filter(|due| *due != Timestamp::NEVER).map(rfc3339);
        Self { phase: snapshot.phase.as_str(), next_at, restarts: snapshot.restarts }
    }
}

/// The node that watches a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Owner {
    /// Its name.
    node: String,
    /// Where it answers the same request with the same key, as it says itself (`node.addr`); empty if it does not say.
    address: String,
}

impl Owner {
    /// The owner of a shard, unless that is the node with this session or nobody that lives.
    fn of(view: &ClusterView, shard: ShardId, ours: Session) -> Option<Self> {
        let session = view.shards.iter().find(|known| known.shard == shard)?.owner.filter(|owner| *owner != ours)?;
        let acts = |node: &&NodeSeen| node.session == session && matches!(node.state, NodeState::Good | NodeState::Draining);
        view.nodes.iter().find(acts).map(|node| Self { node: node.node.to_string(), address: node.addr.clone() })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Event {
    /// When (RFC 3339).
    at: String,
    /// `mailbox` (what was heard, read and answered), `push` (a push was decided on and kept) or `outcome` (how it ended).
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
    let node = api.control.node();
    let owner = match &snapshot {
        Some(_) => None,
        None => Owner::of(&api.cluster.view_for_people(Depth::Shards).await?, view.shard, node.session),
    };
    Ok(Json(Why {
        mailbox: view.into(),
        owner,
        devices: devices.into_iter().map(Device::from).collect(),
        watch: snapshot.as_ref().map(Watch::from),
        node: node.into(),
        events: merge(snapshot.as_ref(), &rows),
    }))
}

/// Puts what the owner remembers and what the database holds of pushes into the order of time. At the same microsecond a collection comes before its pushes, and they
/// before their outcomes.
fn merge(snapshot: Option<&MailboxSnapshot>, pushes: &[DeliveryView]) -> Vec<Event> {
    let heard = snapshot.into_iter().flat_map(|snapshot| &snapshot.journal);
    let heard =
        heard.map(|line| (line.at, Event { at: rfc3339(line.at), source: "mailbox", what: line.what.clone(), mail: None, device: None }));
    let in_order = || pushes.iter().rev();
    let kept = in_order().map(|push| (push.created_at, of_push(push, push.created_at, "push", kept(push))));
    let ended = in_order().filter_map(|push| push.settled_at.map(|at| (at, of_push(push, at, "outcome", ended(push)))));
    let mut all: Vec<(Timestamp, Event)> = heard.chain(kept).chain(ended).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, event)| event).collect()
}

fn of_push(push: &DeliveryView, at: Timestamp, source: &'static str, what: String) -> Event {
    Event { at: rfc3339(at), source, what, mail: Some(push.event.clone()), device: push.device.clone() }
}

/// What was decided; and while it is not settled, what it waits for and until when.
fn kept(push: &DeliveryView) -> String {
    let mut what = match (push.kind, push.count) {
        ("mail", 1) => format!("push for 1 mail, received {}", clock(push.received_at)),
        ("mail", count) => format!("push for {count} mails, the newest received {}", clock(push.received_at)),
        (kind, _) => format!("push for the {kind} only"),
    };
    if push.settled_at.is_none() {
        let why = match push.reason.as_deref() {
            None => "; not sent yet".to_owned(),
            Some(code) if says_gone(code) => format!("; the provider says that the device is gone ({code}), which is not believed yet"),
            Some(code) => format!("; not sent: {code}"),
        };
        what.push_str(&format!("{why}{}; next try {}", tries(push), clock(push.next_at)));
    }
    what
}

/// How it ended, with the last code.
fn ended(push: &DeliveryView) -> String {
    let code = push.reason.as_deref().unwrap_or("no code");
    let how = match (push.state.as_str(), push.reason.as_deref()) {
        ("SENT", _) => "sent: the provider took it".to_owned(),
        ("DEAD", Some(code)) if says_gone(code) => format!("given up: the device is gone ({code})"),
        ("DEAD", _) => format!("given up: {code}"),
        ("SUPERSEDED", Some(code)) => format!("not needed any more ({code})"),
        ("SUPERSEDED", None) => "not needed any more".to_owned(),
        (state, _) => format!("{state} ({code})"),
    };
    format!("{how}{}", tries(push))
}

/// Whether a provider's code says that a device is gone.
fn says_gone(code: &str) -> bool {
    matches!(code, "BadDeviceToken" | "DeviceTokenNotForTopic" | "Unregistered" | "ExpiredToken" | "UNREGISTERED")
}

/// Tries that were answered and put off for so long that the database says so; those of the first minute are told by the mailbox.
fn tries(push: &DeliveryView) -> String {
    match push.attempts {
        0 => String::new(),
        1 => ", put off once".to_owned(),
        times => format!(", put off {times} times"),
    }
}

/// A time inside a sentence: to the millisecond, and without a blank, so that no line ends in it.
fn clock(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| "never".to_owned(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use postrider_actors::ids::{Fence, MailboxId, NodeId};
    use postrider_actors::ports::cluster_store::{Features, History, ShardView};
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
            journal: vec![line(10, "the server told of new mail"), line(20, "sync found 1 new mail, 1 push"), line(40, "a change")],
        };
        let events = merge(Some(&snapshot), &[row("b", 50, None), row("a", 20, Some(30))]);
        let short: Vec<String> = events.iter().map(|event| format!("{} {}", event.source, event.mail.as_deref().unwrap_or("-"))).collect();
        assert_eq!(short, ["mailbox -", "mailbox -", "push a", "outcome a", "mailbox -", "push b"]);
        assert_eq!(
            events[5].what,
            "push for 1 mail, received 1970-01-01T00:00:00.000Z; not sent: TooManyRequests, put off once; next try 1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn a_push_is_told_in_words_with_its_code_and_until_when_it_waits() {
        let push = |state: &str, reason: Option<&str>, settled: Option<i64>| DeliveryView {
            state: state.into(),
            reason: reason.map(str::to_owned),
            attempts: 0,
            count: 3,
            next_at: Timestamp(61_250_000),
            ..row("a", 2, settled)
        };
        let doubted = kept(&push("PENDING", Some("Unregistered"), None));
        assert!(
            doubted.contains("the device is gone (Unregistered), which is not believed yet; next try 1970-01-01T00:01:01.250Z"),
            "{doubted}"
        );
        for (state, reason, said) in [
            ("SENT", None, "sent: the provider took it"),
            ("DEAD", Some("BadDeviceToken"), "given up: the device is gone (BadDeviceToken)"),
            ("DEAD", Some("expired"), "given up: expired"),
            ("SUPERSEDED", Some("read"), "not needed any more (read)"),
        ] {
            assert_eq!(ended(&push(state, reason, Some(9))), said);
        }
        let words = [doubted, kept(&push("PENDING", None, None)), ended(&push("SENT", None, Some(9)))].join("\n");
        for word in ["row", "verdict", "due", "journal"] {
            assert!(!words.split(|c: char| !c.is_alphabetic()).any(|found| found == word), "{word}: {words}");
        }
    }

    #[test]
    fn only_another_node_that_lives_is_named_as_the_owner() {
        let node = |name: &str, session: i64, state: NodeState| NodeSeen {
            node: NodeId(name.into()),
            session: Session(session),
            state,
            hb_seq: 1,
            hb_at: Timestamp(0),
            weight: 1,
            max_users: 1,
            users: 1,
            features: Features::parse("ews"),
            version: String::new(),
            addr: format!("https://{name}.corp.net:8444"),
        };
        let shard = |number: u16, owner: Option<i64>| ShardView {
            shard: ShardId(number),
            owner: owner.map(Session),
            epoch: Fence(1),
            target: None,
            users: 1,
            requires: Features::parse(""),
        };
        let view = ClusterView {
            assign_ver: 1,
            leader: None,
            history: History { system_id: "s".into(), timeline: 1 },
            link: 1,
            sending_allowed: true,
            now: Timestamp(0),
            nodes: vec![node("a", 1, NodeState::Good), node("b", 2, NodeState::Draining), node("c", 3, NodeState::Bad)],
            shards: vec![shard(0, Some(1)), shard(1, Some(2)), shard(2, Some(3)), shard(3, None)],
        };
        let named: Vec<Option<String>> =
            (0..5).map(|number| Owner::of(&view, ShardId(number), Session(1)).map(|owner| owner.address)).collect();
        assert_eq!(named, [None, Some("https://b.corp.net:8444".to_owned()), None, None, None]);
    }
}
