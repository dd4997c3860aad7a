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

pub mod api;
pub mod autodiscover;
pub mod core;
pub mod database_url;
pub mod duration;
pub mod ews;
pub mod http;
pub mod node;
pub mod overrides;
pub mod placement;
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
use std::fmt;
use std::path::{Path, PathBuf};

use overrides::Overrides;
use section::section;
use setting::{Context, Setting};

/// One mistake: where and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, e.g. `ews.window`.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Collects mistakes while the parts of the configuration are checked.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a mistake at a key.
    pub fn add(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem { key: key.into(), text: text.into() });
    }

    /// Notes a mistake unless the file can be opened for reading.
    pub fn file(&mut self, key: impl Into<String>, path: &Path) {
        match std::fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => self.add(key, format!("{} is a folder; name a file", path.display())),
            Ok(_) => {}
            Err(error) => self.add(key, format!("{}: cannot be read ({error})", path.display())),
        }
    }
}

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

/// A configuration that cannot be used: every mistake that was found.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file, if there was one.
    pub file: Option<PathBuf>,
    /// The mistakes, never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map_or_else(|| "configuration".into(), |file| file.display().to_string());
        let count = self.problems.len();
        write!(f, "{file}: {count} mistake{}", if count == 1 { "" } else { "s" })?;
        for Problem { key, text } in &self.problems {
            if key.is_empty() {
                write!(f, "\n  {text}")?;
            } else {
                write!(f, "\n  {key}: {text}")?;
            }
        }
        Ok(())
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
                key: String::new(),
                text: format!("cannot be read ({error}); name the configuration with --config; config/default.toml shows every key"),
            }],
        })?;
        Self::parse(&text, Overrides::from_environment(std::env::vars()))
            .map_err(|error| ConfigError { file: Some(file.to_owned()), ..error })
    }

    /// Reads the text of a configuration and checks it as a whole.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse(text: &str, overrides: Overrides) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let mut unused = overrides.clone();
        let config = read::<Self>(text, &mut unused, &mut problems);
        unused.refuse_rest(&mut problems);
        if let Ok(table) = text.parse::<toml::Table>() {
            check(&Parts { table, overrides }, &mut problems);
        }
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(ConfigError { file: None, problems: problems.0 }),
        }
    }
}

/// What no single key can say: every section that can be read is checked, whatever the others look like.
fn check(parts: &Parts, problems: &mut Problems) {
    let tenants: BTreeMap<String, tenants::Tenant> =
        parts.names("tenant").into_iter().filter_map(|name| Some((name.clone(), parts.named("tenant", &name)?))).collect();
    parts.section("node", |node: node::Node| node.check(problems));
    parts.section("core", |core: core::Core| core.check(problems));
    parts.section("placement", |placement: placement::Placement| placement.check(problems));
    parts.section("push", |push: push::Push| push.check(|name| parts.names("tenant").iter().any(|tenant| tenant == name), problems));
    parts.section("api", |api: api::Api| api.check(problems));
    parts.section("http", |http: http::Http| http.check(problems));
    parts.section("store", |store: store::Store| store.check(problems));
    parts.section("ews", |ews: ews::Ews| ews.check(problems));
    parts.section("autodiscover", |autodiscover: autodiscover::Autodiscover| autodiscover.check(problems));
    for (name, tenant) in &tenants {
        tenant.check(&format!("tenant.{name}"), name, problems);
    }
    tenants::check_identities(&tenants, problems);
    if parts.names("tenant").is_empty() {
        problems.add("tenant", "no company is served: add a [tenant.NAME] table");
    }
}

/// The sections one by one, so that a mistake in one does not hide those of another. Mistakes of reading are noted elsewhere.
struct Parts {
    table: toml::Table,
    overrides: Overrides,
}

impl Parts {
    /// Hands a section over if it can be read.
    fn section<T: Setting>(&self, key: &str, check: impl FnOnce(T)) {
        if let Some(section) = self.read(self.table.get(key), key) {
            check(section);
        }
    }

    /// The names below a section of named tables.
    fn names(&self, key: &str) -> Vec<String> {
        self.table.get(key).and_then(toml::Value::as_table).map(|table| table.keys().cloned().collect()).unwrap_or_default()
    }

    /// One named table, if it can be read.
    fn named<T: Setting>(&self, key: &str, name: &str) -> Option<T> {
        self.read(self.table.get(key)?.get(name), &format!("{key}.{name}"))
    }

    fn read<T: Setting>(&self, value: Option<&toml::Value>, at: &str) -> Option<T> {
        let (mut noted, mut overrides) = (Problems::default(), self.overrides.clone());
        let value = value.cloned().unwrap_or_else(|| toml::Value::Table(toml::Table::new()));
        let section = T::read(value, at, &mut Context { problems: &mut noted, overrides: &mut overrides });
        section.filter(|_| noted.0.is_empty())
    }
}

/// Reads one section from TOML, without the environment: for tests of a component.
///
/// # Errors
/// All mistakes at once; `check` of the component is not called.
pub fn from_toml<T: Setting>(text: &str) -> Result<T, ConfigError> {
    let mut problems = Problems::default();
    read::<T>(text, &mut Overrides::default(), &mut problems).ok_or(ConfigError { file: None, problems: problems.0 })
}

fn read<T: Setting>(text: &str, overrides: &mut Overrides, problems: &mut Problems) -> Option<T> {
    match text.parse::<toml::Table>() {
        Ok(table) => T::read(toml::Value::Table(table), "", &mut Context { problems, overrides }),
        Err(error) => {
            // The parser quotes the line, which may hold a secret in the wrong place: only where and what is told.
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            problems.add("", format!("line {line} is not TOML: {}", error.message()));
            None
        }
    }
}

#[cfg(test)]
mod tests;
