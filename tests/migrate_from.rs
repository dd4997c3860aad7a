//! An embedded database is taken over into PostgreSQL with everything that is in it, and a node goes on there where the former one stopped.

mod node;
mod postgres;

use node::process::{Process, run};
use node::{SOON, World};
use postgres::Server;
use rustix::process::Signal;
use serde_json::Value;

const USERS: usize = 20;

fn migrate(config: &str, from: &str) -> (Option<i32>, String, String) {
    let output = run(&["migrate", "--from", from, "--config", config, "--json"]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_to_postgresql_and_a_node_goes_on_there() {
    let world = World::start("").await;
    let mut first = world.node().await;
    let fleet = world.staff(&mut first, USERS).await;
    let mail = || fleet.users.iter().for_each(|user| world.deliver(user));
    mail();
    assert_eq!(world.verdict().await.lost_count, 0);

    let server = Server::new();
    let database = server.database().await;
    let shared = world.folder.path().join("shared.toml");
    let text = std::fs::read_to_string(&world.config).expect("it was written");
    let file = format!("sqlite:{}", world.database().display());
    assert!(text.contains(&file), "{text}");
    std::fs::write(&shared, text.replace(&file, &format!("{}?sslmode=disable", database.url))).expect("the folder can be written");
    let shared = shared.display().to_string();

    let (code, _, said) = migrate(&shared, &file);
    assert!(code == Some(1) && said.contains("a node works on it; stop it first"), "{said}");
    first.signal(Signal::TERM);
    first.ended().await;
    // While nobody works it comes all the same.
    mail();
    let (code, told, said) = migrate(&shared, &file);
    assert_eq!(code, Some(0), "{said}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["taken"]["mailbox"], &told["taken"]["device"], &told["taken"]["api_key"]), (&USERS.into(), &USERS.into(), &1.into()));
    assert!(told["taken"]["delivery"].as_u64() >= Some(USERS as u64), "{told}");
    let (code, _, said) = migrate(&shared, &file);
    assert!(code == Some(1) && said.contains("only into an empty one"), "{said}");

    let mut second = Process::serve(std::path::Path::new(&shared));
    second.ready().await;
    world.all_live(&mut second, USERS).await;
    mail();
    let verdict = world.simulators.ledger().verdict(SOON).await;
    assert!(verdict.is_clean() && verdict.doubled == 0, "{verdict}\n{}", second.log());
    assert_eq!(verdict.to_announce, 3 * USERS as u64, "the key works, and mail that came meanwhile is announced: {verdict}");

    let paused = run(&["cluster", "status", "--config", &world.config.display().to_string()]);
    assert!(String::from_utf8_lossy(&paused.stdout).contains("SENDING PAUSED"), "the file pushes nothing any more");
}
