//! `check-config`: every mistake in the configuration at once; nothing is opened.

use serde_json::json;

use super::ConfigArgs;
use super::exit::Exit;
use super::output::{self, OutputArgs};
use crate::config::{Config, Place, Problem};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Checks and reports.
///
/// # Errors
/// The mistakes, unless JSON is wanted: then they are the answer.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match Config::load(&args.config.config) {
        Ok(_) => {
            if args.output.json {
                output::json(&json!({ "file": args.config.config, "mistakes": [] }));
            } else {
                output::say(&format!("{}: no mistakes", args.config.config.display()));
            }
            Ok(Exit::Done)
        }
        Err(error) if args.output.json => {
            let mistakes: Vec<_> = error.problems.iter().map(mistake).collect();
            output::json(&json!({ "file": args.config.config, "mistakes": mistakes }));
            Ok(Exit::Usage)
        }
        Err(error) => Err(error.into()),
    }
}

/// A mistake for programs: `line` or `variable` says where it was made.
fn mistake(problem: &Problem) -> serde_json::Value {
    let mut mistake = json!({ "key": problem.key, "text": problem.text });
    match &problem.place {
        Some(Place::Line(line)) => mistake["line"] = (*line).into(),
        Some(Place::Variable(name)) => mistake["variable"] = name.as_str().into(),
        None => {}
    }
    mistake
}
