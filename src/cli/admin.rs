//! The running node's admin API as the command line uses it.
//!
//! The key goes to the address that the command line or the configuration names, and from there only to a node of the same cluster that the first one names
//! (`mailbox why` of a mailbox that another node watches); over TLS, or without it on this machine. No redirection is followed and no proxy used.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

use super::ConfigArgs;
use super::exit::{Exit, Failure};
use crate::api::key::Presented;
use crate::config::admin::admin_place;
use crate::config::secret::{Secret, SecretSource};
use crate::http::{self, ClientOptions, TrustRoots};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Where the node is and who asks.
#[derive(Debug, clap::Args)]
pub struct AdminArgs {
    /// Address of the node's admin API; without it the configuration's.
    #[arg(long, global = true, env = "POSTRIDER_API", value_name = "URL")]
    api: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// File that holds an admin key; without it the environment variable POSTRIDER_KEY does.
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file beside the system's.
    #[arg(long, global = true, env = "POSTRIDER_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// A client of the admin API.
#[derive(Debug)]
pub struct Admin {
    base: reqwest::Url,
    key: Secret,
    roots: Vec<PathBuf>,
    http: reqwest::Client,
}

impl AdminArgs {
    /// Finds the address, reads the key and makes the client.
    ///
    /// # Errors
    /// A mistake in the arguments or the configuration (exit code 2).
    pub fn connect(&self) -> anyhow::Result<Admin> {
        let mut roots: Vec<PathBuf> = self.ca.iter().cloned().collect();
        let (api, said) = match &self.api {
            Some(api) => (api.clone(), format!("--api {api}")),
            None => {
                let place = admin_place(&self.config.config).map_err(|error| {
                    usage(format!("{error}\nname the node's configuration with --config, or its admin address with --api"))
                })?;
                roots.extend(place.roots);
                (place.address.clone(), format!("{} of {}", place.address, self.config.config.display()))
            }
        };
        let base = address(&api).map_err(|text| usage(format!("{said}: {text}")))?;
        Admin::new(base, self.key()?, roots)
    }

    fn key(&self) -> anyhow::Result<Secret> {
        let source = match &self.key_file {
            Some(path) => SecretSource::File(path.clone()),
            None => SecretSource::Env("POSTRIDER_KEY".into()),
        };
        let wanted = "an admin key is wanted (--key-file or POSTRIDER_KEY); `postrider key create --role admin --out admin.key` makes one";
        let key = source.read().map_err(|error| usage(format!("{error}; {wanted}")))?;
        if Presented::read(key.expose()).is_none() {
            return Err(usage(format!("{} holds no key of postrider's; {wanted}", source.place())));
        }
        Ok(key)
    }
}

fn usage(text: String) -> anyhow::Error {
    Failure::error(Exit::Usage, text)
}

/// An address that a key may be sent to.
fn address(text: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).ok().filter(|url| url.has_host());
    let Some(url) = url else {
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        return Err(format!(
            "is no address: write https://HOST:PORT, or http://127.0.0.1:PORT on the node's own machine (is it http://{bare}?)"
        ));
    };
    let this_machine = url.host_str().is_some_and(|host| {
        host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    match url.scheme() {
        "https" => Ok(url),
        "http" if this_machine => Ok(url),
        "http" => Err("the key travels only over https, or over http on this machine: write https://".into()),
        other => Err(format!("{other}:// is not spoken: write https://HOST:PORT")),
    }
}

impl Admin {
    fn new(base: reqwest::Url, key: Secret, roots: Vec<PathBuf>) -> anyhow::Result<Self> {
        let http = if base.scheme() == "https" {
            let trusted = TrustRoots::load(&roots).map_err(|error| usage(error.to_string()))?;
            http::client(&ClientOptions::new(trusted))?
        } else {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(std::time::Duration::from_secs(30))
                .build()
                .context("the HTTP client cannot be made")?
        };
        Ok(Self { base, key, roots, http })
    }

    /// The same caller at another node of the cluster, which this node named.
    ///
    /// # Errors
    /// An address that a key may not be sent to.
    pub fn other(&self, api: &str) -> anyhow::Result<Self> {
        let base = address(api)
            .map_err(|text| usage(if api.is_empty() { "its node.addr is not set".to_owned() } else { format!("its node.addr {text}") }))?;
        Self::new(base, self.key.clone(), self.roots.clone())
    }
}

impl Admin {
    /// Asks and reads the answer; segments of the path are escaped.
    ///
    /// # Errors
    /// Not reachable (exit code 3), or what the node answered instead of success.
    pub async fn ask(&self, method: reqwest::Method, path: &[&str], query: &[(&str, &str)], body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, self.url(path)?).bearer_auth(self.key.expose()).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.not_reachable(&self.diagnosed(&error).await)),
        };
        let status = answer.status();
        let bytes = http::body(answer, MAX_ANSWER_BYTES).await.map_err(|error| self.not_reachable(&error.to_string()))?;
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&bytes).map_err(|_| self.stranger("its answer is not JSON"));
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if problem.get("code").is_none() {
            return Err(self.stranger(&format!("it answers {status}")));
        }
        if status == reqwest::StatusCode::NOT_FOUND && path != NODE && !self.serves_administrators().await {
            return Err(Failure::error(
                Exit::Failed,
                format!(
                    "{}: a node answers, but not for administrators: its configuration names another address for them, api.admin_listen: type --api with that one",
                    self.base
                ),
            ));
        }
        Err(refusal(status, &problem))
    }

    fn url(&self, path: &[&str]) -> anyhow::Result<reqwest::Url> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("the address cannot have a path"))?.pop_if_empty().extend(path);
        Ok(url)
    }

    /// Whether what every admin API has is there.
    async fn serves_administrators(&self) -> bool {
        let Ok(url) = self.url(NODE) else { return false };
        let answer = self.http.get(url).bearer_auth(self.key.expose()).send().await;
        answer.is_ok_and(|answer| answer.status() != reqwest::StatusCode::NOT_FOUND)
    }

    /// Something answers, but no node.
    fn stranger(&self, how: &str) -> anyhow::Error {
        Failure::error(
            Exit::Failed,
            format!("{}: no node of postrider answers there ({how}): type the node's admin address after --api", self.base),
        )
    }

    /// Why nothing could be asked: the wrong protocol is told as that.
    async fn diagnosed(&self, error: &reqwest::Error) -> String {
        let told = http::explain(error);
        if self.base.scheme() == "https" {
            return match tls_error(error) {
                Some(rustls::Error::InvalidMessage(_)) => {
                    format!(
                        "what answers there speaks no TLS: on the node's own machine type --api {}; from elsewhere the node needs api.tls",
                        self.with_scheme("http")
                    )
                }
                Some(rustls::Error::InvalidCertificate(_)) => {
                    format!("{told}; type the name that its certificate is for, and with --ca the authority that signed it")
                }
                _ => format!("{told}; {ASK}"),
            };
        }
        if !error.is_connect() && !error.is_timeout() && self.speaks_tls().await {
            return format!("the node speaks TLS there: type --api {}", self.with_scheme("https"));
        }
        format!("{told}; {ASK}")
    }

    /// The same address with another protocol.
    fn with_scheme(&self, scheme: &str) -> String {
        let (host, port) = (self.base.host_str().unwrap_or_default(), self.base.port_or_known_default().unwrap_or_default());
        format!("{scheme}://{host}:{port}")
    }

    /// Whether a TLS server is there; nothing is said to it beyond the handshake and no key is sent.
    async fn speaks_tls(&self) -> bool {
        let Ok(roots) = TrustRoots::load(&[]) else { return false };
        let Ok(client) = http::client(&ClientOptions::new(roots)) else { return false };
        match client.get(self.with_scheme("https")).send().await {
            Ok(_) => true,
            Err(error) => matches!(tls_error(&error), Some(error) if !matches!(error, rustls::Error::InvalidMessage(_))),
        }
    }

    fn not_reachable(&self, why: &str) -> anyhow::Error {
        Failure::error(Exit::NotReachable, format!("{}: {why}", self.base))
    }
}

/// What to look at when nobody answers.
const ASK: &str = "is the node running, and is this its admin address (api.admin_listen, else api.listen)? Type it after --api";
/// What every admin API has.
const NODE: &[&str] = &["v1", "admin", "node"];

/// The TLS library's own error below another one. What an I/O error holds is no cause of its own, so it is opened.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

/// What the node said (problem+json, RFC 9457), in one sentence.
fn refusal(status: reqwest::StatusCode, problem: &Value) -> anyhow::Error {
    let member = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let told = [member("title"), member("detail")].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    let hint = match member("code").as_str() {
        "unauthenticated" => {
            "; the key is not known to this node: `postrider key list` shows those that are, `postrider key create --role admin --out admin.key` makes one"
        }
        "forbidden" => "; the key's role does not allow it: `postrider key create --role admin --out admin.key` makes one that does",
        _ => "",
    };
    let told = if told.is_empty() { "the node refused".to_owned() } else { told };
    anyhow::anyhow!("{told} ({status}){hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_over_tls_or_on_this_machine_only() {
        for good in ["https://node-1.corp.net:8444", "http://127.0.0.1:8081", "http://localhost:8081", "http://[::1]:8081"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for (wrong, said) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("localhost:8081", "http://localhost:8081"),
            ("node-1", "https://HOST:PORT"),
            ("", "https://HOST:PORT"),
            ("ftp://node-1", "ftp:// is not spoken"),
            ("http://node-1.corp.net:8081", "only over https"),
        ] {
            let text = address(wrong).unwrap_err();
            assert!(text.contains(said), "{wrong}: {text}");
        }
    }
}
