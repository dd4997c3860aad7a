//! Nodes die, stand still and are emptied, the database stops and is promoted: every mail is announced, by one node at a time.

mod cluster;
mod node;
mod postgres;

use std::time::{Duration, Instant};

use cluster::measure::Judged;
use cluster::{Cluster, LEVELLED_SOON, LONG, Plan, Standby, TALKATIVE, audit};
use rustix::process::Signal;
use tokio::sync::{Mutex, MutexGuard};

/// The timings of a cluster as they are, but for the quiet before load is levelled: a story does not wait a minute for its users to be spread.
const PLAN: Plan = Plan { nodes: 3, users: 300, core: "", more: LEVELLED_SOON, standby: Standby::None };
const RATE: f64 = 20.0;

/// One story at a time: they measure times, and each has several processes.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

async fn killed(cluster: &mut Cluster, place: usize) {
    let mail = cluster.mail(RATE);
    cluster.delivered(60).await;
    let takeover = cluster.kill_and_follow(&[place], Duration::from_secs(60)).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let judged = Judged::of(takeover, &verdict);
    println!("{judged}");
    assert_eq!(judged.mistakes(2), Vec::<String>::new(), "{verdict}\n{}", cluster.logs());
    assert!(verdict.is_clean(), "{verdict}\n{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_a_killed_follower_are_taken_over_and_nobody_else_moves() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(&PLAN).await;
    let place = cluster.follower().await;
    killed(&mut cluster, place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_of_a_killed_leader_are_taken_over_by_the_plan_of_the_next() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(&PLAN).await;
    let place = cluster.leader().await;
    killed(&mut cluster, place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_for_a_minute_commits_and_sends_nothing_of_what_was_taken_over() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(&PLAN).await;
    audit::install(cluster.server(), &cluster.database.name).await;
    let mail = cluster.mail(RATE);
    cluster.delivered(60).await;
    let place = cluster.follower().await;
    let users = cluster.owners().await.remove(&cluster.nodes[place].name).expect("it owns some");
    cluster.nodes[place].process().stop();
    let stopped = Instant::now();
    tokio::time::sleep_until((stopped + Duration::from_secs(60)).into()).await;
    let continued = Instant::now();
    cluster.nodes[place].process().signal(Signal::CONT);
    // Whatever it still would do, it would do while mail comes for those whom it owned.
    for user in &users {
        cluster.deliver(user);
    }
    assert!(cluster.pushed_again(&users, continued, LONG).await, "{}", cluster.logs());
    mail.stop().await;
    let verdict = cluster.verdict().await;
    let late = cluster.simulators.apple().pushes_from(&cluster.nodes[place].apple.ports(), continued);
    assert_eq!(late.len(), 0, "it pushed after it was taken over\n{}", cluster.nodes[place].log());
    cluster.assert_one_authority().await;
    assert!(verdict.is_clean() && verdict.doubled == 0, "{verdict}\n{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stands_still_for_half_a_minute_costs_nobody_its_place() {
    let _alone = alone().await;
    let cluster = Cluster::start(&PLAN).await;
    let before = cluster.owners().await;
    let subscriptions = cluster.simulators.exchange().subscriptions_made();
    let mail = cluster.mail(RATE);
    cluster.delivered(60).await;
    cluster.servers[0].stop();
    let stopped = Instant::now();
    tokio::time::sleep_until((stopped + Duration::from_secs(30)).into()).await;
    for user in &cluster.fleet.users {
        cluster.deliver(user);
    }
    cluster.servers[0].start();
    let back = Instant::now();
    let first = cluster.first_push(back).await;
    println!("pushes resume {:.2} s after the first accepted connection", first.as_secs_f64());
    assert!(first < Duration::from_secs(6), "{first:?}\n{}", cluster.logs());
    assert!(cluster.pushed_again(&cluster.fleet.users, stopped, LONG).await, "{}", cluster.logs());
    mail.stop().await;
    let verdict = cluster.verdict().await;
    assert!(verdict.is_clean(), "{verdict}\n{}", cluster.logs());
    assert_eq!(cluster.owners().await, before, "nobody moved\n{}", cluster.logs());
    assert_eq!(cluster.number("SELECT count(*) FROM node WHERE state <> 'GOOD'").await, 0, "{}", cluster.logs());
    assert_eq!(cluster.simulators.exchange().subscriptions_made(), subscriptions, "nobody subscribed again\n{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_lost_the_tail_is_promoted_and_no_fence_is_used_twice() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(&Plan { more: TALKATIVE, standby: Standby::Asynchronous, ..PLAN }).await;
    let mail = cluster.mail(RATE);
    cluster.delivered(60).await;
    // What is written from here on is lost, a change of ownership among it.
    cluster.servers[1].stop();
    let victim = cluster.follower().await;
    cluster.kill_and_follow(&[victim], Duration::from_secs(60)).await;
    cluster.servers[0].kill();
    cluster.servers[1].start();
    cluster.servers[1].promote();
    cluster.primary = 1;
    let promoted = Instant::now();
    for user in &cluster.fleet.users {
        cluster.deliver(user);
    }
    assert!(cluster.pushed_again(&cluster.fleet.users, promoted, LONG).await, "{}", cluster.logs());
    mail.stop().await;
    let verdict = cluster.verdict().await;
    assert_eq!(verdict.lost_count, 0, "{verdict}\n{}", cluster.logs());
    assert!(cluster.fences_of_several_processes().is_empty(), "{:?}", cluster.fences_of_several_processes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_hands_everybody_over_without_a_gap() {
    let _alone = alone().await;
    let cluster = Cluster::start(&PLAN).await;
    let place = cluster.leader().await;
    let mail = cluster.mail(RATE);
    cluster.delivered(60).await;
    cluster.simulators.exchange().restart_coverage();
    let name = cluster.nodes[place].name.clone();
    let other = (place + 1) % cluster.nodes.len();
    let said = cluster.command(other, &["node", "drain", &name, "--wait", "--deadline", "170s"]);
    println!("{said}");
    assert!(!cluster.owners().await.contains_key(&name), "{said}\n{}", cluster.logs());
    cluster.delivered(60).await;
    mail.stop().await;
    let verdict = cluster.verdict().await;
    assert!(verdict.is_clean() && verdict.doubled == 0, "{verdict}\n{}", cluster.logs());
    let coverage = cluster.simulators.exchange().coverage(Duration::from_secs(2));
    assert_eq!(coverage.over, 0, "{coverage:?}\n{}", cluster.logs());
}
