//! `[api]`: where the HTTP API listens, its certificate and its limits.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Problems;
use super::section::{by_text, section};
use super::setting::Bytes;

section! {
    /// The HTTP API for phones, mobile-management servers and administrators.
    pub struct Api with defaults {
        /// Where phones and mobile-management servers come in; administrators too, unless `admin_listen` is set.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080));
        /// Where the admin routes and `/metrics` are served; `listen` does not serve them then. Without it `/metrics` wants an admin key.
        pub admin_listen: Option<SocketAddr>;
        /// Serve plain HTTP on addresses that other machines reach: only behind a proxy that does TLS. Loopback addresses may always be plain.
        pub plain_http: bool = false;
        /// Certificate and key for both addresses. Without it HTTP is plain.
        pub tls: Option<Tls>;
        /// Proxies whose `X-Forwarded-For` is believed about the caller's address.
        pub trusted_proxies: Vec<Network>;
        /// Deadline of one request.
        pub request_timeout: Duration = Duration::from_secs(10), within Duration::from_millis(100)..=Duration::from_secs(60);
        /// How long a caller may take for the TLS handshake, for the head of a request (with HTTP/1.1 the pause before it counts), and for its body.
        pub read_timeout: Duration = Duration::from_secs(10), within Duration::from_millis(100)..=Duration::from_secs(60);
        /// How long nothing may move on a connection, and how long no request may be under way on it, before it is closed.
        pub idle_timeout: Duration = Duration::from_secs(60), within Duration::from_millis(100)..=Duration::from_secs(600);
        /// The largest request body.
        pub body_limit: Bytes = Bytes::kib(16), within Bytes::kib(1)..=Bytes::mib(1);
        /// Connections open at a time, further ones are closed at once. `admin_listen` has an eighth as many beside them, at least 16. Fewer if the process may not have so many file descriptors, of which outgoing connections keep their part.
        pub max_connections: usize = 4_096, within 1..=100_000;
        /// Connections open at a time of one address (an IPv6 /64 counts as one); `trusted_proxies` may have more. A sixteenth of all is kept for addresses that have none.
        pub max_connections_per_address: usize = 256, within 1..=100_000;
        /// Requests under way at a time; further ones are answered 503 at once.
        pub max_requests: usize = 512, within 1..=10_000;
        /// Requests a minute from one caller address (an IPv6 /64 counts as one), before any signature or key is looked at.
        pub address_rate: u32 = 600, within 1..=1_000_000;
        /// Requests a minute of one user or API key, once recognised.
        pub subject_rate: u32 = 60_000, within 1..=1_000_000;
        /// Requests that an address, a user or a key may make at once before its rate applies.
        pub burst: u32 = 200, within 1..=100_000;
        /// How often an hour the push tokens of one mailbox may change on this node; registering a device with what it has is no change.
        pub token_changes: usize = 20, within 1..=10_000;
        /// How long an API key is believed without asking the database again: a revoked key works at most this long.
        pub key_cache: Duration = Duration::from_secs(5), within Duration::ZERO..=Duration::from_secs(60);
        /// The shortest time between two reads of an identity provider's keys; a token with an unknown key id makes them be read.
        pub jwks_refresh: Duration = Duration::from_secs(30), within Duration::from_secs(1)..=Duration::from_secs(3_600);
        /// How old an identity provider's keys may become before they are read again.
        pub jwks_keep: Duration = Duration::from_secs(3_600), within Duration::from_secs(60)..=Duration::from_secs(86_400);
        /// How old they may become while the provider cannot be reached; then its tokens are refused.
        pub jwks_stale: Duration = Duration::from_secs(86_400), within Duration::from_secs(60)..=Duration::from_secs(604_800);
        /// How long requests under way may still take when the node stops.
        pub drain: Duration = Duration::from_secs(5), within Duration::ZERO..=Duration::from_secs(60);
    }
}

section! {
    /// The server's certificate. Both files are read again when one of them changes; what cannot be used then is reported and the former certificate stays.
    pub struct Tls {
        /// PEM file with the certificate, followed by those that issued it.
        pub certificate: PathBuf;
        /// PEM file with the private key (PKCS#8, PKCS#1 or SEC1).
        pub key: PathBuf;
        /// How often the files are looked at.
        pub reload: Duration = Duration::from_secs(5), within Duration::from_millis(100)..=Duration::from_secs(3_600);
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address lies in this range; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(it)) => same_prefix(&net.octets(), &it.octets(), self.bits),
            (IpAddr::V6(net), IpAddr::V6(it)) => same_prefix(&net.octets(), &it.octets(), self.bits),
            _ => false,
        }
    }
}

fn same_prefix(a: &[u8], b: &[u8], bits: u8) -> bool {
    let (whole, rest) = (usize::from(bits / 8), bits % 8);
    let mask = !(0xff_u8.checked_shr(u32::from(rest)).unwrap_or(0));
    a[..whole] == b[..whole] && (rest == 0 || a[whole] & mask == b[whole] & mask)
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither an address nor a network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text.as_str(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match bits.unwrap_or(longest) {
            bits if bits <= longest => Ok(Self { address, bits }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

by_text!(Network, "a network or an address, such as \"10.0.0.0/8\"");

impl Api {
    /// What no single key can say.
    pub fn check(&self, problems: &mut Problems) {
        for (key, address) in [("api.listen", Some(self.listen)), ("api.admin_listen", self.admin_listen)] {
            if address.is_some_and(|address| self.tls.is_none() && !self.plain_http && !address.ip().is_loopback()) {
                problems.add(
                    key,
                    "would serve plain HTTP to other machines: set api.tls, or api.plain_http = true behind a proxy that does TLS",
                );
            }
        }
        if self.admin_listen == Some(self.listen) && self.listen.port() != 0 {
            problems
                .add("api.admin_listen", "is the same as api.listen: take another port, or leave it out to serve everything on api.listen");
        }
        if let Some(tls) = &self.tls {
            problems.file("api.tls.certificate", &tls.certificate);
            problems.secret_file("api.tls.key", &tls.key);
        }
        if self.jwks_stale < self.jwks_keep {
            problems.add("api.jwks_stale", "must not be shorter than api.jwks_keep");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_toml;

    fn problems_of(settings: &Api) -> Vec<String> {
        let mut problems = Problems::default();
        settings.check(&mut problems);
        problems.0.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_in_order() {
        assert_eq!(problems_of(&Api::default()), Vec::<String>::new());
        assert_eq!(from_toml::<Api>("").unwrap(), Api::default());
    }

    #[test]
    fn plain_http_reaches_other_machines_only_when_that_is_wanted() {
        let open = Api { listen: "0.0.0.0:80".parse().unwrap(), ..Default::default() };
        assert_eq!(problems_of(&open), ["api.listen"]);
        assert_eq!(problems_of(&Api { plain_http: true, ..open }), Vec::<String>::new());
    }

    #[test]
    fn values_out_of_range_and_unknown_keys_are_told_at_once() {
        let error = from_toml::<Api>("body_limit = '1B'\nrequest_timeout = '0s'\nburst = 0\nbrust = 5\ntrusted_proxies = ['10.0.0.0/33']")
            .unwrap_err();
        let keys: Vec<_> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
        for key in ["request_timeout", "body_limit", "burst", "brust", "trusted_proxies"] {
            assert!(keys.iter().any(|found| found.starts_with(key)), "{key}: {keys:?}");
        }
    }

    #[test]
    fn two_companies_with_the_same_tokens_are_told_apart_or_refused() {
        use crate::config::tenants::{Tenant, check_identities};
        let tenant = |audience: &str| {
            let text = format!(
                "allowed_domains = ['a.b']\nmail.basic = {{ user = 'u', password = {{ env = 'PATH' }} }}\nidentity = {{ issuer = 'https://i', audience = '{audience}' }}"
            );
            from_toml::<Tenant>(&text).unwrap()
        };
        for (second, found) in [("push", 1), ("other", 0)] {
            let mut problems = Problems::default();
            check_identities(&[("a".to_owned(), tenant("push")), ("b".to_owned(), tenant(second))].into(), &mut problems);
            assert_eq!(problems.0.len(), found);
        }
    }

    #[test]
    fn networks_contain_what_shares_their_prefix() {
        let network = |text: &str| Network::try_from(text.to_owned());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("10.0.0.0/8").unwrap().contains(ip("10.255.0.1")));
        assert!(network("10.0.0.0/8").unwrap().contains(ip("::ffff:10.1.2.3")));
        assert!(!network("10.0.0.0/9").unwrap().contains(ip("10.128.0.1")));
        assert!(network("0.0.0.0/0").unwrap().contains(ip("8.8.8.8")));
        assert!(network("fd00::/8").unwrap().contains(ip("fd12::1")));
        assert!(network("192.0.2.7").unwrap().contains(ip("192.0.2.7")));
        assert!(!network("192.0.2.7").unwrap().contains(ip("192.0.2.6")));
        for wrong in ["10.0.0.0/33", "x", "10.0.0.0/", "fd00::/129", ""] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
