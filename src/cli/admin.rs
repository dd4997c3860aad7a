//! The running node's admin API as the command line uses it.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::config::secret::{Secret, SecretSource};
use crate::http::{self, ClientOptions, TrustRoots};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Where the node is and who asks.
#[derive(Debug, clap::Args)]
pub struct AdminArgs {
    /// Address of the node's admin API.
    #[arg(long, global = true, env = "POSTRIDER_API", default_value = "http://127.0.0.1:8081", value_name = "URL")]
    api: String,
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
    http: reqwest::Client,
}

impl AdminArgs {
    /// Reads the key and makes the client.
    ///
    /// # Errors
    /// A mistake in the arguments (exit code 2).
    pub fn connect(&self) -> anyhow::Result<Admin> {
        let usage = |text: String| Failure::error(Exit::Usage, text);
        let base = reqwest::Url::parse(&self.api).map_err(|error| usage(format!("--api {}: {error}", self.api)))?;
        let loopback = base.host_str().is_some_and(|host| {
            host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        });
        if base.cannot_be_a_base() || (base.scheme() != "https" && !(base.scheme() == "http" && loopback)) {
            return Err(usage(format!("--api {}: the key travels only over https, or over http on this machine", self.api)));
        }
        let source = match &self.key_file {
            Some(path) => SecretSource::File(path.clone()),
            None => SecretSource::Env("POSTRIDER_KEY".into()),
        };
        let key = source.read().map_err(|error| {
            usage(format!("{error}; an admin key is wanted (--key-file or POSTRIDER_KEY); `postrider key create --role admin` makes one"))
        })?;
        let roots: Vec<PathBuf> = self.ca.iter().cloned().collect();
        let http = if base.scheme() == "https" {
            let roots = TrustRoots::load(&roots).map_err(|error| usage(error.to_string()))?;
            http::client(&ClientOptions::new(roots))?
        } else {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(std::time::Duration::from_secs(30))
                .build()
                .context("the HTTP client cannot be made")?
        };
        Ok(Admin { base, key, http })
    }
}

impl Admin {
    /// Asks and reads the answer; segments of the path are escaped.
    ///
    /// # Errors
    /// Not reachable (exit code 3), or what the node answered instead of success.
    pub async fn ask(&self, method: reqwest::Method, path: &[&str], query: &[(&str, &str)], body: Option<&Value>) -> anyhow::Result<Value> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("the address cannot have a path"))?.pop_if_empty().extend(path);
        let mut request = self.http.request(method, url).bearer_auth(self.key.expose()).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.not_reachable(&http::explain(&error)))?;
        let status = answer.status();
        let bytes = http::body(answer, MAX_ANSWER_BYTES).await.map_err(|error| self.not_reachable(&error.to_string()))?;
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&bytes)
                .with_context(|| format!("{}: the answer is not JSON; is this a node's admin API?", self.base));
        }
        Err(refusal(status, &bytes))
    }

    fn not_reachable(&self, why: &str) -> anyhow::Error {
        Failure::error(Exit::NotReachable, format!("{}: {why}; is the node running, and is --api its admin address?", self.base))
    }
}

/// What the node said (problem+json, RFC 9457), in one sentence.
fn refusal(status: reqwest::StatusCode, body: &[u8]) -> anyhow::Error {
    let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let member = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let told = [member("title"), member("detail")].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    let hint = match member("code").as_str() {
        "unauthenticated" => "; the key is not known to this node (`postrider key list`)",
        "forbidden" => "; the key's role does not allow it (an admin key does)",
        _ => "",
    };
    let told = if told.is_empty() { "the node refused".to_owned() } else { told };
    anyhow::anyhow!("{told} ({status}){hint}")
}
