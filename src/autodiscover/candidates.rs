//! Which addresses are asked for the server of a mailbox, in which order (MS-OXDISCO 3.1.5).

use reqwest::Url;

/// Which protocol an address speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SOAP, GetUserSettings (`.svc`).
    Soap,
    /// Plain old XML (`.xml`).
    Pox,
}

/// An address to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address.
    pub url: Url,
}

impl Candidate {
    /// A candidate at any address: what ends in `.xml` speaks POX, all else SOAP.
    #[must_use]
    pub fn at(url: Url) -> Self {
        let protocol = if url.path().to_ascii_lowercase().ends_with(".xml") { Protocol::Pox } else { Protocol::Soap };
        Self { protocol, url }
    }
}

/// The https candidates of a mail domain: the domain itself, then `autodiscover.` below it, or swapped; at each SOAP, then POX.
#[must_use]
pub fn of_domain(domain: &str, swapped: bool) -> Vec<Candidate> {
    let mut hosts = [domain.to_owned(), format!("autodiscover.{domain}")];
    if swapped {
        hosts.swap(0, 1);
    }
    hosts.iter().flat_map(|host| of_host(host)).collect()
}

/// The candidates at one host.
#[must_use]
pub fn of_host(host: &str) -> Vec<Candidate> {
    let at = |file: &str| Url::parse(&format!("https://{host}/autodiscover/{file}")).ok();
    ["autodiscover.svc", "autodiscover.xml"].into_iter().filter_map(at).map(Candidate::at).collect()
}

/// The address whose unencrypted answer may redirect; it gets no credentials.
#[must_use]
pub fn unencrypted(domain: &str) -> Option<Url> {
    Url::parse(&format!("http://autodiscover.{domain}/autodiscover/autodiscover.xml")).ok()
}

/// A DNS record `_autodiscover._tcp.<domain>` (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower comes first.
    pub priority: u16,
    /// Among equals, higher comes first.
    pub weight: u16,
    /// Only 443, where TLS is spoken, is used.
    pub port: u16,
    /// The host.
    pub target: String,
}

/// The candidates that DNS records name, best first.
#[must_use]
pub fn of_records(mut records: Vec<Srv>) -> Vec<Candidate> {
    // The root as target says that the service is decidedly not there (RFC 2782).
    records.retain(|record| record.port == 443 && !record.target.trim_end_matches('.').is_empty());
    records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
    records.iter().flat_map(|record| of_host(record.target.trim_end_matches('.'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.url.as_str()).collect()
    }

    #[test]
    fn the_domain_comes_first_unless_swapped() {
        let usual = [
            "https://example.com/autodiscover/autodiscover.svc",
            "https://example.com/autodiscover/autodiscover.xml",
            "https://autodiscover.example.com/autodiscover/autodiscover.svc",
            "https://autodiscover.example.com/autodiscover/autodiscover.xml",
        ];
        assert_eq!(shown(&of_domain("example.com", false)), usual);
        assert_eq!(shown(&of_domain("example.com", true)), [usual[2], usual[3], usual[0], usual[1]]);
        assert_eq!(of_domain("example.com", false)[1].protocol, Protocol::Pox);
    }

    #[test]
    fn records_are_taken_by_priority_then_weight_and_only_where_tls_is_spoken() {
        let record = |priority, weight, port, target: &str| Srv { priority, weight, port, target: target.into() };
        let records = vec![
            record(10, 5, 443, "c.example."),
            record(0, 1, 443, "b.example."),
            record(0, 9, 443, "a.example."),
            record(0, 99, 80, "x.example."),
            record(0, 99, 443, "."),
        ];
        let hosts: Vec<_> = of_records(records).iter().filter_map(|candidate| candidate.url.host_str().map(str::to_owned)).collect();
        assert_eq!(hosts, ["a.example", "a.example", "b.example", "b.example", "c.example", "c.example"]);
    }
}
