//! To which hosts a tenant's credentials go: those that its administrator meant, by https only.
//!
//! The rule: an address that the configuration names, at its port; `autodiscover.<mail domain>`, and the domain itself where that is switched on; a host on the
//! tenant's list. What answers, redirects and DNS records name counts only if it is one of these. A token goes only to hosts that its scope is for.

use reqwest::Url;

/// Hosts that take the tokens of Exchange Online (`https://outlook.office365.com`), beside itself.
const EXCHANGE_ONLINE: [&str; 2] = ["outlook.office365.com", "outlook.office.com"];

/// The port that is meant where none is named.
const HTTPS: u16 = 443;

/// The hosts that get to see a tenant's credentials.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    domains: Vec<Box<str>>,
    listed: Vec<Listed>,
    /// Host and port of configured addresses.
    configured: Vec<(Box<str>, u16)>,
    /// Whether the mail domain's own host is asked.
    root_domain: bool,
    tokens_for: TokensFor,
}

/// What the tenant's tokens are for.
#[derive(Debug, Clone, Default)]
enum TokensFor {
    /// It has none: a name and a password are sent.
    #[default]
    NoTokens,
    /// Tokens whose scope names no host.
    Unnamed,
    /// Tokens for this host.
    Host(Box<str>),
}

#[derive(Debug, Clone)]
struct Listed {
    host: Box<str>,
    /// Everything below `host`, not `host` itself.
    below: bool,
    port: u16,
}

impl Listed {
    /// Reads `mail.example.com`, `mail.example.com:8443` or `*.example.com`.
    fn read(entry: &str) -> Self {
        let entry = entry.to_lowercase();
        let (host, port) = entry.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))).unwrap_or((&entry, HTTPS));
        let below = host.strip_prefix("*.");
        Self { host: below.unwrap_or(host).into(), below: below.is_some(), port }
    }

    fn fits(&self, host: &str, port: u16) -> bool {
        port == self.port && if self.below { is_below(host, &self.host) } else { host == &*self.host }
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|start| start.ends_with('.') && start.len() > 1)
}

fn is_at_or_below(host: &str, domain: &str) -> bool {
    host == domain || is_below(host, domain)
}

/// Host and port of an address.
fn place(url: &Url) -> (String, u16) {
    (url.host_str().unwrap_or_default().to_lowercase(), url.port_or_known_default().unwrap_or(HTTPS))
}

impl Hosts {
    /// `autodiscover.` below the tenant's mail domains, and the listed hosts (`*.example.com` stands for everything below, `host:port` for another port than 443).
    #[must_use]
    pub fn new(domains: &[String], listed: &[String]) -> Self {
        let domains = domains.iter().map(|name| name.to_lowercase().into_boxed_str()).collect();
        Self { domains, listed: listed.iter().map(|entry| Listed::read(entry)).collect(), ..Self::default() }
    }

    /// Also the hosts of these addresses, each at its port.
    #[must_use]
    pub fn with_addresses<'a>(mut self, urls: impl IntoIterator<Item = &'a Url>) -> Self {
        self.configured.extend(urls.into_iter().map(place).map(|(host, port)| (host.into(), port)));
        self
    }

    /// Also the mail domains' own hosts, if `asked`.
    #[must_use]
    pub fn with_root_domain(self, asked: bool) -> Self {
        Self { root_domain: asked, ..self }
    }

    /// What is sent are tokens of this scope.
    #[must_use]
    pub fn with_tokens_for(self, scope: &str) -> Self {
        let host = Url::parse(scope).ok().filter(|url| url.scheme() == "https").and_then(|url| url.host_str().map(str::to_lowercase));
        Self { tokens_for: host.map_or(TokensFor::Unnamed, |host| TokensFor::Host(host.into())), ..self }
    }

    /// Whether a mail domain is one of the tenant's.
    #[must_use]
    pub fn has_domain(&self, domain: &str) -> bool {
        !domain.is_empty() && self.domains.iter().any(|known| **known == *domain.to_lowercase())
    }

    /// Whether credentials go to an address; otherwise the host (or `http`) to name in the error.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        self.judge(url, self.is_usual(url) && self.takes_tokens(&place(url).0))
    }

    /// Whether an address may be asked without credentials: also the usual places of a tenant whose token is for others, since they may redirect.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_unauthorized(&self, url: &Url) -> Result<(), String> {
        self.judge(url, self.is_usual(url))
    }

    fn is_usual(&self, url: &Url) -> bool {
        let (host, port) = place(url);
        let autodiscover = |domain: &str| host.strip_prefix("autodiscover.") == Some(domain) || (self.root_domain && host == domain);
        port == HTTPS && self.domains.iter().any(|domain| autodiscover(domain))
    }

    /// The same for an address that something without TLS named (a redirection, a DNS record): only what the configuration names counts.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_unproven(&self, url: &Url) -> Result<(), String> {
        self.judge(url, false)
    }

    fn judge(&self, url: &Url, usual: bool) -> Result<(), String> {
        let (host, port) = place(url);
        let shown = if port == HTTPS { host.clone() } else { format!("{host}:{port}") };
        if url.scheme() != "https" {
            return Err(format!("{} (not https)", if host.is_empty() { "without name" } else { &shown }));
        }
        let configured = self.configured.iter().any(|(known, at)| **known == *host && *at == port);
        let listed = self.listed.iter().any(|entry| entry.fits(&host, port)) && self.takes_tokens(&host);
        if usual || configured || listed || (port == HTTPS && self.is_of_the_scope(&host)) { Ok(()) } else { Err(shown) }
    }

    /// Whether the scope itself names the host.
    fn is_of_the_scope(&self, host: &str) -> bool {
        let TokensFor::Host(resource) = &self.tokens_for else { return false };
        let online = EXCHANGE_ONLINE.contains(&&**resource);
        host == &**resource || (online && (EXCHANGE_ONLINE.contains(&host) || is_below(host, "outlook.com")))
    }

    /// Whether what is sent may be for a host that is meant otherwise: a password is; a token is for hosts of the organisation that its scope is of.
    fn takes_tokens(&self, host: &str) -> bool {
        match &self.tokens_for {
            TokensFor::NoTokens | TokensFor::Unnamed => true,
            TokensFor::Host(resource) => {
                let together = |domain: &str| is_at_or_below(host, domain) && is_at_or_below(resource, domain);
                self.is_of_the_scope(host) || is_below(host, resource) || self.domains.iter().any(|domain| together(domain))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listed: &[&str]) -> Hosts {
        Hosts::new(&["Example.com".into()], &listed.iter().map(|&entry| entry.into()).collect::<Vec<_>>())
    }

    /// Which of these addresses credentials go to.
    fn seen<'a>(hosts: &Hosts, urls: &[&'a str]) -> Vec<&'a str> {
        urls.iter().copied().filter(|url| hosts.check(&Url::parse(url).unwrap()).is_ok()).collect()
    }

    #[test]
    fn a_password_goes_to_autodiscover_and_to_what_the_configuration_names_at_their_ports() {
        let ews = Url::parse("https://EWS.example.net:8443/EWS/Exchange.asmx").unwrap();
        let hosts = hosts(&["mail.example.com", "*.farm.example.com", "owa.example.com:444"]).with_addresses([&ews]);
        let good = [
            "https://AutoDiscover.example.com/x",
            "https://mail.example.com/EWS",
            "https://a.b.farm.example.com/",
            "https://owa.example.com:444/",
            "https://ews.example.net:8443/",
        ];
        assert_eq!(seen(&hosts, &good), good);
        let bad = [
            "http://autodiscover.example.com/",
            "https://autodiscover.example.com:8443/",
            "https://example.com/autodiscover/autodiscover.svc",
            "https://www.example.com/",
            "https://autodiscover.sub.example.com/",
            "https://mail.example.com:444/",
            "https://farm.example.com/",
            "https://.farm.example.com/",
            "https://owa.example.com/",
            "https://ews.example.net/",
            "https://outlook.office365.com/",
            "https://autodiscover-s.outlook.com/",
            "https://badexample.com/",
            "https://autodiscover.example.com.evil.net/",
            "https://autodiscover.example.com@evil.net/",
            "https://127.0.0.1/",
            "file:///etc/passwd",
        ];
        let seen: Vec<_> = bad.iter().filter(|url| Url::parse(url).is_ok_and(|url| hosts.check(&url).is_ok())).collect();
        assert_eq!(seen, Vec::<&&str>::new());
        assert!(hosts.has_domain("EXAMPLE.com") && !hosts.has_domain("sub.example.com") && !hosts.has_domain(""));
    }

    #[test]
    fn the_domain_itself_is_asked_only_if_switched_on() {
        let urls = ["https://example.com/autodiscover/autodiscover.svc", "https://example.com:444/", "https://www.example.com/"];
        assert_eq!(seen(&hosts(&[]), &urls), Vec::<&str>::new());
        assert_eq!(seen(&hosts(&[]).with_root_domain(true), &urls), urls[..1]);
    }

    #[test]
    fn a_token_goes_only_to_hosts_that_its_scope_is_for() {
        let urls = [
            "https://outlook.office365.com/EWS/Exchange.asmx",
            "https://autodiscover-s.outlook.com/autodiscover/autodiscover.svc",
            "https://autodiscover.example.com/",
            "https://mail.example.com/",
            "https://mail.example.net/",
        ];
        let listed = hosts(&["mail.example.com", "mail.example.net"]);
        assert_eq!(seen(&listed.clone().with_tokens_for("https://outlook.office365.com/.default"), &urls), urls[..2]);
        assert_eq!(seen(&listed.clone().with_tokens_for("https://mail.example.com/.default"), &urls), urls[2..4]);
        assert_eq!(seen(&listed.with_tokens_for("https://mail.example.net/.default"), &urls), urls[4..]);
        let configured = Url::parse("https://localhost:9443/EWS").unwrap();
        let meant = hosts(&[]).with_addresses([&configured]).with_tokens_for("https://outlook.office365.com/.default");
        assert_eq!(seen(&meant, &["https://localhost:9443/x", "https://localhost/x"]), ["https://localhost:9443/x"]);
    }

    #[test]
    fn what_is_named_without_tls_counts_only_if_the_configuration_names_it_too() {
        let hosts = hosts(&["mail.example.com"]);
        let check = |url: &str| hosts.check_unproven(&Url::parse(url).unwrap());
        assert_eq!(check("https://mail.example.com/"), Ok(()));
        assert_eq!(check("https://mail.example.com:444/"), Err("mail.example.com:444".into()));
        assert_eq!(check("https://autodiscover.example.com/"), Err("autodiscover.example.com".into()));
        assert_eq!(check("http://mail.example.com/"), Err("mail.example.com:80 (not https)".into()));
    }
}
