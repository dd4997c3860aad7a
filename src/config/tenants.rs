//! `[tenant.NAME]`: one company: whose mail is watched, how one gets in, who may register.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Problems;
use super::ews::Impersonation;
use super::secret::SecretSource;
use super::section::section;

section! {
    /// A name is made of letters, digits, `-` and `_`; it stands in API keys and must not change.
    pub struct Tenant {
        /// Mail domains of the company, at least one. Nothing is looked up for an address outside them, so that nobody makes the service send its credentials elsewhere.
        pub allowed_domains: Vec<String>;
        /// Whether a phone with a token of the identity provider may create its mailbox by registering.
        pub allow_enrolment: bool = true;
        /// Whether an API key of the role device-manager may create a mailbox by registering a device of it.
        pub allow_key_enrolment: bool = true;
        /// Where its mail is.
        pub mail: Mail;
        /// The identity provider whose tokens phones carry. Without it only API keys register devices.
        pub identity: Option<Identity>;
    }
}

section! {
    /// The company's Exchange and the way in: exactly one of `basic` and `oauth` below.
    pub struct Mail {
        /// A way in.
        pub basic: Option<Basic>;
        /// A way in.
        pub oauth: Option<OAuth>;
        /// The EWS address for all mailboxes of the company; without it autodiscover looks for it, mailbox by mailbox.
        pub ews_url: Option<String>;
        /// The autodiscover address for all mailboxes of the company, tried before the usual candidates.
        pub autodiscover_url: Option<String>;
        /// By which property the mailbox to act for is named towards Exchange.
        pub impersonation: Impersonation = Impersonation::PrimarySmtpAddress;
        /// Hosts that get the credentials when autodiscover redirects to them or names them as EWS address, e.g. `mail.example.com`; `*.example.com` stands for everything below, `host:port` for another port than 443. `autodiscover.<domain>`, the two addresses above and, for tokens, the hosts that `oauth.scope` names need no entry.
        pub allowed_hosts: Vec<String> = vec![];
    }
}

section! {
    /// A service account with a password (on premises).
    pub struct Basic {
        /// `DOMAIN\user` or a UPN.
        pub user: String;
        /// Its password.
        pub password: SecretSource;
    }
}

section! {
    /// An application registered with the identity provider: OAuth 2.0 client credentials with a secret.
    pub struct OAuth {
        /// The token endpoint; for Microsoft 365 `https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token`.
        pub token_url: String;
        /// The application's id.
        pub client_id: String;
        /// Its secret.
        pub client_secret: SecretSource;
        /// What is asked for.
        pub scope: String = "https://outlook.office365.com/.default".into();
    }
}

section! {
    /// Whose tokens phones carry, and which claim names their mailbox.
    pub struct Identity {
        /// The `iss` claim, exactly.
        pub issuer: String;
        /// The `aud` claim.
        pub audience: String;
        /// Where the signing keys are (JWKS), https. Without it and without `jwks_file` they are found through `<issuer>/.well-known/openid-configuration`.
        pub jwks_url: Option<String>;
        /// Signing keys in a file instead; read again when it changes.
        pub jwks_file: Option<PathBuf>;
        /// The claim that holds the mailbox address.
        pub claim: String = "preferred_username".into();
        /// Whether the claim may be `email`, which users can change at some providers and so name a mailbox that is not theirs.
        pub allow_email_claim: bool = false;
    }
}

/// Notes two companies between which a token's issuer and audience cannot decide.
pub fn check_identities(tenants: &BTreeMap<String, Tenant>, problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for (name, tenant) in tenants {
        let Some(identity) = &tenant.identity else { continue };
        if let Some(other) = seen.insert((&identity.issuer, &identity.audience), name) {
            problems.add(
                format!("tenant.{name}.identity.audience"),
                format!("has the issuer and audience of tenant.{other}: a token would not say for which of the two it is; give them different audiences"),
            );
        }
    }
}

/// Notes domains that two companies claim: whose mailbox an address is would be a matter of chance.
pub fn check_domains(tenants: &BTreeMap<String, Tenant>, problems: &mut Problems) {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for (name, tenant) in tenants {
        for (n, domain) in tenant.allowed_domains.iter().enumerate() {
            match seen.insert(domain.to_lowercase(), name) {
                Some(other) if other != name => problems.add(
                    format!("tenant.{name}.allowed_domains[{n}]"),
                    format!("{domain} is a domain of tenant.{other}, too: a domain belongs to one company; take it out of one of them"),
                ),
                _ => {}
            }
        }
    }
}

impl Tenant {
    /// What no single key can say.
    pub fn check(&self, at: &str, name: &str, problems: &mut Problems) {
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c)) {
            problems.add(at, "a name is 1 to 64 of a-z, A-Z, 0-9, - and _");
        }
        if self.allowed_domains.is_empty() {
            problems.add(format!("{at}.allowed_domains"), "names no domain: nothing could be watched; take e.g. [\"example.com\"]");
        }
        for (n, domain) in self.allowed_domains.iter().enumerate() {
            if !is_domain(domain) {
                problems
                    .add(format!("{at}.allowed_domains[{n}]"), format!("\"{domain}\" is not a mail domain; write it like \"example.com\""));
            }
        }
        self.mail.check(&format!("{at}.mail"), problems);
        if let Some(identity) = &self.identity {
            identity.check(&format!("{at}.identity"), problems);
        }
    }
}

impl Mail {
    fn check(&self, at: &str, problems: &mut Problems) {
        match (&self.basic, &self.oauth) {
            (None, None) => problems.add(at, "has no way in: add basic (user, password) or oauth (token_url, client_id, client_secret)"),
            (Some(_), Some(_)) => problems.add(at, "has two ways in: keep either basic or oauth"),
            (None, Some(oauth)) => {
                https_with_path(&oauth.token_url, &format!("{at}.oauth.token_url"), "/oauth2/v2.0/token", problems);
                problems.secret(&format!("{at}.oauth.client_secret"), &oauth.client_secret);
            }
            (Some(basic), None) => problems.secret(&format!("{at}.basic.password"), &basic.password),
        }
        let urls = [
            ("ews_url", &self.ews_url, "/EWS/Exchange.asmx"),
            ("autodiscover_url", &self.autodiscover_url, "/autodiscover/autodiscover.svc"),
        ];
        for (key, url, path) in urls {
            if let Some(url) = url {
                https_with_path(url, &format!("{at}.{key}"), path, problems);
            }
        }
        for (n, host) in self.allowed_hosts.iter().enumerate() {
            let name =
                host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)).map_or(&**host, |(name, _)| name);
            if !is_domain(name.strip_prefix("*.").unwrap_or(name)) {
                problems.add(
                    format!("{at}.allowed_hosts[{n}]"),
                    format!("\"{host}\" is not a host; write \"mail.example.com\", \"mail.example.com:8443\" or \"*.example.com\""),
                );
            }
        }
    }
}

impl Identity {
    fn check(&self, at: &str, problems: &mut Problems) {
        match (&self.jwks_url, &self.jwks_file) {
            (Some(url), None) => https_with_path(url, &format!("{at}.jwks_url"), "/.well-known/jwks.json", problems),
            (None, Some(path)) => problems.file(format!("{at}.jwks_file"), path),
            (None, None) => https(&self.issuer, &format!("{at}.issuer"), problems),
            (Some(_), Some(_)) => problems.add(at, "has signing keys twice: keep either jwks_url or jwks_file"),
        }
        if self.claim == "email" && !self.allow_email_claim {
            problems.add(format!("{at}.claim"), "users can change `email` at some providers; take another claim, or set allow_email_claim = true if yours cannot be changed");
        }
    }
}

/// Whether a text can be a DNS name with or without dots (RFC 1123); `localhost` and addresses pass as names do.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
        })
}

/// Notes a mistake unless the text is an https address without a user, a password or a fragment.
pub fn https(url: &str, key: &str, problems: &mut Problems) {
    let _ = parsed(url, key, problems);
}

/// The same for the address of one service: without a path it is the address of a whole server, which answers something else.
pub fn https_with_path(url: &str, key: &str, usual: &str, problems: &mut Problems) {
    if let Some(url) = parsed(url, key, problems)
        && url.path().trim_matches('/').is_empty()
    {
        problems.add(key, format!("has no path: write the whole address, usually {}{usual}", origin(&url)));
    }
}

/// The same for a server whose paths are known: they are appended.
pub fn https_without_path(url: &str, key: &str, problems: &mut Problems) {
    if let Some(url) = parsed(url, key, problems)
        && (!url.path().trim_matches('/').is_empty() || url.query().is_some())
    {
        problems.add(key, format!("has a path, which is appended by itself: write {}", origin(&url)));
    }
}

fn origin(url: &reqwest::Url) -> String {
    url.origin().ascii_serialization()
}

/// The address, unless there is a mistake in it. It is in no message: it may hold a password.
fn parsed(url: &str, key: &str, problems: &mut Problems) -> Option<reqwest::Url> {
    let Some(url) = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.host_str().is_some()) else {
        problems.add(key, "takes an address that begins with https://");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        problems.add(key, "holds a user or a password: credentials have keys of their own; write https://HOST/…");
        return None;
    }
    if url.fragment().is_some() {
        problems.add(key, "ends in a #fragment, which no server sees: leave it out");
        return None;
    }
    Some(url)
}
