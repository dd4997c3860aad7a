//! Log lines on standard error, for people or for programs.

use tracing_subscriber::filter::{EnvFilter, FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

use crate::config::telemetry::{Format, Level, Telemetry};

/// Libraries that print headers and bodies, tokens among them, below INFO.
const WIRE_LIBRARIES: [&str; 10] =
    ["hyper", "hyper_util", "h2", "reqwest", "rustls", "tokio_rustls", "tower", "tower_http", "hickory", "sqlx"];

/// Begins to log. Called once, by commands that run a node.
///
/// # Errors
/// A mistake in `RUST_LOG`, as a sentence; or logging has begun already.
pub fn init(settings: &Telemetry) -> Result<(), String> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref(), settings.level)?;
    let heard = FilterFn::new(|metadata| {
        let wire = *metadata.level() > tracing::Level::INFO && is_wire(metadata.target());
        // The actors' runtime has a span for each actor and enters it with each message; the numbers in it tell nobody anything.
        let actor = metadata.is_span() && metadata.target().starts_with("ractor");
        !wire && !actor
    });
    let layer = match settings.format {
        Format::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    Registry::default().with(layer.with_filter(filter).with_filter(heard)).try_init().map_err(|error| error.to_string())
}

/// `RUST_LOG` if it is set, else the configured level.
fn filter(rust_log: Option<&str>, level: Level) -> Result<EnvFilter, String> {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let builder = EnvFilter::builder().with_default_directive(level.into());
    builder.parse(rust_log.unwrap_or_default()).map_err(|error| format!("RUST_LOG: {error}; write e.g. RUST_LOG=postrider=debug"))
}

/// Whether a line comes from a library that prints what goes over the wire.
fn is_wire(target: &str) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    WIRE_LIBRARIES.iter().any(|wire| library == *wire || library.strip_prefix(wire).is_some_and(|rest| rest.starts_with('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_the_wire_are_known_with_their_parts() {
        for target in ["hyper::proto::h1", "h2::codec", "reqwest::connect", "hickory_resolver::name_server", "sqlx", "hyper_util::client"] {
            assert!(is_wire(target), "{target}");
        }
        for target in ["postrider::ews", "h2o", "hyperion"] {
            assert!(!is_wire(target), "{target}");
        }
    }

    #[test]
    fn a_mistake_in_rust_log_is_told() {
        assert!(filter(Some("postrider=loud"), Level::Info).is_err());
        assert!(filter(Some("postrider=debug"), Level::Info).is_ok());
        assert!(filter(None, Level::Info).is_ok());
    }
}
