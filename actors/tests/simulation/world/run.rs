//! One seed from its beginning to its verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use super::broken::Broken;
use super::dice::Dice;
use super::faults::{Hit, Rates};
use super::judges::{self, Finding};
use super::plan_of_faults::Plan;
use super::scheduler::{Micros, SECOND, To};
use super::steps::Step;

/// For so long before the end of a run nothing happens any more.
pub const REST: Micros = 60 * SECOND;

/// What came of a seed.
pub struct Outcome {
    /// What the judges found.
    pub findings: Vec<Finding>,
    /// The hash of the history.
    pub hash: u64,
    /// The last lines of the history, and those around the first finding.
    pub tail: Vec<String>,
    /// Faults that hit.
    pub hits: BTreeMap<Hit, u64>,
    /// Which faults fell into which steps of the protocol.
    pub pairs: BTreeSet<(Hit, Step)>,
    /// Events that happened.
    pub events: u64,
    /// Pushes that were taken.
    pub pushes: u64,
    /// Mails that came.
    pub mails: u64,
}

/// Runs a seed.
pub fn seed(seed: u64, broken: Option<Broken>) -> Outcome {
    let mut dice = Dice::new(seed);
    let plan = Plan::draw(&mut dice);
    run(dice, &plan, broken)
}

/// Shortens the faults of a failing seed to those without which its first judge finds nothing. Each try runs the seed once.
pub fn shorten(seed: u64, judge: &str) -> Plan {
    let mut dice = Dice::new(seed);
    let mut plan = Plan::draw(&mut dice);
    let fails = |plan: &Plan| run(dice.clone(), plan, None).findings.iter().any(|finding| finding.judge == judge);
    loop {
        let smaller = smaller(&plan).into_iter().find(|smaller| fails(smaller));
        match smaller {
            Some(smaller) => plan = smaller,
            None => return plan,
        }
    }
}

/// The plan with one fault less, in each way.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    for place in 0..plan.faults.len() {
        let mut less = plan.clone();
        less.faults.remove(place);
        all.push(less);
    }
    for place in 0..plan.aims.len() {
        let mut less = plan.clone();
        less.aims.remove(place);
        all.push(less);
    }
    let mut rates = plan.rates.clone();
    let wanted: Vec<usize> = rates.parts().iter().enumerate().filter(|(_, (_, rate))| **rate > 0).map(|(place, _)| place).collect();
    for place in wanted {
        let mut less = plan.clone();
        if let Some((_, rate)) = less.rates.parts().into_iter().nth(place) {
            *rate = 0;
        }
        all.push(less);
    }
    if plan.change_every > 0 {
        all.push(Plan { change_every: 0, ..plan.clone() });
    }
    if plan.drift {
        all.push(Plan { drift: false, ..plan.clone() });
    }
    all
}

/// Runs a plan.
pub fn run(dice: Dice, plan: &Plan, broken: Option<Broken>) -> Outcome {
    let world = played(dice, plan, broken);
    let findings = judges::judge(&world);
    Outcome {
        hash: world.history.hash(),
        tail: if findings.is_empty() { Vec::new() } else { tail(&world, &findings) },
        findings,
        hits: world.hits,
        pairs: world.pairs,
        events: world.queue.entered(),
        pushes: world.provider.sends.iter().filter(|send| send.accepted.is_some()).count() as u64,
        mails: world.ledger.mails.len() as u64,
    }
}

/// The world of a plan after its end.
pub fn played(dice: Dice, plan: &Plan, broken: Option<Broken>) -> World {
    let mut world = World::new(dice, plan, broken);
    for node in 0..plan.nodes {
        let after = world.dice.between(0, 3 * SECOND);
        world.enter(after, To::World, move |world| world.start(node));
    }
    world.people_begin(plan.mailboxes);
    world.rates = plan.rates.clone();
    world.remember_often();
    world.faults_begin(plan);
    world.run_until(plan.faults_end);
    // From here on nothing goes wrong any more, save what began before.
    let quiet = world.rates.uninstalls;
    world.rates = Rates { uninstalls: quiet, ..Rates::default() };
    world.run_until(plan.end - REST);
    let before = world.db.statements;
    world.run_until(plan.end);
    world.statements_at_rest = world.db.statements - before;
    world
}

fn tail(world: &World, findings: &[Finding]) -> Vec<String> {
    let around = std::env::var("POSTRIDER_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(60);
    let entries = world.history.entries();
    let at = findings.first().map_or(world.now, |finding| finding.at);
    let place = entries.partition_point(|entry| entry.at <= at);
    let told = |entry: &super::history::Entry| {
        around > 1_000 || !matches!(entry.what, super::history::What::Beat(_) | super::history::What::GateOpened(_))
    };
    let mut lines: Vec<String> = entries[..place].iter().rev().filter(|entry| told(entry)).take(around).map(|entry| entry.tell()).collect();
    lines.reverse();
    lines.extend(
        entries[place..].iter().filter(|entry| told(entry)).take(if around > 1_000 { around } else { 10 }).map(|entry| entry.tell()),
    );
    lines
}
