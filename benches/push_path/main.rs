//! The push path, from rows in hand to verdicts marked, and the sender alone, beside the least that an HTTP/2 client must do, on one simulated Apple.

mod bare;
mod example;
mod path;
mod sender;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bare::Bare;
use path::Path;
use postrider::telemetry::exporter::Exporter;
use postrider_loadtest::apple::{Apple, Options};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::driver::progress_bar;
use postrider_loadtest::ledger::Ledger;
use postrider_loadtest::phones::Phones;
use postrider_loadtest::tls::{ALPN_H2, install_provider};
use sender::Sender;
use tokio::runtime::Runtime;

/// As in the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections of each contestant.
const CONNECTIONS: usize = 2;
/// Pushes of each contestant under way at a time.
const IN_FLIGHT: usize = 200;
/// Pushes in a round, and rounds of each contestant, in turns.
const ROUND: (usize, usize) = (5_000, 25);
/// The share of the bare loop's rate that the push path must reach.
const LEAST_RATIO: f64 = 0.5;

fn main() -> ExitCode {
    install_provider();
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick" || argument == "--test");
    let json = arguments.iter().any(|argument| argument == "--json");
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1)).map(String::as_str);
    if let Some(only) = only.filter(|only| !["bare", "sender", "path"].contains(only)) {
        eprintln!("--only {only}: there are bare, sender and path");
        return ExitCode::FAILURE;
    }
    let (pushes, rounds) = if quick { (200, 1) } else { ROUND };
    let [bare, sender, path] = Runtime::new().expect("a runtime").block_on(race(pushes, rounds, only));
    let work = [bare.work, sender.work, path.work];
    let [bare, sender, path] = [bare.rate, sender.rate, path.rate];
    let ratio = path / bare;
    if json {
        let figures = serde_json::json!({"bare": bare, "sender": sender, "path": path, "sender_ratio": sender / bare, "path_ratio": ratio, "work_us": work});
        println!("{figures:#}");
    } else {
        println!("bare HTTP/2 loop                  {bare:>8.0} pushes/s");
        println!("sender alone                      {sender:>8.0} pushes/s   {:.2} of the bare loop", sender / bare);
        println!("rows in hand to verdict marked    {path:>8.0} pushes/s   {ratio:.2} of the bare loop (at least {LEAST_RATIO} is wanted)");
        println!("processor time of a push, the simulator's share included: {:.0}, {:.0} and {:.0} us", work[0], work[1], work[2]);
    }
    if quick || only.is_some() || ratio >= LEAST_RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a contestant reached in a round.
#[derive(Debug, Clone, Copy)]
struct Took {
    /// Pushes per second.
    rate: f64,
    /// Microseconds of processor time per push, of all threads of this process: of the contestant and the simulator.
    work: f64,
}

/// The bare loop, the sender, and the whole path, or `only` one of them (for a profiler): medians of rounds in turns.
async fn race(pushes: usize, rounds: usize, only: Option<&str>) -> [Took; 3] {
    let runs = |name: &str| only.is_none_or(|only| only == name);
    // As in the node, what happens is counted.
    tokio::spawn(Exporter::install().expect("nobody counts yet").upkeep());
    let credentials = Credentials::generate();
    let tls = Arc::new(credentials.authority.server_config(&["localhost"], &[ALPN_H2]));
    let ledger = Arc::new(Ledger::new(Duration::from_secs(3)));
    let apple = Apple::start(Options::new(tls, Arc::new(Phones::new(true)), ledger)).await.expect("a free port");
    apple.add_key(Credentials::APNS_KID, Credentials::APNS_TEAM, credentials.apns_key.public_key_raw());
    let bare = Bare::connect(&credentials, &apple).await;
    let senders = Sender::start(&credentials, apple.address().port());
    let mut path = Path::start(pushes, senders.0.clone()).await;
    let bar = progress_bar("rounds");
    bar.set_length(rounds as u64 + 1);
    let mut took: [Vec<Took>; 3] = Default::default();
    // The first round of each warms connections up.
    for round in 0..=rounds {
        path.commit_rows().await;
        let these = [
            timed(pushes, runs("bare"), bare.round(pushes)).await,
            timed(pushes, runs("sender"), senders.round(pushes)).await,
            timed(pushes, runs("path"), path.round()).await,
        ];
        bar.inc(1);
        if round > 0 {
            took.iter_mut().zip(these).for_each(|(took, this)| took.push(this));
        }
    }
    bar.finish_and_clear();
    took.map(|took| Took { rate: median(took.iter().map(|took| took.rate)), work: median(took.iter().map(|took| took.work)) })
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn timed(pushes: usize, runs: bool, round: impl Future<Output = ()>) -> Took {
    if !runs {
        return Took { rate: 0.0, work: 0.0 };
    }
    let (begin, before) = (Instant::now(), work());
    round.await;
    let pushes = pushes as f64;
    Took { rate: pushes / begin.elapsed().as_secs_f64(), work: (work() - before).as_secs_f64() * 1e6 / pushes }
}

/// Processor time of all threads of this process so far.
fn work() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
