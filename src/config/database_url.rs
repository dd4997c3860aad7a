//! Where state is kept, as one text: a file, or a database server on one host or several.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::secret::Secret;
use super::section::by_text;

/// `sqlite:<path>` or `postgres://user@host,host/database?sslmode=...`.
#[derive(Debug, Clone, PartialEq)]
pub enum DatabaseUrl {
    /// A file of one node.
    Sqlite(PathBuf),
    /// A server that many nodes share.
    Postgres(PostgresUrl),
}

impl DatabaseUrl {
    /// How it is named to people: the file, or the URL without its password.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => url.to_string(),
        }
    }
}

/// How the connection to a PostgreSQL server is protected (libpq's `sslmode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// Encrypted if the server insists.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted; whoever answers is believed.
    Require,
    /// Encrypted; the certificate must come from a trusted authority.
    VerifyCa,
    /// Encrypted; the certificate must be the host's, too.
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// A PostgreSQL database on one host, or on several of which one takes writes.
#[derive(Clone)]
pub struct PostgresUrl {
    /// Host names or addresses with their ports, never empty.
    pub hosts: Vec<(String, u16)>,
    /// The role.
    pub user: String,
    /// Its password, if the URL holds one.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// How connections are protected; unless told, `verify-full`, and `prefer` if all hosts are this machine.
    pub ssl: SslMode,
    /// Trusted authorities (PEM) for the `verify` modes; without it the public ones.
    pub ssl_roots: Option<PathBuf>,
    /// A client certificate (PEM) with its key.
    pub ssl_client: Option<(PathBuf, PathBuf)>,
}

impl PostgresUrl {
    /// Whether a connection to these hosts may be tried at all. Rule: a host that is not this machine proves who it is (`verify-full`); less must be wanted
    /// by name (`unverified`), and even then no `password` is given to a server that proved nothing.
    ///
    /// # Errors
    /// What stands in the way, and what to do.
    pub fn refuse_unverified(&self, unverified: bool, password: bool) -> Result<(), String> {
        let Some((host, _)) = self.hosts.iter().find(|(host, _)| !is_this_machine(host)) else { return Ok(()) };
        let mode = self.mode();
        if self.ssl != SslMode::VerifyFull && !unverified {
            return Err(format!(
                "sslmode={mode} lets another machine pose as {host}: take sslmode=verify-full with sslrootcert, or write store.unverified_server = true if that is meant"
            ));
        }
        if password && !matches!(self.ssl, SslMode::VerifyFull | SslMode::VerifyCa) {
            return Err(format!(
                "with sslmode={mode} the password would go to whoever answers for {host}: take sslmode=verify-full, or a client certificate (sslcert, sslkey) in place of the password"
            ));
        }
        Ok(())
    }

    fn mode(&self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self.ssl).map_or("", |(name, _)| name)
    }
}

/// A Unix socket or a loopback address. Another spelling of one (`127.1`) is taken for a name.
fn is_this_machine(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        let password = |url: &Self| url.password.as_ref().map(|secret| secret.expose().to_owned());
        self.to_string() == other.to_string() && password(self) == password(other)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (place, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            if host.contains(':') { write!(f, "{comma}[{host}]:{port}") } else { write!(f, "{comma}{host}:{port}") }?;
        }
        write!(f, "/{}", self.database)?;
        write!(f, "?sslmode={}", self.mode())?;
        if let Some(roots) = &self.ssl_roots {
            write!(f, "&sslrootcert={}", roots.display())?;
        }
        if let Some((certificate, key)) = &self.ssl_client {
            write!(f, "&sslcert={}&sslkey={}", certificate.display(), key.display())?;
        }
        Ok(())
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => fmt::Display::fmt(url, f),
        }
    }
}

/// The text is in no message: it may hold a password.
impl TryFrom<String> for DatabaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            return postgres(rest).map(Self::Postgres);
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or_default();
        if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
            return Err("must be `sqlite:<path of a file>` or `postgres://user@host,host/database?sslmode=verify-full`".into());
        }
        Ok(Self::Sqlite(path.into()))
    }
}

by_text!(DatabaseUrl, "a database, such as \"sqlite:postrider.db\" or \"postgres://postrider@db1,db2/postrider?sslmode=verify-full\"");

fn postgres(text: &str) -> Result<PostgresUrl, String> {
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (role, hosts) = authority.rsplit_once('@').ok_or("names no user: postgres://USER@host/database")?;
    let (user, password) = role.split_once(':').map_or((role, None), |(user, password)| (user, Some(password)));
    let mut url = PostgresUrl {
        hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
        user: plain(user)?,
        password: password.map(plain).transpose()?.map(Secret::new),
        database: plain(database)?,
        ssl: SslMode::Prefer,
        ssl_roots: None,
        ssl_client: None,
    };
    if url.user.is_empty() || url.database.is_empty() {
        return Err("names no user or no database: postgres://USER@host/DATABASE".into());
    }
    let (mut certificate, mut key) = (None, None);
    if url.hosts.iter().any(|(host, _)| !is_this_machine(host)) {
        url.ssl = SslMode::VerifyFull;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = plain(value)?;
        match name {
            "sslmode" => {
                let found = MODES.iter().find(|(name, _)| *name == value);
                url.ssl = found.ok_or("has an unknown sslmode: disable, allow, prefer, require, verify-ca or verify-full")?.1;
            }
            "sslrootcert" => url.ssl_roots = Some(value.into()),
            "sslcert" => certificate = Some(value.into()),
            "sslkey" => key = Some(value.into()),
            "password" => url.password = Some(Secret::new(value)),
            _ => return Err("has an unknown parameter: known are sslmode, sslrootcert, sslcert, sslkey and password".into()),
        }
    }
    url.ssl_client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("names only one of sslcert and sslkey: a client certificate needs both".into()),
    };
    Ok(url)
}

/// One host with its port.
fn host(text: &str) -> Result<(String, u16), String> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Ok(5432), str::parse).ok().filter(|port| *port > 0);
    match port {
        Some(port) if !name.is_empty() => Ok((plain(name)?, port)),
        _ => Err("has a host that is not `name`, `name:port` or `[address]:port`".into()),
    }
}

/// Decodes `%40` and the like.
fn plain(text: &str) -> Result<String, String> {
    const WRONG: &str = "has a `%` that is not followed by two hexadecimal digits (a % itself is written %25)";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first == b'%' {
            let digits =
                more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).filter(|digits| !digits.contains('+')).ok_or(WRONG)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<DatabaseUrl, String> {
        DatabaseUrl::try_from(text.to_owned())
    }

    #[test]
    fn a_file_is_named() {
        assert_eq!(url("sqlite:data/a.db"), Ok(DatabaseUrl::Sqlite("data/a.db".into())));
        assert_eq!(url("sqlite:///var/a.db"), Ok(DatabaseUrl::Sqlite("/var/a.db".into())));
    }

    #[test]
    fn a_server_has_hosts_a_role_and_a_way_to_trust_it() {
        let text = "postgres://post%40rider:s%3acret@db1:5433,[fd00::1]:5434,db3/mail?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        let Ok(DatabaseUrl::Postgres(found)) = url(text) else { panic!("{text} was refused") };
        assert_eq!(found.hosts, [("db1".to_owned(), 5433), ("fd00::1".to_owned(), 5434), ("db3".to_owned(), 5432)]);
        assert_eq!((found.user.as_str(), found.database.as_str(), found.ssl), ("post@rider", "mail", SslMode::VerifyFull));
        assert_eq!(found.password.as_ref().map(Secret::expose), Some("s:cret"));
        assert_eq!(found.ssl_roots, Some("/etc/ca.pem".into()));
        let shown = format!("{found:?} {found}");
        assert!(!shown.contains("cret") && shown.contains("[fd00::1]:5434"), "{shown}");
    }

    #[test]
    fn other_machines_prove_who_they_are_and_get_no_password_before() {
        let checked = |hosts: &str, query: &str, unverified, password| {
            let Ok(DatabaseUrl::Postgres(url)) = url(&format!("postgres://u@{hosts}/db{query}")) else { panic!("{hosts}") };
            url.refuse_unverified(unverified, password)
        };
        for hosts in
            ["localhost", "127.0.0.1", "127.8.9.1:6000", "[::1]", "[::ffff:127.0.0.1]", "%2Frun%2Fpostgresql", "localhost,127.0.0.1"]
        {
            for query in ["", "?sslmode=disable", "?sslmode=prefer"] {
                assert_eq!(checked(hosts, query, false, true), Ok(()), "{hosts}{query}");
            }
        }
        for hosts in ["db1", "10.0.0.1", "0.0.0.0", "127.1", "localhost.example.com", "[fd00::1]", "localhost,db1"] {
            assert_eq!(checked(hosts, "", false, true), Ok(()), "{hosts}: verify-full unless told");
            for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
                let query = format!("?sslmode={mode}");
                assert!(checked(hosts, &query, false, false).unwrap_err().contains("store.unverified_server"), "{hosts}{query}");
                assert_eq!(checked(hosts, &query, true, false), Ok(()), "{hosts}{query}");
                assert_eq!(checked(hosts, &query, true, true).is_ok(), mode == "verify-ca", "{hosts}{query}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_being_repeated() {
        for text in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite:secret.db?mode=ro",
            "mysql://secret",
            "",
            "postgres://secret/db",
            "postgres://u:secret@/db",
            "postgres://u:secret@h:0/db",
            "postgres://u:secret@h:port/db",
            "postgres://u:secret@h",
            "postgres://u:secret%4@h/db",
            "postgres://u:secret@h/db?sslmode=on",
            "postgres://u:secret@h/db?secret=1",
            "postgres://u:secret@h/db?sslcert=a",
        ] {
            let Err(said) = url(text) else { panic!("{text} was taken") };
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
