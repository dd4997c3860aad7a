//! The configuration: parsed once, checked as a whole, all mistakes reported at once with file and key.
//!
//! One file per component, each a [`section!`](section) that holds every key with its meaning, default and range; from it come the reading, the messages and
//! `config/README.md` with `config/default.toml` (see [`reference`](mod@reference), written by a test). To add a component:
//!
//! 1. `src/config/NAME.rs`: `use super::section::section; section! { /// … pub struct Name with defaults { /// … pub calls: u32 = 10, within 1..=100; } }`
//!    (`with defaults` gives it `Default`; leave it away if a key must be set).
//!    Types that may stand there: `bool`, whole numbers, `f64`, `String`, `PathBuf`, `SocketAddr`, `Duration` ("3s"), [`Bytes`](setting::Bytes) ("64MiB"),
//!    [`SecretSource`](secret::SecretSource) (`{ file = … }` or `{ env = … }`), `Option`, `Vec` and `BTreeMap<String, _>` of these and of other sections; enums by [`choice!`](section), texts with a form of their own by [`by_text!`](section).
//! 2. What no range can say: `impl Name { pub fn check(&self, problems: &mut Problems) }`, with whole keys (`"name.calls"`).
//! 3. Below: a `pub mod`, a field of [`Config`], a line in `check`.
//!
//! Tests of a component get its settings with [`from_toml`].

pub mod admin;
pub mod api;
pub mod autodiscover;
pub mod core;
pub mod database_url;
pub mod document;
pub mod duration;
pub mod ews;
pub mod http;
pub mod node;
pub mod overrides;
pub mod placeholders;
pub mod placement;
pub mod problems;
pub mod push;
pub mod reference;
pub mod secret;
pub mod section;
pub mod setting;
pub mod store;
pub mod telemetry;
pub mod tenants;
pub mod values;

use std::collections::BTreeMap;
use std::path::Path;

use document::Document;
use overrides::Overrides;
pub use problems::{ConfigError, Place, Problem, Problems};
use section::section;
use setting::{Context, Setting};

section! {
    /// Everything that a node is told. Relative paths begin at the folder the program is started in.
    pub struct Config {
        /// What the core decides by: windows, delays, limits, timings.
        pub core: core::Core;
        /// This node among the others.
        pub node: node::Node;
        /// Who owns which mailboxes when several nodes share a database.
        pub placement: placement::Placement;
        /// Apple and Google.
        pub push: push::Push;
        /// The HTTP API.
        pub api: api::Api;
        /// Whom outgoing connections trust.
        pub http: http::Http;
        /// Where state is kept.
        pub store: store::Store;
        /// Logs and metrics.
        pub telemetry: telemetry::Telemetry;
        /// How Exchange is asked.
        pub ews: ews::Ews;
        /// How the Exchange server of a mailbox is looked for.
        pub autodiscover: autodiscover::Autodiscover;
        /// The companies served, by name.
        pub tenant: BTreeMap<String, tenants::Tenant>;
    }
}

impl Config {
    /// Reads a file and the environment's overrides.
    ///
    /// # Errors
    /// All mistakes at once: of the file, of the environment, of values that do not go together.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: Some(file.to_owned()),
            problems: vec![Problem {
                place: None,
                key: String::new(),
                text: format!("cannot be read ({error}); name the configuration with --config; config/default.toml shows every key"),
            }],
        })?;
        Self::parse(&text, Overrides::from_environment(std::env::vars()))
            .map_err(|error| ConfigError { file: Some(file.to_owned()), ..error })
    }

    /// Reads the text of a configuration and checks it as a whole. A value that cannot be read is told and another one put in its place, so that it hides no other mistake.
    ///
    /// # Errors
    /// All mistakes at once, in the order of the file.
    pub fn parse(text: &str, overrides: Overrides) -> Result<Self, ConfigError> {
        let document = Document::read(text);
        let (mut problems, mut replaced, mut unused) = (Problems::default(), Vec::new(), overrides.clone());
        let mut context = Context { problems: &mut problems, overrides: &mut unused, replaced: &mut replaced };
        let config = Self::read(toml::Value::Table(document.table.clone()), "", &mut context);
        if let Some(config) = &config {
            let mut found = Problems::default();
            config.check(&replaced, &mut found);
            placeholders::check(&document.table, &mut found);
            problems.take_over(found, &replaced);
        }
        problems.locate(&document.lines, &overrides, !document.broken.is_empty());
        unused.refuse_rest(&mut problems);
        for (line, message) in &document.broken {
            problems.0.push(Problem {
                place: Some(Place::Line(*line)),
                key: String::new(),
                text: format!("line {line} is not TOML: {}", explained(message)),
            });
        }
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(ConfigError { file: None, problems: problems.in_order() }),
        }
    }

    /// What no single key can say.
    fn check(&self, replaced: &[String], problems: &mut Problems) {
        self.node.check(problems);
        self.core.check(problems);
        self.placement.check(problems);
        self.push.check(|name| self.tenant.contains_key(name) || replaced.contains(&format!("tenant.{name}")), problems);
        self.api.check(problems);
        self.http.check(problems);
        self.store.check(problems);
        self.ews.check(problems);
        self.autodiscover.check(problems);
        for (name, tenant) in &self.tenant {
            tenant.check(&format!("tenant.{name}"), name, problems);
        }
        tenants::check_identities(&self.tenant, problems);
        tenants::check_domains(&self.tenant, problems);
        if self.tenant.is_empty() && !replaced.iter().any(|key| key == "tenant" || key.starts_with("tenant.")) {
            problems.add("tenant", "no company is served: add a [tenant.NAME] table");
        }
    }
}

/// What a message of the parser means here.
fn explained(message: &str) -> String {
    let hint = if message.contains("escape") {
        "; between double quotes a backslash begins an escape: write 'DOMAIN\\user', between single quotes"
    } else {
        ""
    };
    format!("{message}{hint}")
}

/// Reads one section from TOML, without the environment: for tests of a component.
///
/// # Errors
/// All mistakes at once; `check` of the component is not called.
pub fn from_toml<T: Setting>(text: &str) -> Result<T, ConfigError> {
    let document = Document::read(text);
    let mut problems = Problems::default();
    let mut context = Context { problems: &mut problems, overrides: &mut Overrides::default(), replaced: &mut Vec::new() };
    let section = T::read(toml::Value::Table(document.table), "", &mut context);
    problems.locate(&document.lines, &Overrides::default(), false);
    for (line, message) in document.broken {
        problems.add("", format!("line {line} is not TOML: {message}"));
    }
    section.filter(|_| problems.0.is_empty()).ok_or(ConfigError { file: None, problems: problems.0 })
}

#[cfg(test)]
mod tests;
#[cfg(all(test, unix))]
mod tests_mistakes;
