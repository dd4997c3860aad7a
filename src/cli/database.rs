//! The database of the configuration, for commands that work on it directly, also while a node runs.

use std::sync::Arc;

use postrider_actors::ids::TenantId;
use postrider_actors::ports::registry_store::AuditLine;
use postrider_actors::ports::{Clock, RegistryStore, StoreError};

use super::exit::{Exit, Failure};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::store::{Schema, Store};

/// Opens the database; no ownership is taken.
///
/// # Errors
/// What is wrong with it and what to do; a database that is locked or out of reach is exit code 3.
pub async fn open(config: &Config) -> anyhow::Result<(Store, Arc<dyn Clock>)> {
    open_with(config, Schema::AsUsual).await
}

/// The same with a decision about an older schema.
///
/// # Errors
/// As [`open`].
pub async fn open_with(config: &Config, schema: Schema) -> anyhow::Result<(Store, Arc<dyn Clock>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let store = Store::open(&config.store, schema, Arc::clone(&clock)).await;
    Ok((store.map_err(|error| explained(config, &error))?, clock))
}

/// Leaves a line in the audit trail for what was done on the command line. What cannot be kept is told: what was done is done.
pub async fn noted(store: &dyn RegistryStore, clock: &Arc<dyn Clock>, what: &str, object: &str, done: bool) {
    let status = if done { 200 } else { 404 };
    let line = AuditLine {
        at: clock.now(),
        who: "command line".into(),
        what: what.into(),
        object: object.into(),
        status,
        tenant: TenantId(String::new().into()),
    };
    if let Err(error) = store.audit(&line).await {
        eprintln!("postrider: the audit line could not be kept: {error}");
    }
}

/// An error of the database with its place.
#[must_use]
pub fn explained(config: &Config, error: &StoreError) -> anyhow::Error {
    let exit = if matches!(error, StoreError::Unavailable(_)) { Exit::NotReachable } else { Exit::Failed };
    Failure::error(exit, format!("{}: {error}", config.store.url.place()))
}
