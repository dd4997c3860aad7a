//! Runs any number of seeds of the simulated cluster: `cargo run --release -p postrider-actors --example simulate -- --seeds 10000`, or one: `-- --seed 42`.

#![allow(clippy::disallowed_methods, reason = "a command tells its progress by the real clock; the simulated world has none")]

#[path = "../tests/simulation/world/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use world::faults::Hit;
use world::plan_of_faults::Plan;
use world::run::{self, Outcome};
use world::steps::Step;

/// So many failing seeds are enough to look into.
const ENOUGH: usize = 20;

const HELP: &str = "\
Simulates a cluster under faults that a seed determines, and judges what happened.

  simulate [--seeds N] [--from SEED] [--minutes M] [--threads N]    runs many seeds: N of them (1,000), or as many as fit in M minutes
  simulate --seed SEED                                              runs one, and shortens its faults to the few that matter if it fails

A failing seed is printed as soon as it is there. At the end: how often each fault hit, and which faults never fell into which
step of the protocol. The exit code is 0 without a finding, 1 with one, 2 for wrong arguments.
POSTRIDER_LINES=N prints so many lines of a failing seed's history before its first finding (60); above 1,000 also those after it.
";

/// What is to be run.
#[derive(Debug, Clone, Copy)]
struct Arguments {
    seed: Option<u64>,
    from: u64,
    seeds: u64,
    until: Option<Instant>,
    threads: usize,
}

impl Arguments {
    /// Reads the command line; a sentence for people when it is wrong.
    fn read(words: &[String]) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut read = Self { seed: None, from: 0, seeds: 1_000, until: None, threads };
        let mut counted = false;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a number; see --help"))?;
            let number: u64 = value.replace('_', "").parse().map_err(|_| format!("{word} takes a number, not {value}"))?;
            match word.as_str() {
                "--seed" => read.seed = Some(number),
                "--from" => read.from = number,
                "--seeds" => (read.seeds, counted) = (number, true),
                "--minutes" => read.until = Some(Instant::now() + Duration::from_secs(number * 60)),
                "--threads" => read.threads = usize::try_from(number).unwrap_or(1).clamp(1, 512),
                other => return Err(format!("{other} is not known; see --help")),
            }
        }
        if read.until.is_some() && !counted {
            read.seeds = u64::MAX - read.from;
        }
        Ok(read)
    }

    fn last(&self) -> u64 {
        self.from.saturating_add(self.seeds)
    }

    fn over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// What is known of the seeds that ran.
#[derive(Default)]
struct Tally {
    done: u64,
    events: u64,
    mails: u64,
    pushes: u64,
    hits: BTreeMap<Hit, (u64, u64)>,
    pairs: BTreeSet<(Hit, Step)>,
    failed: Vec<(u64, Outcome)>,
    panicked: Vec<u64>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.done += 1;
        self.events += outcome.events;
        self.mails += outcome.mails;
        self.pushes += outcome.pushes;
        self.pairs.extend(&outcome.pairs);
        for (hit, count) in &outcome.hits {
            let total = self.hits.entry(*hit).or_default();
            *total = (total.0 + count, total.1 + 1);
        }
        if let Some(first) = outcome.findings.first() {
            say(&format!("seed {seed} failed, {} findings, first {}: {}", outcome.findings.len(), first.judge, first.text));
            self.failed.push((seed, outcome));
        }
    }

    fn bad(&self) -> usize {
        self.failed.len() + self.panicked.len()
    }
}

/// A line that stays, above the bar.
fn say(line: &str) {
    let clear = if std::io::stderr().is_terminal() { "\r\u{1b}[K" } else { "" };
    eprint!("{clear}");
    println!("{line}");
    let _ = std::io::stdout().flush();
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::read(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match arguments.seed {
        Some(seed) => one(seed),
        None => report(&all(arguments)),
    }
}

/// One seed, with the faults that its finding needs.
fn one(seed: u64) -> ExitCode {
    let outcome = run::seed(seed, None);
    tell(seed, &outcome);
    println!("seed {seed}: {} events, {} pushes, history {:016x}", outcome.events, outcome.pushes, outcome.hash);
    let Some(first) = outcome.findings.first() else { return ExitCode::SUCCESS };
    let Plan { nodes, mailboxes, mut rates, faults, aims, drift, change_every, .. } = run::shorten(seed, first.judge);
    println!("with fewer faults: {nodes} nodes, {mailboxes} mailboxes, drift {drift}, changes of devices {}", change_every > 0);
    faults.iter().for_each(|fault| println!("  {:>9.3} s {:?}", fault.at as f64 / 1e6, fault.kind));
    aims.iter().for_each(|aim| println!("  {:?} {} ms into {} number {}", aim.kind, aim.after / 1_000, aim.step.tell(), aim.pass + 1));
    rates.parts().iter().filter(|(_, rate)| **rate > 0).for_each(|(name, rate)| println!("  {name} {rate} in a million"));
    ExitCode::FAILURE
}

/// Runs all seeds on so many threads; stops early when many fail.
fn all(arguments: Arguments) -> Tally {
    let (next, tally, began) = (AtomicU64::new(arguments.from), Mutex::new(Tally::default()), Instant::now());
    let enough = || arguments.over() || tally.lock().is_ok_and(|tally| tally.bad() >= ENOUGH);
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..arguments.threads)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= arguments.last() || enough() {
                            return;
                        }
                        let outcome = std::panic::catch_unwind(|| run::seed(seed, None));
                        let mut tally = tally.lock().expect("nobody panics with it");
                        match outcome {
                            Ok(outcome) => tally.add(seed, outcome),
                            Err(_) => {
                                say(&format!("seed {seed} panicked"));
                                tally.panicked.push(seed);
                            }
                        }
                    }
                })
            })
            .collect();
        let bar = scope.spawn(|| {
            while next.load(Ordering::Relaxed) < arguments.last() && !enough() {
                std::thread::sleep(Duration::from_millis(500));
                if let Ok(tally) = tally.lock() {
                    bar(&tally, &arguments, began);
                }
            }
        });
        runners.into_iter().chain([bar]).for_each(|thread| thread.join().expect("a thread ends"));
    });
    eprintln!();
    tally.into_inner().expect("nobody panics with it")
}

fn bar(tally: &Tally, arguments: &Arguments, began: Instant) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let (done, spent) = (tally.done, began.elapsed().as_secs_f64());
    let rate = done as f64 / spent.max(0.001);
    let by_count = (arguments.seeds - done.min(arguments.seeds)) as f64 / rate.max(0.001);
    let by_time = arguments.until.map_or(f64::INFINITY, |until| until.saturating_duration_since(Instant::now()).as_secs_f64());
    let left = by_count.min(by_time);
    let filled = (40.0 * spent / (spent + left).max(0.001)) as usize;
    eprint!("\r[{:<40}] {done} seeds, {rate:.0}/s, {:.0} s left, {} failed ", "#".repeat(filled.min(40)), left, tally.bad());
}

fn report(tally: &Tally) -> ExitCode {
    println!("{} seeds, {} events, {} mails, {} pushes taken", tally.done, tally.events, tally.mails, tally.pushes);
    println!("fault   hits      seeds  what");
    for hit in Hit::ALL {
        let (count, seeds) = tally.hits.get(hit).copied().unwrap_or_default();
        let (fault, text) = hit.tell();
        println!("{fault:<5} {count:>8} {seeds:>8}  {text}");
    }
    never_met(tally);
    tally.failed.iter().for_each(|(seed, outcome)| println!("seed {seed} failed: {}", outcome.findings[0].judge));
    tally.panicked.iter().for_each(|seed| println!("seed {seed} panicked"));
    if let Some((seed, outcome)) = tally.failed.first() {
        tell(*seed, outcome);
    }
    if tally.bad() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The steps of the protocol that a fault never fell into, by fault.
fn never_met(tally: &Tally) {
    let all = Hit::ALL.len() * Step::ALL.len();
    println!("{} of {all} pairs of fault and step of the protocol were met; never met:", tally.pairs.len());
    for hit in Hit::ALL {
        let missing: Vec<&str> = Step::ALL.iter().filter(|step| !tally.pairs.contains(&(*hit, **step))).map(|step| step.tell()).collect();
        if !missing.is_empty() {
            println!("{:<5} {}: {}", hit.tell().0, hit.tell().1, missing.join(", "));
        }
    }
}

fn tell(seed: u64, outcome: &Outcome) {
    for line in &outcome.tail {
        println!("{line}");
    }
    for finding in outcome.findings.iter().take(10) {
        println!("seed {seed}: {} at {:.6}: {}", finding.judge, finding.at as f64 / 1e6, finding.text);
    }
}
