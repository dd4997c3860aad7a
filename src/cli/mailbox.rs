//! `mailbox`: add, remove, list, and why there was no push.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::admin::{Admin, AdminArgs};
use super::exit::Exit;
use super::output::{self, OutputArgs, cell};

/// How many mailboxes are asked for at once.
const PAGE: &str = "1000";

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples (POSTRIDER_KEY holds an admin key; the key says which company is meant):
  postrider mailbox add ada@example.com
  postrider mailbox list --json | jq -r '.mailboxes[].smtp'
  postrider mailbox why ada@example.com --api https://push.example.com:8081 --ca company-ca.pem";

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
    /// Say where a mailbox stands and what happened to it: hints, collections, pushes, verdicts, errors, oldest first.
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

/// Everything that the node knows about one mailbox.
///
/// # Errors
/// Not reachable, or refused.
pub async fn look(admin: &Admin, address: &str) -> anyhow::Result<Value> {
    admin.ask(Method::GET, &["v1", "admin", "mailboxes", address, "why"], &[], None).await
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
        ("seeded", "/seeded"),
        ("watched since", "/watchSince"),
        ("announced until", "/announcedUntil"),
    ];
    let answer = json!({ "mailboxes": all });
    let items = answer["mailboxes"].as_array().map_or(&[][..], Vec::as_slice);
    output::list(args, &answer, items, &columns, "no mailboxes; a phone that registers brings its own, or: postrider mailbox add ADDRESS");
    Ok(())
}

/// Prints the answer to "why no push" for people: first what stops pushes, then what happened.
fn explain(answer: &Value) {
    let at = |pointer: &str| cell(answer.pointer(pointer));
    output::say(&format!("{}  devices {}  commits {}", at("/mailbox/smtp"), at("/mailbox/devices"), at("/mailbox/syncSeq")));
    output::say(&format!("watched since {}, announced until {}", at("/mailbox/watchSince"), at("/mailbox/announcedUntil")));
    match answer.get("watch") {
        Some(watch) => output::say(&format!(
            "phase {}, restarts {}, due {}",
            cell(watch.get("phase")),
            cell(watch.get("restarts")),
            cell(watch.get("due"))
        )),
        None => output::say("this node does not watch it"),
    }
    for stop in stops(answer) {
        output::say(&format!("! {stop}"));
    }
    let events = answer["events"].as_array().map_or(&[][..], Vec::as_slice);
    let columns = [("when", "/at"), ("source", "/source"), ("mail", "/mail"), ("device", "/device"), ("what", "/what")];
    output::say("");
    output::list(OutputArgs { json: false }, answer, events, &columns, "nothing happened lately");
}

/// What would keep every push from leaving.
fn stops(answer: &Value) -> Vec<&'static str> {
    let is = |pointer: &str, value: Value| answer.pointer(pointer) == Some(&value);
    let mut stops = Vec::new();
    if is("/node/sendingAllowed", false.into()) {
        stops.push("sending is paused on all nodes: allow it with `postrider sending allow`");
    }
    if is("/node/gateOpen", false.into()) {
        stops.push("this node must not act at the moment: its authority in the database ran out (see its log)");
    }
    if is("/mailbox/devices", 0.into()) {
        stops.push("no device is registered: the app has to register");
    }
    if is("/watch/phase", "parked".into()) {
        stops.push("the mailbox was refused for good; the events say with which code: run `postrider doctor --user ADDRESS`");
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

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
