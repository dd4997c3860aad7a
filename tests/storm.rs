//! A short storm: everything that servers are known to do wrong, all at once, from fixed seeds; the long ones are run by hand.

use std::sync::Arc;

use postrider::demo::story::{self, Plan};
use postrider_loadtest::simulators::FaultLevel;
use tokio_util::sync::CancellationToken;

/// 200 mails to 40 users while everything goes wrong now and then.
async fn storm(seed: u64) {
    postrider_loadtest::tls::install_provider();
    let plan = Plan { users: 40, duration: None, mails: Some(200), rate: 20.0, faults: FaultLevel::Storm, seed, quiet: true };
    let report = story::run(&plan, Arc::new(String::new), CancellationToken::new()).await.expect("it can be shown");
    assert!(report.verdict.mails >= 200, "{report}");
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_storm_loses_nothing_forgets_nobody_and_shows_nothing_to_excess() {
    storm(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_storm_loses_nothing_forgets_nobody_and_shows_nothing_to_excess() {
    storm(2).await;
}
