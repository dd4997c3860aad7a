//! `audit`: the trail of who did what, directly in the database, also while no node runs.

use clap::Subcommand;
use postrider_actors::ids::TenantId;
use postrider_actors::ports::registry_change::AuditAsk;
use postrider_actors::ports::registry_store::AuditLine;
use postrider_actors::time::Timestamp;
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider audit list
  postrider audit list --since 2027-01-15T08:00:00Z --who 'key 0123456789abcdef'
  postrider audit list --what DELETE --limit 1000
  postrider audit list --object 'mailbox 17' --json | jq '.lines[].what'

Newest first; --before N shows the next page. Each call of an admin route, each change made with a key and each command that changes something has a line; what
callers without a key try is counted (postrider_api_unrecognised_total) and logged. Administrators of one company read theirs at GET /v1/admin/audit.";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show lines of the trail, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Only lines before the one with this number.
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
        /// Not before this moment, as in 2027-01-15T08:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<Timestamp>,
        /// Before this moment.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<Timestamp>,
        /// Of this caller: `key <id>`, or `command line`.
        #[arg(long)]
        who: Option<String>,
        /// Whose action has this in it, such as DELETE.
        #[arg(long)]
        what: Option<String>,
        /// Whose object has this in it, such as `mailbox 17`.
        #[arg(long)]
        object: Option<String>,
        /// Of this company only.
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
}

/// Does it.
///
/// # Errors
/// Mistakes of the configuration, or what is wrong with the database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let (store, _) = database::open(&config).await?;
    let Action::List { limit, before, since, until, who, what, object, tenant } = &args.action;
    let ask = AuditAsk {
        tenants: tenant.iter().map(|name| TenantId(name.as_str().into())).collect(),
        before: *before,
        since: *since,
        until: *until,
        who: who.clone(),
        what: what.clone(),
        object: object.clone(),
        limit: *limit,
    };
    let found = store.registry.audit_list(&ask).await;
    store.close().await;
    let found = found.map_err(|error| database::explained(&config, &error))?;
    if args.output.json {
        output::json(&json!({ "lines": found.iter().map(view).collect::<Vec<_>>() }));
    } else if found.is_empty() {
        output::say("no lines");
    } else {
        for (_, line) in &found {
            output::say(&shown(line));
        }
        if let Some((last, _)) = found.last().filter(|_| u32::try_from(found.len()).is_ok_and(|count| count >= *limit)) {
            eprintln!("older ones: --before {last}");
        }
    }
    Ok(Exit::Done)
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse::<jiff::Timestamp>()
        .map(|at| Timestamp(at.as_microsecond()))
        .map_err(|_| "takes a time with its zone, as in 2027-01-15T08:00:00Z".to_owned())
}

fn time(at: Timestamp, digits: usize) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.digits$}"))
}

fn view((id, line): &(i64, AuditLine)) -> Value {
    let AuditLine { at, who, what, object, status, tenant } = line;
    json!({ "id": id, "at": time(*at, 6), "who": who, "what": what, "object": object, "status": status, "tenant": &*tenant.0 })
}

/// The widest line that is printed.
const WIDTH: usize = 80;

/// A line of the trail in two lines of the terminal: when, how it ended and who; then what, and to what.
fn shown(line: &AuditLine) -> String {
    let company = if line.tenant.0.is_empty() { String::new() } else { format!(" of {}", line.tenant) };
    let cut = |text: String| match text.char_indices().nth(WIDTH - 1) {
        Some((end, _)) if text.chars().count() > WIDTH => format!("{}…", &text[..end]),
        _ => text,
    };
    let first = cut(format!("{}  {:>3}  {}{company}", time(line.at, 3), line.status, line.who));
    let second = cut(format!("    {}", line.what));
    if line.object.is_empty() {
        format!("{first}\n{second}")
    } else {
        format!("{first}\n{second}\n{}", cut(format!("    {}", line.object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_eighty_columns_and_its_time_is_whole() {
        let line = AuditLine {
            at: Timestamp(1_800_000_000_123_456),
            who: "key 0123456789abcdef".into(),
            what: "POST /v1/mailboxes/{smtp}/devices/{device}/activity".into(),
            object: format!("a…@{}.example (mailbox 123456789)", "x".repeat(90)),
            status: 204,
            tenant: TenantId("t".repeat(64).into()),
        };
        let text = shown(&line);
        assert!(text.starts_with("2027-01-15T08:00:00.123Z  204  key 0123456789abcdef of tt"), "{text}");
        assert!(text.lines().count() == 3 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(moment("2027-01-15T09:00:00+01:00").is_ok_and(|at| at.0 == 1_800_000_000_000_000));
        assert!(moment("yesterday").is_err());
    }
}
