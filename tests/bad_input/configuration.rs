//! Mistakes in the configuration, and addresses that are taken: told before anything is touched.

use postrider_loadtest::world::MailSpec;

use crate::node::process::{Process, command, run};
use crate::node::{World, assert_clean};
use crate::refused::refused;

#[tokio::test]
async fn an_unknown_key_is_named() {
    let world = World::start("[core]\nwindwo = \"3s\"\n").await;
    refused(world.spawn(), 2, &["core.windwo", "window"]).await;
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_to_people_and_to_programs() {
    let world = World::start("[core]\nwindow = \"3 bananas\"\n[node]\nthreads = -1\ncolour = \"red\"\n").await;
    world.rewrite("allowed_domains = [\"example.com\"]", "allowed_domains = []");
    let keys = ["core.window", "node.threads", "node.colour", "tenant.demo.allowed_domains"];
    refused(world.spawn(), 2, &keys).await;
    let told = run(&["check-config", "--json", "--config", world.config.to_str().expect("UTF-8")]);
    assert_eq!(told.status.code(), Some(2));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let told: Vec<_> = told["mistakes"].as_array().expect("a list").iter().map(|mistake| mistake["key"].clone()).collect();
    assert!(keys.iter().all(|key| told.iter().any(|told| told == key)), "{told:?}");
}

#[tokio::test]
async fn a_missing_configuration_is_named() {
    let node = Process::serve(std::path::Path::new("/nowhere/postrider.toml"));
    refused(node, 2, &["/nowhere/postrider.toml"]).await;
}

#[tokio::test]
async fn push_keys_that_are_none_are_told_without_being_shown() {
    let world = World::start("").await;
    let folder = world.folder.path();
    std::fs::write(folder.join("apns.p8"), "-----BEGIN PRIVATE KEY-----\nsecret-rubbish\n-----END PRIVATE KEY-----\n").expect("writable");
    std::fs::write(folder.join("fcm.json"), "{\"type\": \"service_account\", \"private_key\": \"secret-rubbish\"").expect("writable");
    let mut node = world.spawn();
    let (code, log) = node.ended().await;
    assert_eq!(code, Some(2), "{log}");
    for key in ["push.apns[0].key", "push.fcm[0].service_account"] {
        assert!(log.contains(key), "{key} is not named:\n{log}");
    }
    assert!(!log.contains("secret-rubbish"), "{log}");
}

#[tokio::test]
async fn a_key_of_another_kind_is_told() {
    let world = World::start("").await;
    let folder = world.folder.path();
    // The service account's RSA key where Apple's elliptic one belongs, and the other way round a service account that is a user's credential.
    let account: serde_json::Value = serde_json::from_str(&world.simulators.fcm_account_json()).expect("JSON");
    std::fs::write(folder.join("apns.p8"), account["private_key"].as_str().expect("a key")).expect("writable");
    std::fs::write(folder.join("fcm.json"), r#"{"type": "authorized_user", "client_id": "a", "refresh_token": "b"}"#).expect("writable");
    refused(world.spawn(), 2, &["push.apns[0].key", "push.fcm[0].service_account"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_told_and_the_running_node_keeps_its_database() {
    let world = World::start("").await;
    let mut first = world.node().await;
    let fleet = world.staff(&mut first, 5).await;
    let owners = owners(&world).await;
    for (key, address) in [("listen", first.api()), ("admin_listen", first.admin())] {
        let taken = address.trim_start_matches("http://").to_owned();
        let line = format!("\n{key} = \"127.0.0.1:0\"");
        world.rewrite(&line, &format!("\n{key} = \"{taken}\""));
        refused(world.spawn(), 1, &[&format!("api.{key}"), &taken, "in use"]).await;
        world.rewrite(&taken, "127.0.0.1:0");
    }
    for user in &fleet.users {
        world.simulators.world().deliver(user, MailSpec::new("Ann Baker", "Lunch", "At noon?")).expect("the mailbox is there");
    }
    let verdict = world.verdict().await;
    assert_clean(&verdict, &[&first]);
    assert_eq!((verdict.announced, verdict.late), (5, 0), "{verdict}");
    first.ready().await;
    assert_eq!(self::owners(&world).await, owners, "nobody else ever owned the database");
}

async fn owners(world: &World) -> i64 {
    let (count,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM assign_log").fetch_one(&world.open_database().await).await.expect("it can be read");
    count
}

#[tokio::test]
async fn a_command_without_its_node_or_key_says_what_it_wants() {
    let world = World::start("").await;
    let mailboxes = |key: Option<&str>, api: &str| {
        let mut command = command(&["mailbox", "list", "--api", api]);
        command.env_remove("POSTRIDER_KEY").envs(key.map(|key| ("POSTRIDER_KEY", key)));
        let output = command.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = mailboxes(None, "http://127.0.0.1:1");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("POSTRIDER_KEY") && told.contains("postrider key create"), "{told}");
    let (code, told) = mailboxes(Some(world.key()), "http://127.0.0.1:1");
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("is the node running"), "{told}");
    let (code, told) = mailboxes(Some(world.key()), "http://push.example.com");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("https"), "{told}");
}
