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

/// The https candidates of a mail domain: the domain itself if it is to be asked, and `autodiscover.` below it, or swapped; at each SOAP, then POX.
#[must_use]
pub fn of_domain(domain: &str, root: bool, swapped: bool) -> Vec<Candidate> {
    let mut hosts = vec![format!("autodiscover.{domain}")];
    if root {
        hosts.insert(usize::from(swapped), domain.to_owned());
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
    /// Among equals, the share of those who ask that it wants to be asked first by.
    pub weight: u16,
    /// Only 443, where TLS is spoken, is used.
    pub port: u16,
    /// The host.
    pub target: String,
}

/// The candidates that DNS records name, in the order in which they are asked (RFC 2782): by priority, among equals by chance in proportion to their
/// weights. `draw` gives a number from zero up to and including the one that it is given.
#[must_use]
pub fn of_records(mut records: Vec<Srv>, draw: &mut dyn FnMut(u32) -> u32) -> Vec<Candidate> {
    // The root as target says that the service is decidedly not there.
    records.retain(|record| record.port == 443 && !record.target.trim_end_matches('.').is_empty());
    // Those without weight come first, so that they have a small chance of being chosen first.
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut candidates = Vec::new();
    while let Some(first) = records.first() {
        let equals = records.iter().take_while(|record| record.priority == first.priority);
        let sums = equals.scan(0, |sum, record| {
            *sum += u32::from(record.weight);
            Some(*sum)
        });
        let sums: Vec<u32> = sums.collect();
        let drawn = draw(sums.last().copied().unwrap_or_default());
        let chosen = sums.iter().position(|sum| *sum >= drawn).unwrap_or_default();
        candidates.extend(of_host(records.remove(chosen).target.trim_end_matches('.')));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.url.as_str()).collect()
    }

    #[test]
    fn the_domain_itself_is_asked_if_that_is_switched_on_and_comes_first_unless_swapped() {
        let usual = [
            "https://example.com/autodiscover/autodiscover.svc",
            "https://example.com/autodiscover/autodiscover.xml",
            "https://autodiscover.example.com/autodiscover/autodiscover.svc",
            "https://autodiscover.example.com/autodiscover/autodiscover.xml",
        ];
        assert_eq!(shown(&of_domain("example.com", true, false)), usual);
        assert_eq!(shown(&of_domain("example.com", false, false)), usual[2..]);
        assert_eq!(shown(&of_domain("example.com", true, true)), [usual[2], usual[3], usual[0], usual[1]]);
        assert_eq!(of_domain("example.com", false, false)[1].protocol, Protocol::Pox);
    }

    fn record(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
        Srv { priority, weight, port, target: target.into() }
    }

    /// The hosts in the order in which they are asked.
    fn order(records: Vec<Srv>, draw: &mut dyn FnMut(u32) -> u32) -> String {
        let candidates = of_records(records, draw);
        let hosts: Vec<_> = candidates.iter().step_by(2).filter_map(|candidate| candidate.url.host_str()).collect();
        assert_eq!(candidates.len(), 2 * hosts.len(), "two candidates at each");
        hosts.join(" ")
    }

    #[test]
    fn records_are_taken_by_priority_and_only_where_tls_is_spoken() {
        let records = vec![
            record(10, 5, 443, "c.example."),
            record(0, 1, 443, "b.example."),
            record(0, 9, 443, "a.example."),
            record(0, 99, 80, "x.example."),
            record(0, 99, 443, "."),
        ];
        assert_eq!(order(records.clone(), &mut |_| 0), "b.example a.example c.example");
        assert_eq!(order(records, &mut |most| most), "a.example b.example c.example");
    }

    #[test]
    fn among_equals_each_is_asked_first_by_the_share_that_its_weight_wants() {
        let records = || vec![record(0, 3, 443, "three"), record(0, 0, 443, "none"), record(0, 1, 443, "one")];
        let first = |drawn: u32| order(records(), &mut |most| drawn.min(most)).split(' ').next().unwrap_or_default().to_owned();
        assert_eq!([0, 1, 2, 3, 4].map(first), ["none", "one", "three", "three", "three"]);
        let mut bounds = Vec::new();
        order(records(), &mut |most| {
            bounds.push(most);
            most
        });
        assert_eq!(bounds, [4, 1, 0], "what was chosen is not weighed again");
    }
}
