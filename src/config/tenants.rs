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
        /// Hosts, beside the company's domains, that autodiscover may redirect to or name as EWS address; `*.example.com` stands for everything below.
        pub allowed_hosts: Vec<String> = vec!["outlook.office365.com".into(), "*.outlook.com".into(), "autodiscover-s.outlook.com".into()];
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
                format!("tenant.{name}.identity"),
                format!("has the issuer and audience of tenant.{other}: a token would not say for which of the two it is; give them different audiences"),
            );
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
        for domain in &self.allowed_domains {
            if !is_domain(domain) {
                problems.add(format!("{at}.allowed_domains"), format!("\"{domain}\" is not a mail domain; write it like \"example.com\""));
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
            (None, Some(oauth)) => https(&oauth.token_url, &format!("{at}.oauth.token_url"), problems),
            (Some(_), None) => {}
        }
        for (key, url) in [("ews_url", &self.ews_url), ("autodiscover_url", &self.autodiscover_url)] {
            if let Some(url) = url {
                https(url, &format!("{at}.{key}"), problems);
            }
        }
        for host in &self.allowed_hosts {
            if !is_domain(host.strip_prefix("*.").unwrap_or(host)) {
                problems.add(
                    format!("{at}.allowed_hosts"),
                    format!("\"{host}\" is not a host; write \"mail.example.com\" or \"*.example.com\""),
                );
            }
        }
    }
}

impl Identity {
    fn check(&self, at: &str, problems: &mut Problems) {
        match (&self.jwks_url, &self.jwks_file) {
            (Some(url), None) => https(url, &format!("{at}.jwks_url"), problems),
            (None, Some(path)) => problems.file(format!("{at}.jwks_file"), path),
            (None, None) => https(&self.issuer, &format!("{at}.issuer"), problems),
            (Some(_), Some(_)) => problems.add(at, "has signing keys twice: keep either jwks_url or jwks_file"),
        }
        for (key, value) in [("issuer", &self.issuer), ("audience", &self.audience), ("claim", &self.claim)] {
            if value.is_empty() {
                problems.add(format!("{at}.{key}"), "is empty");
            }
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

/// Notes a mistake unless the text is an https address.
pub fn https(url: &str, key: &str, problems: &mut Problems) {
    let host = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "https").and_then(|url| url.host_str().map(str::to_owned));
    if host.is_none() {
        problems.add(key, "takes an address that begins with https://");
    }
}
