//! `migrate`: brings the database to this version's schema, forward only; and takes an embedded database over into one that many nodes share.

use std::path::PathBuf;

use indicatif::ProgressBar;
use serde_json::{Map, json};

use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};
use crate::config::database_url::DatabaseUrl;
use crate::store::Schema;

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider migrate
  postrider migrate --from sqlite:/var/lib/postrider/postrider.db

--from takes over mailboxes with their sync states, devices, pushes that wait, keys and the audit trail, everything or nothing, into the empty PostgreSQL database that
store.url names. No node may work on the file meanwhile. Sending is paused in it before the first row goes, so that it pushes nothing should a node be started on it by mistake; it is
allowed again if nothing was taken over. Interrupted in between, or where the outcome is unknown, it stays paused: `postrider sending allow` on the file if it is to go on.";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Take this embedded database over.
    #[arg(long, value_name = "sqlite:FILE")]
    from: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Opens the database, brings it up to date, takes over what is to be taken over, and says where it stands.
///
/// # Errors
/// Mistakes of the configuration or the arguments, or what is wrong with a database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let from = args.from.as_deref().map(file).transpose()?;
    let (store, clock) = database::open_with(&config, Schema::Update).await?;
    let failed = |error| database::explained(&config, &error);
    let version = store.schema_version().await.map_err(failed)?;
    let mut answer = json!({ "database": config.store.url.place(), "schema": version });
    let mut said = format!("{}: schema {version}", config.store.url.place());
    if let Some(from) = &from {
        let bar = if args.output.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let told = |table: &'static str, rows: u64| {
            bar.set_message(format!("{table}: {rows}"));
            bar.tick();
        };
        let taken = store.take_over(from, clock.clone(), &told).await;
        bar.finish_and_clear();
        let taken = taken.map_err(failed)?;
        database::noted(&*store.registry, &clock, "migrate", "from an embedded database", true).await;
        answer["taken"] = taken.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect::<Map<_, _>>().into();
        let rows: Vec<String> = taken.rows.iter().map(|(table, rows)| format!("{table} {rows}")).collect();
        said = format!("{said}; taken over: {}", rows.join(", "));
    }
    store.close().await;
    if args.output.json {
        output::json(&answer)
    } else {
        output::say(&said)
    }
    Ok(Exit::Done)
}

/// The file of an embedded database.
fn file(text: &str) -> anyhow::Result<PathBuf> {
    match DatabaseUrl::try_from(text.to_owned()) {
        Ok(DatabaseUrl::Sqlite(path)) => Ok(path),
        _ => Err(Failure::error(Exit::Usage, "--from takes the file of an embedded database: sqlite:/var/lib/postrider/postrider.db")),
    }
}
