//! Runs any number of seeds of the simulated cluster: `cargo run --release -p postrider-actors --example simulate -- --seeds 10000`, or one: `-- --seed 42`.

#[path = "../tests/simulation/world/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use world::faults::Hit;
use world::run::{self, Outcome};

/// So many failing seeds are enough to look into.
const ENOUGH: usize = 20;

/// What is known of the seeds that ran.
#[derive(Default)]
struct Tally {
    done: u64,
    events: u64,
    mails: u64,
    pushes: u64,
    hits: BTreeMap<Hit, (u64, u64)>,
    failed: Vec<(u64, Outcome)>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.done += 1;
        self.events += outcome.events;
        self.mails += outcome.mails;
        self.pushes += outcome.pushes;
        for (hit, count) in &outcome.hits {
            let total = self.hits.entry(*hit).or_default();
            *total = (total.0 + count, total.1 + 1);
        }
        if !outcome.findings.is_empty() {
            self.failed.push((seed, outcome));
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = number("--seed") {
        let outcome = run::seed(seed, None);
        tell(seed, &outcome);
        println!("seed {seed}: {} events, {} pushes, history {:016x}", outcome.events, outcome.pushes, outcome.hash);
        return if outcome.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (first, seeds) = (number("--from").unwrap_or(0), number("--seeds").unwrap_or(1_000));
    let tally = all(first, seeds);
    report(&tally)
}

/// Runs all seeds on all cores; stops early when many fail.
fn all(first: u64, seeds: u64) -> Tally {
    let (next, tally) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || tally.lock().is_ok_and(|tally| tally.failed.len() >= ENOUGH) {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| run::seed(seed, None));
                    match outcome {
                        Ok(outcome) => tally.lock().expect("nobody panics with it").add(seed, outcome),
                        Err(_) => eprintln!("\nseed {seed} panicked"),
                    }
                }
            });
        }
        scope.spawn(|| {
            while next.load(Ordering::Relaxed) < first + seeds && tally.lock().is_ok_and(|tally| tally.failed.len() < ENOUGH) {
                std::thread::sleep(Duration::from_millis(500));
                bar(tally.lock().map_or(0, |tally| tally.done), seeds, tally.lock().map_or(0, |tally| tally.failed.len()));
            }
        });
    });
    eprintln!();
    tally.into_inner().expect("nobody panics with it")
}

fn bar(done: u64, seeds: u64, failed: usize) {
    let filled = usize::try_from(done * 40 / seeds.max(1)).unwrap_or(40).min(40);
    eprint!("\r[{}{}] {done}/{seeds} seeds, {failed} failed ", "#".repeat(filled), "-".repeat(40 - filled));
}

fn report(tally: &Tally) -> ExitCode {
    println!("{} seeds, {} events, {} mails, {} pushes taken", tally.done, tally.events, tally.mails, tally.pushes);
    println!("fault   hits      seeds  what");
    for hit in Hit::ALL {
        let (count, seeds) = tally.hits.get(hit).copied().unwrap_or_default();
        let (fault, text) = hit.tell();
        println!("{fault:<5} {count:>8} {seeds:>8}  {text}");
    }
    for (seed, outcome) in &tally.failed {
        let first = &outcome.findings[0];
        println!("seed {seed} failed, {} findings, first {}: {}", outcome.findings.len(), first.judge, first.text);
    }
    match tally.failed.first() {
        None => ExitCode::SUCCESS,
        Some((seed, outcome)) => {
            tell(*seed, outcome);
            ExitCode::FAILURE
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
