//! A wrong topic for everybody: Apple refuses every push, nobody is forgotten, and the mails come when it is mended.

use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::fleet::{Fleet, FleetMix};
use postrider_loadtest::ledger::Provider;
use postrider_loadtest::simulators::Options;
use postrider_loadtest::world::MailSpec;
use rustix::process::Signal;

use crate::node::{SOON, World, assert_clean, until};

const USERS: usize = 40;
const WRONG: &str = "com.example.wrong";
/// Waits scaled down to those of a test, and a breaker that is closed again soon.
const IMPATIENT: &str = "[core]\npush_retry_max = \"1s\"\nbreaker_pause = \"1s\"\n";

/// Runs the story; `known`: Apple knows the topic as one of another app of the team (DeviceTokenNotForTopic), or does not know it (TopicDisallowed).
async fn nobody_is_forgotten(known: bool, reason: &str) {
    let mut options = Options::default();
    options.topics.extend(known.then(|| WRONG.to_owned()));
    let world = World::with(options, IMPATIENT).await;
    let line = format!("app = \"{}\"\nteam_id", Credentials::APP);
    let wrong = format!("app = \"{}\"\ntopic = \"{WRONG}\"\nteam_id", Credentials::APP);
    world.rewrite(&line, &wrong);

    let mut first = world.node().await;
    let fleet = Fleet::plan(1, USERS, "user", "example.com", FleetMix { apple: 100, ..FleetMix::plain() });
    world.register(&mut first, &fleet, USERS).await;
    for user in &fleet.users {
        world.simulators.world().deliver(user, MailSpec::new("Ann Baker", "Lunch", "At noon?")).expect("the mailbox is there");
    }
    // More refusals than there are phones: some were sent again.
    let refusals = || {
        let refusals = world.simulators.ledger().judge().refusals;
        refusals
            .iter()
            .filter(|refusal| refusal.provider == Provider::Apns && refusal.reason == reason)
            .map(|refusal| refusal.count)
            .sum::<u64>()
    };
    let refused = until(SOON, async || refusals() > 25).await;
    assert!(refused, "{} x {reason}\n{}\n{}", refusals(), world.simulators.ledger().judge(), first.log());
    let forgotten = world.driver(&first).forgotten_without_reason(&fleet.phones).await;
    assert!(forgotten.is_empty(), "{forgotten:?}\n{}", first.log());
    first.until("a word about it", async |node| node.log().contains("pushes of this app are kept and tried again later")).await;
    first.signal(Signal::TERM);
    let (code, log) = first.ended().await;
    assert_eq!(code, Some(0), "{log}");

    world.rewrite(&wrong, &line);
    let mut second = world.node().await;
    world.all_live(&mut second, USERS).await;
    let verdict = world.verdict().await;
    assert_clean(&verdict, &[&first, &second]);
    assert_eq!(verdict.announced, USERS as u64, "{verdict}\n{}", second.log());
    let forgotten = world.driver(&second).forgotten_without_reason(&fleet.phones).await;
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_another_app_forgets_nobody() {
    nobody_is_forgotten(true, "DeviceTokenNotForTopic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_the_key_may_not_use_forgets_nobody() {
    nobody_is_forgotten(false, "TopicDisallowed").await;
}
