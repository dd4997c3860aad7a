//! `migrate`: brings the database to this version's schema, forward only.

use serde_json::json;

use super::exit::Exit;
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};
use crate::store::Schema;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Opens the database, which brings it up to date, and says where it stands.
///
/// # Errors
/// Mistakes of the configuration, or what is wrong with the database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let (store, _) = database::open_with(&config, Schema::Update).await?;
    let version = store.schema_version().await.map_err(|error| database::explained(&config, &error))?;
    store.close().await;
    if args.output.json {
        output::json(&json!({ "database": config.store.url.place(), "schema": version }));
    } else {
        output::say(&format!("{}: schema {version}", config.store.url.place()));
    }
    Ok(Exit::Done)
}
