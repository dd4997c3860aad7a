//! A node dies, is stopped, is replaced and stands still in the middle of mail: every mail is announced, none twice.

mod node;

use std::sync::Arc;

use node::process::Process;
use node::{SOON, World, assert_clean, until};
use postrider_loadtest::arrivals::{Arrivals, Mix};
use postrider_loadtest::fleet::Fleet;
use postrider_loadtest::world::MailSpec;
use rustix::process::Signal;
use sqlx::SqlitePool;
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
    // A short window: many small pushes are under way when it dies.
    let world = World::start("[core]\nwindow = \"200ms\"\n").await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_while_another_took_over_writes_and_sends_nothing_when_it_goes_on() {
    let world = World::start("").await;
    let mut first = world.node().await;
    let fleet = world.staff(&mut first, USERS).await;
    mail(&world, &fleet, 100).await.expect("mail arrives");
    world.verdict().await;

    let file = world.open_database().await;
    stand_still(&first, &file).await;
    // Hints of these lie in the sockets of the first while it stands still.
    let mail = mail(&world, &fleet, 200);
    let begun = std::time::Instant::now();
    let mut second = world.node().await;
    assert!(begun.elapsed().as_secs() < 15, "{:?}\n{}", begun.elapsed(), second.log());
    mail.await.expect("mail arrives");
    world.all_live(&mut second, USERS).await;
    assert_clean(&world.verdict().await, &[&first, &second]);

    // From here on every change of a mailbox is noted with who made it, and every new row.
    let owner = watch_writers(&file).await;
    first.signal(Signal::CONT);
    assert_replaced(&mut first).await;
    for user in &fleet.users {
        world.simulators.world().deliver(user, MailSpec::new("Ann Baker", "After", "It went on.")).expect("the mailbox is there");
    }
    let verdict = world.verdict().await;
    assert_clean(&verdict, &[&first, &second]);
    assert_eq!((verdict.to_announce, verdict.repeats), (300 + USERS as u64, 0), "{verdict}\n{}", first.log());
    let writers = writers(&file).await;
    assert_eq!(writers, [owner], "only the second one wrote");
}

/// Stops a process while no transaction of its is open: within one it would keep SQLite's own lock, and nobody could write until it goes on or dies.
async fn stand_still(node: &Process, file: &SqlitePool) {
    let free = until(SOON, async || {
        node.stop();
        let free = file.begin_with("BEGIN IMMEDIATE").await.is_ok();
        if !free {
            node.signal(Signal::CONT);
        }
        free
    })
    .await;
    assert!(free, "it always holds the database");
}

/// Notes who writes about mailboxes from now on; says who owns them now.
async fn watch_writers(file: &SqlitePool) -> i64 {
    for statement in [
        "CREATE TABLE writer (session INTEGER NOT NULL)",
        "CREATE TRIGGER watch_mailboxes AFTER UPDATE ON mailbox BEGIN INSERT INTO writer VALUES (new.owner_session); END",
    ] {
        sqlx::query(statement).execute(file).await.expect("a trigger can be made");
    }
    let owners: Vec<(i64,)> = sqlx::query_as("SELECT DISTINCT owner_session FROM mailbox").fetch_all(file).await.expect("they can be read");
    assert_eq!(owners.len(), 1, "{owners:?}");
    owners[0].0
}

async fn writers(file: &SqlitePool) -> Vec<i64> {
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT DISTINCT session FROM writer").fetch_all(file).await.expect("they can be read");
    rows.into_iter().map(|(session,)| session).collect()
}
