//! `mailbox`: add, remove, list, and why there was no push.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::admin::{Admin, AdminArgs};
use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs, cell};

/// How many mailboxes are asked for at once.
const PAGE: &str = "1000";

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples (POSTRIDER_KEY holds an admin key; the key says which company is meant):
  postrider mailbox add ada@example.com
  postrider mailbox list --json | jq -r '.mailboxes[].smtp'
  postrider mailbox why ada@example.com --config /etc/postrider/postrider.toml
  postrider mailbox why ada@example.com --api https://push.example.com:8444 --ca company-ca.pem";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a mailbox known; it is watched once it has a device.
    Add {
        /// Its primary SMTP address.
        address: String,
    },
    /// Remove a mailbox and everything about it.
    Remove {
        /// Its primary SMTP address.
        address: String,
    },
    /// List the company's mailboxes.
    List,
    /// Say where a mailbox stands and what happened to it, oldest first: what the server told, what was read, which pushes left and what came back.
    Why {
        /// Its primary SMTP address.
        address: String,
    },
}

/// Talks to the node.
///
/// # Errors
/// Not reachable, or refused.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Action::Add { address } | Action::Remove { address } | Action::Why { address } = &args.action {
        is_address(address)?;
    }
    let admin = args.admin.connect()?;
    let one = |address| ["v1", "admin", "mailboxes", address];
    match &args.action {
        Action::Add { address } => {
            let answer = admin.ask(Method::PUT, &one(address), &[], None).await?;
            answered(args.output, &answer, &format!("{address} is known; it is watched while it has a device"));
        }
        Action::Remove { address } => {
            admin.ask(Method::DELETE, &one(address), &[], None).await?;
            answered(args.output, &json!({ "smtp": address, "removed": true }), &format!("{address} and everything about it is removed"));
        }
        Action::List => list(&admin, args.output).await?,
        Action::Why { address } => {
            let answer = look(&admin, address).await?;
            if args.output.json {
                output::json(&answer);
            } else {
                explain(&answer);
            }
        }
    }
    Ok(Exit::Done)
}

/// A mistake unless a text can be a mailbox's address.
///
/// # Errors
/// What would be one (exit code 2).
pub fn is_address(text: &str) -> anyhow::Result<()> {
    let whole = text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if whole && !text.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(Failure::error(Exit::Usage, format!("{text} is no mailbox's address: write it as name@domain, such as ada@example.com")))
}

/// Everything that is known about one mailbox: what the node that watches it says, which is asked if another one was.
///
/// # Errors
/// Not reachable, or refused.
pub async fn look(admin: &Admin, address: &str) -> anyhow::Result<Value> {
    let path = ["v1", "admin", "mailboxes", address, "why"];
    let mut answer = admin.ask(Method::GET, &path, &[], None).await?;
    let Some(owner) = answer.pointer("/owner/address").and_then(Value::as_str).map(str::to_owned) else { return Ok(answer) };
    // One step: the owner knows, or moved the mailbox on meanwhile.
    let asked = match admin.other(&owner) {
        Ok(other) => other.ask(Method::GET, &path, &[], None).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(answer) => Ok(answer),
        Err(error) => {
            answer["ownerNotAsked"] = format!("{error:#}").into();
            Ok(answer)
        }
    }
}

fn answered(args: OutputArgs, answer: &Value, text: &str) {
    if args.json { output::json(answer) } else { output::say(text) }
}

/// Lists page by page.
async fn list(admin: &Admin, args: OutputArgs) -> anyhow::Result<()> {
    let mut all: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE)];
        if let Some(after) = &after {
            query.push(("after", after));
        }
        let mut page = admin.ask(Method::GET, &["v1", "admin", "mailboxes"], &query, None).await?;
        if let Some(Value::Array(items)) = page.get_mut("mailboxes").map(Value::take) {
            all.extend(items);
        }
        let next = page.get("after").and_then(Value::as_str).map(str::to_owned);
        // A page that does not go on would be asked for again for ever.
        if next.is_none() || next == after {
            break;
        }
        after = next;
    }
    let columns = [
        ("address", "/smtp"),
        ("devices", "/devices"),
        ("watched since (utc)", "/watchSince"),
        ("announced until (utc)", "/announcedUntil"),
    ];
    let answer = json!({ "mailboxes": all });
    let items = answer["mailboxes"].as_array().map_or(&[][..], Vec::as_slice);
    output::list(args, &answer, items, &columns, "no mailboxes; a phone that registers brings its own, or: postrider mailbox add ADDRESS");
    Ok(())
}

/// Prints the answer to "why no push" for people: first what stops pushes, then what happened.
fn explain(answer: &Value) {
    output::say(&explained(answer).join("\n"));
    let events = answer["events"].as_array().map_or(&[][..], Vec::as_slice);
    output::list(OutputArgs { json: false }, answer, events, EVENTS, "nothing happened lately");
}

/// The table of what happened.
const EVENTS: &[(&str, &str)] = &[("when (utc)", "/at"), ("push", "/mail"), ("device", "/device"), ("what", "/what")];

/// The lines above the table of what happened.
fn explained(answer: &Value) -> Vec<String> {
    let at = |pointer: &str| cell(answer.pointer(pointer));
    let mut lines = vec![
        format!("{}  devices {}", at("/mailbox/smtp"), at("/mailbox/devices")),
        format!("watched since    {}", at("/mailbox/watchSince")),
        format!("announced until  {}", at("/mailbox/announcedUntil")),
    ];
    match answer.get("watch") {
        Some(watch) => {
            let phase = watch.get("phase").and_then(Value::as_str).unwrap_or_default();
            lines.push(format!("state            {}", state(phase)));
            if watch.get("nextAt").is_some() {
                lines.push(format!("next by itself   {}", cell(watch.get("nextAt"))));
            }
            if watch.get("restarts").and_then(Value::as_u64).is_some_and(|restarts| restarts > 0) {
                lines.push(format!("restarted        {} times after a mistake of the program (see the log)", cell(watch.get("restarts"))));
            }
        }
        None => lines.push("state            not watched by this node".to_owned()),
    }
    lines.extend(stops(answer).into_iter().map(|stop| format!("! {stop}")));
    lines.push(String::new());
    lines
}

/// A phase with what it means for mail.
fn state(phase: &str) -> String {
    let means = match phase {
        "seeding" => "its inbox is read for the first time; new mail is announced meanwhile",
        "catchup" => "it is read, and the server is asked to tell of new mail",
        "subscribed" => "the server was asked to tell of new mail and has not spoken yet",
        "live" => "the server tells of new mail at once",
        "polling" => "the server does not tell of new mail: it is asked now and then, and mail is late",
        "parked" => "the server refused it for good; it is tried again now and then",
        _ => return phase.to_owned(),
    };
    format!("{phase}: {means}")
}

/// What would keep every push from leaving.
fn stops(answer: &Value) -> Vec<String> {
    let is = |pointer: &str, value: Value| answer.pointer(pointer) == Some(&value);
    let mut stops = Vec::new();
    if let Some(owner) = answer.pointer("/owner/node").and_then(Value::as_str) {
        let at = answer.pointer("/owner/address").and_then(Value::as_str).unwrap_or_default();
        let why = answer.get("ownerNotAsked").and_then(Value::as_str).unwrap_or_default();
        stops.push(format!(
            "{owner} ({at}) watches it and could not be asked: {why}; what it heard and read is missing below. Ask it with --api"
        ));
    }
    if is("/node/sendingAllowed", false.into()) {
        stops.push("sending is paused on all nodes: allow it with `postrider sending allow`".to_owned());
    }
    if is("/node/gateOpen", false.into()) {
        stops.push("this node must not act at the moment: its authority in the database ran out (see its log)".to_owned());
    }
    if is("/mailbox/devices", 0.into()) {
        stops.push("no device is registered: the app has to register".to_owned());
    }
    if is("/watch/phase", "parked".into()) {
        stops.push("the mailbox was refused for good; the events say with which code: run `postrider doctor --user ADDRESS`".to_owned());
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_in_words_where_the_mailbox_stands() {
        let answer = json!({
            "mailbox": { "smtp": "ada@example.com", "devices": 2, "watchSince": "2026-12-01T02:03:04.567891Z", "announcedUntil": "2026-12-01T02:05:00Z" },
            "watch": { "phase": "polling", "restarts": 0, "nextAt": "2026-12-01T02:06:00.250000Z" },
            "owner": { "node": "node-2", "address": "https://node-2.corp.net:8444" },
            "ownerNotAsked": "connection refused",
            "node": { "sendingAllowed": true, "gateOpen": true },
        });
        let wanted = "\
ada@example.com  devices 2
watched since    2026-12-01 02:03:04.567
announced until  2026-12-01 02:05:00.000
state            polling: the server does not tell of new mail: it is asked now and then, and mail is late
next by itself   2026-12-01 02:06:00.250
! node-2 (https://node-2.corp.net:8444) watches it and could not be asked: connection refused; what it heard and read is missing below. Ask it with --api
";
        assert_eq!(explained(&answer).join("\n"), wanted);
    }

    #[test]
    fn what_happened_fits_eighty_columns() {
        let mailbox = |at: &str, what: &str| json!({ "at": at, "source": "mailbox", "what": what });
        let push = |at: &str, source: &str, what: &str| json!({ "at": at, "source": source, "what": what, "mail": "0f1e2d3c", "device": "adas-phone" });
        let events = [
            mailbox("2026-12-01T02:03:04.567891Z", "the server told of new mail, 3 unread"),
            mailbox("2026-12-01T02:03:04.601002Z", "sync found 1 new mail, 1 push"),
            push("2026-12-01T02:03:04.601002Z", "push", "push for 1 mail, received 2026-12-01T02:03:04.000Z"),
            push("2026-12-01T02:03:04.700000Z", "outcome", "sent: the provider took it"),
            mailbox("2026-12-01T02:03:09.000000Z", "the server's notifications are interrupted: ErrorReadEventsFailed"),
        ];
        let wanted = "\
WHEN (UTC)              PUSH     DEVICE     WHAT
2026-12-01 02:03:04.567 -        -          the server told of new mail, 3
                                            unread
2026-12-01 02:03:04.601 -        -          sync found 1 new mail, 1 push
2026-12-01 02:03:04.601 0f1e2d3c adas-phone push for 1 mail, received
                                            2026-12-01T02:03:04.000Z
2026-12-01 02:03:04.700 0f1e2d3c adas-phone sent: the provider took it
2026-12-01 02:03:09.000 -        -          the server's notifications are
                                            interrupted: ErrorReadEventsFailed";
        assert_eq!(output::list_of(&events, EVENTS, 80), wanted);
    }

    #[test]
    fn what_is_no_address_is_told_before_anybody_is_asked() {
        for wrong in ["foo", "@", "a@", "@b", "a b@c", "a@b@c", ""] {
            assert_eq!(Exit::of(&is_address(wrong).unwrap_err()), Exit::Usage, "{wrong}");
        }
        is_address("ada@example.com").unwrap();
    }

    #[test]
    fn what_stops_every_push_is_said_first() {
        let answer = json!({
            "mailbox": { "smtp": "ada@example.com", "devices": 0 },
            "watch": { "phase": "parked" },
            "node": { "sendingAllowed": false, "gateOpen": true },
            "events": [],
        });
        assert_eq!(stops(&answer).len(), 3);
        assert!(stops(&json!({ "mailbox": { "devices": 1 }, "node": { "sendingAllowed": true, "gateOpen": true } })).is_empty());
    }
}
