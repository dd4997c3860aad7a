//! Which hosts of a tenant's Exchange may be spoken to: those of its mail domains and those on its list, by https only.

use reqwest::Url;

/// The hosts that get to see a tenant's credentials.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    domains: Vec<Box<str>>,
    listed: Vec<Box<str>>,
}

impl Hosts {
    /// Everything at or below the tenant's mail domains, and the listed hosts (`*.example.com` stands for everything below).
    #[must_use]
    pub fn new(domains: &[String], listed: &[String]) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase().into_boxed_str()).collect();
        Self { domains: lower(domains), listed: lower(listed) }
    }

    /// Whether a mail domain is one of the tenant's.
    #[must_use]
    pub fn has_domain(&self, domain: &str) -> bool {
        !domain.is_empty() && self.domains.iter().any(|known| **known == *domain.to_lowercase())
    }

    /// Whether an address may be spoken to; otherwise the host (or `http`) to name in the error.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default().to_lowercase();
        if url.scheme() != "https" {
            return Err(format!("{} (not https)", if host.is_empty() { "without name" } else { &host }));
        }
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|start| start.ends_with('.'));
        let of_domain = self.domains.iter().any(|domain| host == **domain || below(domain));
        let listed = self.listed.iter().any(|entry| entry.strip_prefix("*.").map_or(host == **entry, below));
        if of_domain || listed { Ok(()) } else { Err(host) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_hosts_of_the_domains_and_of_the_list_are_spoken_to() {
        let hosts = Hosts::new(&["Example.com".into()], &["outlook.office365.com".into(), "*.outlook.com".into()]);
        let ok = |url: &str| hosts.check(&Url::parse(url).unwrap()).is_ok();
        for url in ["https://example.com/x", "https://MAIL.example.com:444/", "https://outlook.office365.com/", "https://a.b.outlook.com/"]
        {
            assert!(ok(url), "{url}");
        }
        for url in [
            "http://mail.example.com/",
            "https://badexample.com/",
            "https://example.com.evil.net/",
            "https://outlook.com/",
            "https://evil.outlook.office365.com/",
            "https://example.com@evil.net/",
            "https://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            assert!(!ok(url), "{url}");
        }
        assert!(hosts.has_domain("EXAMPLE.com") && !hosts.has_domain("sub.example.com") && !hosts.has_domain(""));
    }
}
