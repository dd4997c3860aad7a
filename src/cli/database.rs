//! The database of the configuration, for commands that work on it directly, also while a node runs.

use std::sync::Arc;

use postrider_actors::ports::registry_store::AuditLine;
use postrider_actors::ports::{Clock, RegistryStore, StoreError};

use super::exit::{Exit, Failure};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::store::{Options, SqliteStore};

/// Opens the database and brings its schema up to date; no ownership is taken.
///
/// # Errors
/// What is wrong with the file and what to do; a locked database is exit code 3.
pub async fn open(config: &Config) -> anyhow::Result<(SqliteStore, Arc<dyn Clock>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let store = SqliteStore::open(&config.store.path, Options::new(Arc::clone(&clock))).await;
    Ok((store.map_err(|error| explained(config, &error))?, clock))
}

/// Leaves a line in the audit trail for what was done on the command line. What cannot be kept is told: what was done is done.
pub async fn noted(store: &impl RegistryStore, clock: &Arc<dyn Clock>, what: &str, object: &str, done: bool) {
    let status = if done { 200 } else { 404 };
    let line = AuditLine { at: clock.now(), who: "command line".into(), what: what.into(), object: object.into(), status };
    if let Err(error) = store.audit(&line).await {
        eprintln!("postrider: the audit line could not be kept: {error}");
    }
}

/// An error of the database with the file it is about.
#[must_use]
pub fn explained(config: &Config, error: &StoreError) -> anyhow::Error {
    let exit = if matches!(error, StoreError::Unavailable(_)) { Exit::NotReachable } else { Exit::Failed };
    Failure::error(exit, format!("{}: {error}", config.store.path.display()))
}
