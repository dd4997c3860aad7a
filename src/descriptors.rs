//! File descriptors: each connection takes one, and a process has only so many. The limit is raised as far as the system lets us, part of it is kept for outgoing
//! connections, and running out is told by name.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::repeats::Repeats;
use crate::telemetry::metrics::{Descriptors, descriptors_ran_out};

/// For the database's files, the listeners, the log, certificates that are read again, and the like.
const FILES: u64 = 64;
/// How often the descriptors in use are counted.
const LOOK: Duration = Duration::from_secs(5);
/// From this share of the limit on, in per cent, it is told that they run out; below the other one that it is over.
const FULL: u64 = 90;
const ENOUGH: u64 = 80;

/// Raises the soft limit to the hard one, and says what it is.
///
/// # Errors
/// The system's.
pub fn raise() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(limit())
}

/// How many descriptors this process may have.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How the descriptors are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// What the settings can take all together.
    pub wanted: u64,
    /// Kept for connections to Exchange, Apple, Google and the database.
    pub outgoing: u64,
    /// Connections that the address for phones may have.
    pub public: usize,
}

/// Connections that the address of administrators and monitoring has of its own, beside so many for phones.
#[must_use]
pub fn admin(public: usize) -> usize {
    (public / 8).max(16)
}

/// Shares the limit out: half of it at most is kept for outgoing connections, the rest is for callers.
#[must_use]
pub fn share(limit: u64, outgoing: u64, public: usize) -> Shares {
    let incoming = |public: usize| (public + admin(public)) as u64;
    let usable = limit.saturating_sub(FILES);
    let kept = outgoing.min(usable / 2);
    let room = usize::try_from(usable - kept).unwrap_or(usize::MAX);
    let fits = (room.saturating_mul(8) / 9).min(room.saturating_sub(16)).max(16);
    Shares { wanted: FILES + outgoing + incoming(public), outgoing: kept, public: public.min(fits) }
}

/// How many outgoing connections the settings allow.
#[must_use]
pub fn outgoing(config: &Config) -> u64 {
    let push: usize = config.push.apns.iter().map(|apns| 2 * apns.connections).sum::<usize>()
        + config.push.fcm.iter().map(|fcm| 2 * fcm.connections).sum::<usize>();
    let exchange = u64::from(config.ews.streams) + u64::from(config.ews.calls) + u64::from(config.autodiscover.lookups);
    exchange + push as u64 + u64::from(config.store.connections) + u64::from(config.store.readers) + 16
}

/// The settings of the API as far as the limit carries them; says so if that is less than was set.
#[must_use]
pub fn within(limit: u64, config: &Config) -> crate::config::api::Api {
    let mut api = config.api.clone();
    let shares = share(limit, outgoing(config), api.max_connections);
    if shares.wanted > limit {
        tracing::warn!(
            limit,
            wanted = shares.wanted,
            outgoing = shares.outgoing,
            accepted = shares.public,
            set = api.max_connections,
            "the settings can take more file descriptors than the process may have: so many connections are accepted; raise LimitNOFILE (systemd) or lower api.max_connections and ews.streams"
        );
    }
    if shares.public < api.max_connections {
        api.max_connections = shares.public;
        api.max_connections_per_address = api.max_connections_per_address.min((shares.public / 4).max(1));
    }
    api
}

/// The name of the error if descriptors have run out.
#[must_use]
pub fn out_of(error: &io::Error) -> Option<&'static str> {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error)?;
    match code {
        rustix::io::Errno::MFILE => Some("EMFILE"),
        rustix::io::Errno::NFILE => Some("ENFILE"),
        _ => None,
    }
}

/// Counts and tells that descriptors have run out.
pub fn ran_out(at: &'static str, name: &'static str) {
    static TOLD: Repeats = Repeats::new();
    descriptors_ran_out(if at == "accept" { Descriptors::Accept } else { Descriptors::Open }, 1);
    if let Some(more) = TOLD.due() {
        tracing::error!(
            error = name,
            at,
            limit = limit(),
            more,
            "no file descriptor is left: connections cannot be made; raise LimitNOFILE (systemd)"
        );
    }
}

/// Counts the descriptors in use now and then, and tells when they run out, whichever part of the program meets it, and when there are enough again.
pub async fn watch() {
    let mut full = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let (limit, used) = (limit(), in_use());
        match used {
            Err(error) => {
                if let Some(name) = out_of(&error) {
                    ran_out("open", name);
                }
            }
            Ok(used) if !full && used.saturating_mul(100) >= limit.saturating_mul(FULL) => {
                full = true;
                tracing::warn!(used, limit, "file descriptors run out: soon no connection can be made; raise LimitNOFILE (systemd)");
            }
            Ok(used) if full && used.saturating_mul(100) < limit.saturating_mul(ENOUGH) => {
                full = false;
                tracing::info!(used, limit, "there are enough file descriptors again");
            }
            Ok(_) => {}
        }
    }
}

fn in_use() -> io::Result<u64> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outgoing_connections_have_their_share_of_a_small_limit() {
        let small = share(1024, 1_100, 4_096);
        assert_eq!((small.outgoing, small.public), (480, 426));
        assert!(FILES + small.outgoing + (small.public + admin(small.public)) as u64 <= 1024);
        assert!(small.wanted > 1024, "and it is told");
        let large = share(524_288, 1_100, 4_096);
        assert_eq!((large.outgoing, large.public), (1_100, 4_096));
        assert!(large.wanted <= 524_288);
        for limit in [0, 1, 64, 80, 256] {
            assert!(share(limit, 1_100, 4_096).public >= 16, "{limit}");
        }
    }

    #[test]
    fn running_out_has_its_name() {
        assert_eq!(out_of(&io::Error::from_raw_os_error(24)), Some("EMFILE"));
        assert_eq!(out_of(&io::Error::from_raw_os_error(23)), Some("ENFILE"));
        assert_eq!(out_of(&io::Error::from_raw_os_error(104)), None);
    }
}
