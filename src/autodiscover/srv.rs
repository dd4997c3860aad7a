//! Asks DNS for `_autodiscover._tcp.<domain>`.

use std::time::Duration;

use hickory_resolver::proto::rr::RData;

use super::candidates::Srv;
use crate::http::names::{NameError, Names};

/// Deadline of one look-up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Records beyond these are not looked at.
const MAX_RECORDS: usize = 16;

/// Asks for records; the resolver is made when it is first needed.
pub struct Resolver(pub Names);

impl Resolver {
    /// The records of a mail domain.
    ///
    /// # Errors
    /// A short text for traces.
    pub async fn records(&self, domain: &str) -> Result<Vec<Srv>, String> {
        let resolver = self.0.resolver().ok_or("the system's DNS settings cannot be read")?;
        let name = format!("_autodiscover._tcp.{domain}.");
        let asked = tokio::time::timeout(DEADLINE, resolver.srv_lookup(name)).await;
        let found = asked.map_err(|_| NameError::Silent.to_string())?.map_err(|error| NameError::from(&error).to_string())?;
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.to_ascii() }),
            _ => None,
        });
        Ok(records.take(MAX_RECORDS).collect())
    }
}
