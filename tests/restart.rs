//! A node dies, is stopped, is replaced and stands still in the middle of mail: every mail is announced, none twice.

mod node;

use std::sync::Arc;

use node::process::Process;
use node::{World, assert_clean};
use postrider_loadtest::arrivals::{Arrivals, Mix};
use postrider_loadtest::fleet::Fleet;
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const USERS: usize = 60;

/// Lets mail arrive, by the side.
fn mail(world: &World, fleet: &Fleet, mails: u64) -> JoinHandle<()> {
    let arrivals = Arrivals { seed: 1, users: fleet.users.clone(), mails, rate: 100.0, mix: Mix::plain() };
    let simulators = Arc::clone(&world.simulators);
    tokio::spawn(async move { arrivals.run(simulators.world(), &CancellationToken::new(), || {}).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_twice_in_the_middle_of_a_thousand_mails_loses_none_and_repeats_only_under_the_same_id() {
    let world = World::start("").await;
    let mut first = world.node().await;
    let fleet = world.staff(&mut first, USERS).await;
    let mail = mail(&world, &fleet, 1_000);
    world.delivered(300).await;
    first.kill();
    let mut second = world.node().await;
    // It may be about to catch up: that is to be interrupted too.
    world.delivered(600).await;
    second.kill();
    let mut third = world.node().await;
    mail.await.expect("mail arrives");
    world.all_live(&mut third, USERS).await;
    let verdict = world.verdict().await;
    assert_eq!((verdict.mails, verdict.to_announce), (1_000, 1_000));
    assert_clean(&verdict, &[&first, &second, &third]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_told_to_stop_in_the_middle_of_mail_ends_within_its_deadline_and_loses_none() {
    let world = World::start("[node]\nstop_deadline = \"10s\"\n").await;
    let mut first = world.node().await;
    let fleet = world.staff(&mut first, USERS).await;
    let mail = mail(&world, &fleet, 400);
    world.delivered(150).await;
    first.signal(Signal::TERM);
    let begun = std::time::Instant::now();
    let (code, log) = first.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed().as_secs() < 15, "{:?}\n{log}", begun.elapsed());
    let mut second = world.node().await;
    mail.await.expect("mail arrives");
    world.all_live(&mut second, USERS).await;
    let verdict = world.verdict().await;
    assert_eq!(verdict.to_announce, 400);
    assert_clean(&verdict, &[&first, &second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_file_takes_over_and_the_first_ends() {
    let world = World::start("").await;
    let mut first = world.node().await;
    let fleet = world.staff(&mut first, USERS).await;
    let mail = mail(&world, &fleet, 400);
    world.delivered(150).await;
    let begun = std::time::Instant::now();
    let mut second = world.node().await;
    // T is 6 s; the rest is starting a process.
    assert!(begun.elapsed().as_secs() < 10, "{:?}\n{}", begun.elapsed(), second.log());
    assert_replaced(&mut first).await;
    mail.await.expect("mail arrives");
    world.all_live(&mut second, USERS).await;
    let verdict = world.verdict().await;
    assert_eq!(verdict.to_announce, 400);
    assert_clean(&verdict, &[&first, &second]);
}

async fn assert_replaced(node: &mut Process) {
    let (code, log) = node.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("another process took the database over"), "{log}");
}
