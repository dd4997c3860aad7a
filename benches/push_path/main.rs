//! The push path, from rows in hand to verdicts marked, and the sender alone, beside the least that an HTTP/2 client must do, on one simulated Apple.

mod bare;
mod path;
mod sender;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bare::Bare;
use path::Path;
use postrider_loadtest::apple::{Apple, Options};
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::driver::progress_bar;
use postrider_loadtest::ledger::Ledger;
use postrider_loadtest::phones::Phones;
use postrider_loadtest::tls::{ALPN_H2, install_provider};
use sender::Sender;
use tokio::runtime::Runtime;

/// Connections of each contestant.
const CONNECTIONS: usize = 2;
/// Pushes of each contestant under way at a time.
const IN_FLIGHT: usize = 200;
/// Pushes in a round, and rounds of each contestant, in turns.
const ROUND: (usize, usize) = (5_000, 9);
/// The share of the bare loop's rate that the push path must reach.
const LEAST_RATIO: f64 = 0.5;

fn main() -> ExitCode {
    install_provider();
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick" || argument == "--test");
    let json = arguments.iter().any(|argument| argument == "--json");
    let (pushes, rounds) = if quick { (200, 1) } else { ROUND };
    let [bare, sender, path] = Runtime::new().expect("a runtime").block_on(race(pushes, rounds));
    let ratio = path / bare;
    if json {
        let figures = serde_json::json!({"bare": bare, "sender": sender, "path": path, "sender_ratio": sender / bare, "path_ratio": ratio});
        println!("{figures:#}");
    } else {
        println!("bare HTTP/2 loop                  {bare:>8.0} pushes/s");
        println!("sender alone                      {sender:>8.0} pushes/s   {:.2} of the bare loop", sender / bare);
        println!("rows in hand to verdict marked    {path:>8.0} pushes/s   {ratio:.2} of the bare loop (at least {LEAST_RATIO} is wanted)");
    }
    if quick || ratio >= LEAST_RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Pushes per second of the bare loop, the sender, and the whole path: medians of rounds in turns.
async fn race(pushes: usize, rounds: usize) -> [f64; 3] {
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
    let mut rates: [Vec<f64>; 3] = Default::default();
    // The first round of each warms connections up.
    for round in 0..=rounds {
        let took = [bare.round(pushes).await, senders.round(pushes).await, path.round().await];
        bar.inc(1);
        if round > 0 {
            rates.iter_mut().zip(took).for_each(|(rates, rate)| rates.push(rate));
        }
    }
    bar.finish_and_clear();
    rates.map(median)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Pushes per second.
fn rate(pushes: usize, since: Instant) -> f64 {
    pushes as f64 / since.elapsed().as_secs_f64()
}
