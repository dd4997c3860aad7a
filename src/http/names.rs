//! Looks up the addresses of servers, and tells a name that does not exist from a DNS that does not answer.
//!
//! The system's own look-up says why it failed in words only. A name that it does not find is asked for once more in DNS itself, whose answer is a code.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, timeout_at};
use tower::Service;

/// A look-up is given up after so long, however long its connection may take.
const LONGEST: Duration = Duration::from_secs(8);
/// How long one name server is waited for before the question is asked again, and how often it is.
const SERVER_DEADLINE: Duration = Duration::from_secs(2);

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// NXDOMAIN (RFC 1035, section 4.1.1).
    #[error("DNS has no such name (NXDOMAIN)")]
    Unknown,
    /// The name is there, and has no record of the kind that was asked for.
    #[error("DNS knows the name, but it has no such record")]
    NoRecord,
    /// No name server answered in time.
    #[error("no DNS server answered in time")]
    Silent,
    /// A name server answered that it failed (SERVFAIL, REFUSED), or nothing that can be used.
    #[error("the DNS server failed (SERVFAIL or the like)")]
    Failed,
}

impl NameError {
    /// Whether a code is one of these.
    #[must_use]
    pub fn is_code(code: &str) -> bool {
        [Self::Unknown, Self::NoRecord, Self::Silent, Self::Failed].iter().any(|error| error.code() == code)
    }

    /// The code in logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "NameUnknown",
            Self::NoRecord => "NameWithoutRecord",
            Self::Silent => "DnsSilent",
            Self::Failed => "DnsFailed",
        }
    }
}

impl From<&NetError> for NameError {
    fn from(error: &NetError) -> Self {
        match error {
            error if error.is_nx_domain() => Self::Unknown,
            error if error.is_no_records_found() => Self::NoRecord,
            NetError::Timeout | NetError::NoConnections => Self::Silent,
            // A port where nobody listens.
            NetError::Io(_) => Self::Silent,
            _ => Self::Failed,
        }
    }
}

/// Who is asked for names. Cheap to clone.
#[derive(Clone, Default)]
pub struct Names(Arc<Asked>);

#[derive(Default)]
struct Asked {
    /// Name servers instead of the system's; none: the system's.
    servers: Vec<SocketAddr>,
    resolver: OnceLock<Option<TokioResolver>>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Names").field(&self.0.servers).finish()
    }
}

impl Names {
    /// Asks these name servers; the system's, its file of hosts first, if there are none.
    #[must_use]
    pub fn asking(servers: &[SocketAddr]) -> Self {
        Self(Arc::new(Asked { servers: servers.to_vec(), resolver: OnceLock::new() }))
    }

    /// The resolver, made when it is first needed; `None` if the system's settings cannot be read.
    pub fn resolver(&self) -> Option<&TokioResolver> {
        self.0.resolver.get_or_init(|| self.make()).as_ref()
    }

    fn make(&self) -> Option<TokioResolver> {
        let mut builder = if self.0.servers.is_empty() {
            TokioResolver::builder_tokio().ok()?
        } else {
            let servers = self.0.servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections.iter_mut().for_each(|connection| connection.port = server.port());
                config
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = options.timeout.min(SERVER_DEADLINE);
        options.attempts = options.attempts.min(1);
        builder.build().ok()
    }

    /// The addresses of a host, port 0, within a deadline.
    ///
    /// # Errors
    /// [`NameError`].
    pub async fn addresses(&self, host: &str, deadline: Duration) -> Result<Vec<SocketAddr>, NameError> {
        let until = Instant::now() + deadline.min(LONGEST);
        if self.0.servers.is_empty() {
            // The system may know names that DNS does not: its file of hosts, a directory.
            match timeout_at(until, tokio::net::lookup_host((host, 0))).await {
                Ok(Ok(found)) => return Ok(found.collect()),
                Ok(Err(_)) => {}
                Err(_) => return Err(NameError::Silent),
            }
        }
        let resolver = self.resolver().ok_or(NameError::Failed)?;
        let found = timeout_at(until, resolver.lookup_ip(host)).await.map_err(|_| NameError::Silent)?;
        let found = found.map_err(|error| NameError::from(&error))?;
        Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect())
    }

    /// For connections, whose look-ups end before the connection's own deadline does.
    #[must_use]
    pub(super) fn within(&self, connect_timeout: Duration) -> TimedNames {
        TimedNames { names: self.clone(), deadline: connect_timeout * 3 / 4 }
    }
}

/// Looks names up for connections.
#[derive(Debug, Clone)]
pub struct TimedNames {
    names: Names,
    deadline: Duration,
}

type Looking = Pin<Box<dyn Future<Output = Result<std::vec::IntoIter<SocketAddr>, NameError>> + Send>>;

impl Service<Name> for TimedNames {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameError;
    type Future = Looking;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NameError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Looking {
        let this = self.clone();
        Box::pin(async move { Ok(this.names.addresses(name.as_str(), this.deadline).await?.into_iter()) })
    }
}

impl reqwest::dns::Resolve for TimedNames {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.names.addresses(name.as_str(), this.deadline).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that answers every question with this code, or not at all.
    async fn server(code: Option<u8>) -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let Some(code) = code else { continue };
                let mut answer = question[..length].to_vec();
                (answer[2], answer[3]) = (0x81, 0x80 | code);
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Names::asking(&[address])
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_told_from_a_dns_that_fails_or_is_silent() {
        for (code, told) in
            [(Some(3), NameError::Unknown), (Some(0), NameError::NoRecord), (Some(2), NameError::Failed), (None, NameError::Silent)]
        {
            let names = server(code).await;
            let found = names.addresses("mail.example.com", Duration::from_millis(if code.is_some() { 8_000 } else { 300 })).await;
            assert_eq!(found, Err(told));
        }
    }
}
