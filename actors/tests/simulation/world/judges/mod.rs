//! Judges: each reads the history and the tables after the run and says what must not have happened.

mod accuracy;
mod authority;
mod duplicates;
mod effects;
mod expected;
mod loss;
mod progress;
mod rest;

use super::World;
use super::scheduler::Micros;

/// What a judge found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which judge.
    pub judge: &'static str,
    /// When it happened.
    pub at: Micros,
    /// What.
    pub text: String,
}

impl Finding {
    fn new(judge: &'static str, at: Micros, text: String) -> Self {
        Self { judge, at, text }
    }
}

/// What all judges find, in order of time.
pub fn judge(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    authority::judge(world, &mut findings);
    effects::judge(world, &mut findings);
    accuracy::judge(world, &mut findings);
    loss::judge(world, &mut findings);
    duplicates::judge(world, &mut findings);
    progress::judge(world, &mut findings);
    rest::judge(world, &mut findings);
    findings.sort_by_key(|finding| finding.at);
    findings
}
