//! An embedded database is taken over into PostgreSQL with everything that is in it, and a node goes on there where the former one stopped.

mod node;
mod postgres;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use node::process::{Process, run};
use node::{SOON, World};
use postgres::Server;
use postrider::clock::SystemClock;
use postrider::config::database_url::DatabaseUrl;
use postrider::store::{Options, PostgresStore, SqliteStore, Store};
use postrider_actors::ids::{Smtp, TenantId};
use postrider_actors::ports::{Clock, RegistryStore as _, StoreError};
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

fn pushes(file: &Path) -> bool {
    let file = rusqlite::Connection::open(file).expect("it opens");
    file.query_row("SELECT sending_allowed FROM cluster", [], |row| row.get(0)).expect("it has a row")
}

#[tokio::test]
async fn the_file_is_paused_before_the_first_row_goes_and_goes_on_only_if_none_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, tenant, ada) = (folder.path().join("a.db"), TenantId("main".into()), Smtp::new("ada@example.com"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let embedded = SqliteStore::open(&file, Options::new(clock.clone())).await.expect("it is made");
    embedded.mailbox_add(&tenant, &ada, clock.now()).await.expect("it is added");
    embedded.close().await;

    let server = Server::new();
    let database = server.database().await;
    let Ok(DatabaseUrl::Postgres(url)) = DatabaseUrl::try_from(database.url.clone()) else { panic!("{}", database.url) };
    let options = postrider::store::postgres::Options { migrate: true, ..Default::default() };
    let store: Store = PostgresStore::open(&url, options).await.expect("it opens").into();

    let (bob, seen) = (Smtp::new("bob@example.com"), AtomicBool::new(true));
    store.registry.mailbox_add(&tenant, &bob, clock.now()).await.expect("it is added");
    let told = |_: &'static str, _: u64| seen.store(pushes(&file), Ordering::Relaxed);
    let refused = store.take_over(&file, clock.clone(), &told).await;
    assert!(matches!(&refused, Err(StoreError::Unusable(text)) if text.contains("an empty one")), "{refused:?}");
    assert!(pushes(&file), "nothing went");

    store.registry.mailbox_remove(&tenant, &bob).await.expect("it is removed");
    store.take_over(&file, clock.clone(), &told).await.expect("everything goes");
    assert!(!seen.load(Ordering::Relaxed), "it was paused when its rows went");
    assert!(!pushes(&file));
    assert!(store.registry.mailbox_find(&tenant, &ada).await.expect("it answers").is_some());
}
