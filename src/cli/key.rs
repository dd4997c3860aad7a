//! `key`: makes, lists and revokes API keys directly in the database; the first key comes from here.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use postrider_actors::ids::TenantId;
use postrider_actors::ports::registry_store::{ApiKey, Role};
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::output::{self, OutputArgs};
use super::{ConfigArgs, database};
use crate::config::Config;
use crate::config::secret::Secret;

/// Longest note that is kept.
const MAX_NOTE: usize = 200;

/// Examples below `--help`.
const EXAMPLES: &str = "\
Examples:
  postrider key create --role admin --note 'on-call' --out admin.key
  postrider key create --role device-manager --tenant acme --note 'mobile management'
  postrider key list
  postrider key revoke 0123456789abcdef

The key is printed once, or written to a file that only its owner can read, and kept only as a hash. A revoked key stops working within `api.key_cache` (5 s).";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it, once.
    Create {
        /// What it may do.
        #[arg(long, value_enum)]
        role: RoleArg,
        /// For which company; may stay away if the configuration has one only.
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// What it is for, so that a person knows it again.
        #[arg(long, default_value = "")]
        note: String,
        /// Write the key to this new file, readable for its owner alone, instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List all keys, without their secrets.
    List,
    /// Revoke a key.
    Revoke {
        /// The key's public part, as `list` shows it.
        id: String,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Register, list and remove devices of any mailbox of the company (a mobile-management server).
    DeviceManager,
    /// Everything.
    Admin,
}

/// Does it.
///
/// # Errors
/// Mistakes of the configuration or the arguments, or what is wrong with the database.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let (store, clock) = database::open(&config).await?;
    let failed = |error| database::explained(&config, &error);
    let exit = match &args.action {
        Action::Create { role, tenant, note, out } => {
            if note.len() > MAX_NOTE || note.chars().any(char::is_control) {
                return Err(Failure::error(Exit::Usage, format!("--note takes at most {MAX_NOTE} bytes without control characters")));
            }
            let tenant = tenant_of(&config, tenant.as_deref())?;
            let role = match role {
                RoleArg::DeviceManager => Role::DeviceManager,
                RoleArg::Admin => Role::Admin,
            };
            let (kept, shown) = crate::api::key::generate(role, tenant, note, clock.now());
            // The file comes first: a key that nobody can read would be of no use.
            if let Some(out) = out {
                keep(out, &shown)?;
            }
            if let Err(error) = store.registry.key_create(&kept).await {
                // What was made a moment ago opens nothing.
                out.iter().for_each(|out| drop(std::fs::remove_file(out)));
                return Err(failed(error));
            }
            database::noted(&*store.registry, &clock, "key create", &format!("key {}", kept.id), true).await;
            if args.output.json {
                let mut answer = view(&kept);
                match out {
                    Some(out) => answer["file"] = out.display().to_string().into(),
                    None => answer["key"] = shown.expose().into(),
                }
                output::json(&answer);
            } else if let Some(out) = out {
                output::say(&format!("key {} for {} made and written to {}; it is not shown again", kept.id, kept.tenant, out.display()));
            } else {
                output::say(shown.expose());
                eprintln!("key {} for {} made; it is not shown again", kept.id, kept.tenant);
            }
            Exit::Done
        }
        Action::List => {
            let keys: Vec<Value> = store.registry.key_list().await.map_err(failed)?.iter().map(view).collect();
            let columns = [("id", "/id"), ("role", "/role"), ("tenant", "/tenant"), ("made", "/createdAt"), ("note", "/note")];
            output::list(args.output, &json!({ "keys": keys }), &keys, &columns, "no keys; make one: postrider key create --role admin");
            Exit::Done
        }
        Action::Revoke { id } => {
            let revoked = store.registry.key_revoke(id).await.map_err(failed)?;
            database::noted(&*store.registry, &clock, "key revoke", &format!("key {}", short(id)), revoked).await;
            if args.output.json {
                output::json(&json!({ "id": id, "revoked": revoked }));
            } else if revoked {
                output::say(&format!("key {id} is revoked"));
            } else {
                eprintln!("postrider: there is no key {id}; `postrider key list` shows them");
            }
            if revoked { Exit::Done } else { Exit::Failed }
        }
    };
    store.close().await;
    Ok(exit)
}

/// Writes a key to a new file that only its owner can read. A file that is there is left alone: it may hold a key that is in use.
fn keep(out: &Path, key: &Secret) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(out).and_then(|mut file| writeln!(file, "{}", key.expose()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::error(Exit::Usage, format!("--out {}: the file is there already: remove it, or name another one", out.display()))
        }
        _ => Failure::error(Exit::Failed, format!("--out {}: cannot be written ({error}); no key was made", out.display())),
    })
}

/// The company a key is for.
fn tenant_of(config: &Config, named: Option<&str>) -> anyhow::Result<TenantId> {
    let known = || config.tenant.keys().cloned().collect::<Vec<_>>().join(", ");
    match named {
        Some(name) if config.tenant.contains_key(name) => Ok(TenantId(name.into())),
        Some(name) => Err(Failure::error(Exit::Usage, format!("--tenant {name}: there is no [tenant.{name}]; known are {}", known()))),
        None => match config.tenant.keys().next() {
            Some(name) if config.tenant.len() == 1 => Ok(TenantId(name.as_str().into())),
            _ => Err(Failure::error(Exit::Usage, format!("--tenant is wanted: one of {}", known()))),
        },
    }
}

/// What was typed as a key's public part, as far as the trail keeps it: it may be anything, a whole key by mistake.
fn short(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

/// A key as it is shown: never its hash.
fn view(key: &ApiKey) -> Value {
    let role = match key.role {
        Role::DeviceManager => "device-manager",
        Role::Admin => "admin",
    };
    let made = jiff::Timestamp::from_microsecond(key.created_at.0).map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.0}"));
    json!({ "id": key.id, "role": role, "tenant": key.tenant.to_string(), "createdAt": made, "note": key.note })
}
