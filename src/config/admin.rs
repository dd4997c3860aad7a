//! Where a node of this configuration serves administrators, for the commands that ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::document::Document;
use super::overrides::Overrides;
use super::setting::{Context, Setting};
use super::{Config, ConfigError, Place, Problem, Problems};

/// The address for administrators, and whom a caller may trust there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminPlace {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// PEM files of authorities to trust besides the system's.
    pub roots: Vec<PathBuf>,
}

/// Reads it from a file and the environment's overrides. Only the few keys that it needs must be right: whoever asks a node need not be able to read its secrets.
///
/// # Errors
/// The file cannot be read, or those keys have mistakes.
pub fn admin_place(file: &Path) -> Result<AdminPlace, ConfigError> {
    let failed = |problems| ConfigError { file: Some(file.to_owned()), problems };
    let text = std::fs::read_to_string(file)
        .map_err(|error| failed(vec![Problem { place: None, key: String::new(), text: format!("cannot be read ({error})") }]))?;
    of(&text, Overrides::from_environment(std::env::vars())).map_err(failed)
}

fn of(text: &str, overrides: Overrides) -> Result<AdminPlace, Vec<Problem>> {
    let document = Document::read(text);
    let (mut problems, mut unused) = (Problems::default(), overrides.clone());
    let mut context = Context { problems: &mut problems, overrides: &mut unused, replaced: &mut Vec::new() };
    let config = Config::read(toml::Value::Table(document.table), "", &mut context);
    problems.locate(&document.lines, &overrides, false);
    problems.0.retain(|problem| {
        ["api.listen", "api.admin_listen", "api.tls", "node.addr", "http.roots"].iter().any(|key| problem.key.starts_with(key))
    });
    problems.0.extend(document.broken.into_iter().map(|(line, message)| Problem {
        place: Some(Place::Line(line)),
        key: String::new(),
        text: format!("line {line} is not TOML: {message}"),
    }));
    match config {
        Some(config) if problems.0.is_empty() => Ok(place(&config)),
        _ => Err(problems.in_order()),
    }
}

fn place(config: &Config) -> AdminPlace {
    let listens = config.api.admin_listen.unwrap_or(config.api.listen);
    let address = match &config.api.tls {
        None => format!("http://{}", reachable(listens)),
        // The certificate is for a name, and this is the one that the node goes by.
        Some(_) if config.node.addr.starts_with("https://") => config.node.addr.clone(),
        Some(_) if listens.ip().is_unspecified() => format!("https://localhost:{}", listens.port()),
        Some(_) => format!("https://{listens}"),
    };
    AdminPlace { address, roots: config.http.roots.clone() }
}

/// Who listens everywhere is reached on this machine.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> String {
        of(text, Overrides::default()).map_or_else(|problems| problems[0].key.clone(), |place| place.address)
    }

    #[test]
    fn the_address_is_where_administrators_are_served() {
        let tls = "[api.tls]\ncertificate = 'c.pem'\nkey = 'k.pem'\n";
        for (text, wanted) in [
            (String::new(), "http://127.0.0.1:8080"),
            ("[api]\nlisten = '127.0.0.1:1'\nadmin_listen = '127.0.0.1:2'".into(), "http://127.0.0.1:2"),
            ("[api]\nlisten = '0.0.0.0:80'\nplain_http = true".into(), "http://127.0.0.1:80"),
            ("[api]\nadmin_listen = '[::]:81'".into(), "http://[::1]:81"),
            (format!("[api]\nadmin_listen = '0.0.0.0:8444'\n{tls}"), "https://localhost:8444"),
            (format!("[api]\nadmin_listen = '10.0.0.1:8444'\n{tls}"), "https://10.0.0.1:8444"),
            (
                format!("[api]\nadmin_listen = '0.0.0.0:8444'\n{tls}[node]\naddr = 'https://node-1.corp.net:8444'"),
                "https://node-1.corp.net:8444",
            ),
            ("[api]\nadmin_listen = 'everywhere'".into(), "api.admin_listen"),
        ] {
            assert_eq!(address(&text), wanted, "{text}");
        }
    }

    #[test]
    fn secrets_that_the_caller_cannot_read_keep_nobody_from_asking() {
        let text = "[tenant.a]\nallowed_domains = 5\n[tenant.a.mail.basic]\nuser = ''\npassword = { file = '/nonexistent' }";
        assert_eq!(address(text), "http://127.0.0.1:8080");
    }
}
