//! What an operator types about the cluster, against the embedded database of one node: the tables, the JSON, the exit codes.

mod node;

use node::World;
use node::process::{Process, run};
use postrider_actors::ids::TenantId;
use postrider_actors::ports::registry_store::Role;
use postrider_actors::time::Timestamp;
use postrider_loadtest::world::MailSpec;
use serde_json::Value;

/// Runs a command with an admin key and without anything else that the environment could say: exit code, standard error.
fn asked(key: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = node::process::command(arguments);
    let output =
        command.env_remove("POSTRIDER_API").env_remove("POSTRIDER_CONFIG").env("POSTRIDER_KEY", key).output().expect("it can be started");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a command on the world's configuration: exit code, standard output, standard error.
fn typed(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = world.config.display().to_string();
    let output = run(&[arguments, &["--config", &config]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json(world: &World, arguments: &[&str]) -> Value {
    let (code, out, err) = typed(world, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

async fn staffed(users: usize) -> (World, Process) {
    let world = World::start("").await;
    let mut node = world.node().await;
    world.staff(&mut node, users).await;
    (world, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_seen_by_people_programs_and_the_admin_api_alike() {
    let (world, node) = staffed(12).await;
    let (code, table, err) = typed(&world, &["cluster", "status"]);
    assert_eq!(code, Some(0), "{err}");
    for wanted in ["sending allowed", "users 12 of 10000  shards 256  orphaned 0  moving 0", "node-1  GOOD   12/10000        0  256 "] {
        assert!(table.contains(wanted), "{wanted}\n{table}");
    }
    assert!(!table.contains('\u{1b}'), "no colours without a terminal\n{table}");

    let told = json(&world, &["cluster", "status"]);
    let answered = node.ask("/v1/admin/cluster", world.key()).await.expect("it answers");
    for pointer in ["/systemId", "/users", "/shards", "/orphaned", "/nodes/0/name", "/nodes/0/users", "/nodes/0/session", "/moves"] {
        assert_eq!(told.pointer(pointer), answered.pointer(pointer), "{pointer}");
    }
    assert_eq!(told["nodes"][0]["features"], "ews");
    assert!(told["nodes"][0]["heartbeatAgeSec"].as_f64().is_some_and(|age| (0.0..5.0).contains(&age)), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_assignment_log_says_who_took_over_and_who_left() {
    let (world, mut node) = staffed(1).await;
    node.signal(rustix::process::Signal::TERM);
    node.ended().await;
    let changes = json(&world, &["cluster", "log"]);
    let reasons: Vec<&str> = changes["changes"].as_array().expect("a list").iter().filter_map(|change| change["reason"].as_str()).collect();
    assert_eq!(reasons, ["leave", "take_over"]);
    assert_eq!((&changes["changes"][0]["from"], &changes["changes"][1]["to"]), (&"node-1".into(), &"node-1".into()));
    assert_eq!(json(&world, &["cluster", "log", "--limit", "1"])["changes"].as_array().map(Vec::len), Some(1));
    let (_, table, _) = typed(&world, &["cluster", "log"]);
    assert!(table.contains("take_over"), "{table}");

    let stopped = json(&world, &["cluster", "status"]);
    assert_eq!((&stopped["nodes"][0]["state"], &stopped["orphaned"]), (&"LEFT".into(), &256.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_is_required_only_if_somebody_has_it_or_it_is_meant() {
    let (world, _node) = staffed(1).await;
    assert_eq!(json(&world, &["cluster", "require", "ews"])["able"], 1);
    let (code, _, err) = typed(&world, &["cluster", "require", "graph"]);
    assert!(code == Some(1) && err.contains("no node that is GOOD has the feature graph"), "{err}");
    let (code, _, err) = typed(&world, &["cluster", "require", "Nonsense,more"]);
    assert!(code == Some(2), "{err}");
    assert_eq!(json(&world, &["cluster", "require", "graph", "--force"])["able"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_embedded_database_cannot_do_is_said() {
    let (world, _node) = staffed(1).await;
    let (code, _, err) = typed(&world, &["node", "drain", "node-1"]);
    assert!(code == Some(1) && err.contains("stop the service instead"), "{err}");
    let accepted = json(&world, &["cluster", "accept-database"]);
    assert_eq!(accepted["sendingAllowed"], true, "{accepted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_shows_one_document_a_line_until_the_reader_goes_away() {
    let (world, _node) = staffed(1).await;
    let config = world.config.display().to_string();
    let mut command = node::process::command(&["cluster", "status", "--watch", "--every", "200ms", "--json", "--config", &config]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it can be started");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("it is piped")));
    for _ in 0..3 {
        let line = lines.next().expect("it goes on").expect("it can be read");
        let document: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(document["nodes"][0]["state"], "GOOD");
    }
    drop(lines);
    let ended = tokio::task::spawn_blocking(move || child.wait().expect("it is ours"));
    let status = tokio::time::timeout(node::SOON, ended).await.expect("it ends").expect("waiting does not panic");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_ends_nothing_and_says_what_is_read_again() {
    let (world, mut node) = staffed(1).await;
    node.signal(rustix::process::Signal::HUP);
    node.until("it says what is read again", async |node| node.log().contains("SIGHUP")).await;
    assert_eq!(node.live_mailboxes(world.key()).await, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_or_key_is_told_with_what_to_type() {
    let (world, node) = staffed(1).await;
    let port = |url: &str| url.rsplit(':').next().unwrap_or_default().to_owned();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let (plain, tls) = (port(&node.admin()), port(&world.simulators.endpoints().exchange));
    let ca = world.folder.path().join("ca.pem").display().to_string();
    let why = ["mailbox", "why", "user1@example.com"];
    let to = |api: &str| asked(world.key(), &[&why[..], &["--api", api, "--ca", &ca]].concat());
    for (api, code, said) in [
        (format!("127.0.0.1:{plain}"), 2, format!("http://127.0.0.1:{plain}")),
        ("http://node-1.corp.net:8081".to_owned(), 2, "only over https".to_owned()),
        (format!("http://{nobody}"), 3, "is the node running".to_owned()),
        (format!("https://127.0.0.1:{plain}"), 3, format!("--api http://127.0.0.1:{plain}")),
        (format!("http://127.0.0.1:{tls}"), 3, format!("--api https://127.0.0.1:{tls}")),
        (format!("https://localhost:{tls}"), 1, "no node of postrider answers there".to_owned()),
        (node.api(), 1, "api.admin_listen".to_owned()),
    ] {
        let (ended, told) = to(&api);
        assert!(ended == Some(code) && told.contains(&said), "{api}: {ended:?}\n{told}");
        assert!(!told.contains(world.key()), "{told}");
    }
    let admin = node.admin();
    let (code, told) = asked(world.key(), &["mailbox", "why", "foo", "--api", &admin]);
    assert!(code == Some(2) && told.contains("name@domain"), "{told}");
    let (code, told) = asked(world.key(), &["mailbox", "why", "nobody@example.com", "--api", &admin]);
    assert!(code == Some(1) && told.contains("no such mailbox"), "{told}");
    let (code, told) = asked("hunter2", &["mailbox", "list", "--api", &admin]);
    assert!(code == Some(2) && told.contains("postrider key create") && !told.contains("hunter2"), "{told}");
    let unknown = postrider::api::key::generate(Role::Admin, TenantId("demo".into()), "", Timestamp(0)).1;
    let (code, told) = asked(unknown.expose(), &["mailbox", "list", "--api", &admin]);
    assert!(code == Some(1) && told.contains("postrider key list"), "{told}");
    let (code, told) = asked(world.key(), &["mailbox", "list", "--config", "/nowhere/postrider.toml"]);
    assert!(code == Some(2) && told.contains("--config") && told.contains("--api"), "{told}");
    // The address of the configuration: port 0 there is nobody's.
    let config = world.config.display().to_string();
    let (code, told) = asked(world.key(), &["mailbox", "list", "--config", &config]);
    assert!(code == Some(3) && told.contains("http://127.0.0.1:0/"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_written_to_a_new_file_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, node) = staffed(1).await;
    let file = world.folder.path().join("on-call.key");
    let out = file.display().to_string();
    let create = ["key", "create", "--role", "admin", "--out", &out];
    let (code, said, err) = typed(&world, &create);
    assert_eq!(code, Some(0), "{err}");
    let key = std::fs::read_to_string(&file).expect("it was written");
    assert!(said.contains(&out) && !said.contains(key.trim()), "{said}");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let listed =
        node::process::command(&["mailbox", "list", "--key-file", &out, "--api", &node.admin()]).env_remove("POSTRIDER_KEY").output();
    assert_eq!(listed.expect("it can be started").status.code(), Some(0));
    // What is there may be in use.
    let (code, _, err) = typed(&world, &create);
    assert!(code == Some(2) && err.contains("is there already"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_of_an_operator_fit_eighty_columns() {
    let (world, node) = staffed(2).await;
    world.simulators.world().deliver("user1@example.com", MailSpec::new("Ann", "Hello", "")).expect("it is there");
    node::until(node::SOON, async || world.simulators.ledger().snapshot().pushes > 0).await;
    let admin = node.admin();
    for arguments in [&["mailbox", "why", "user1@example.com"][..], &["mailbox", "list"], &["device", "list", "user1@example.com"]] {
        let output = node::process::command(&[arguments, &["--api", &admin]].concat()).env("POSTRIDER_KEY", world.key()).output();
        let table = String::from_utf8(output.expect("it can be started").stdout).expect("UTF-8");
        let rows: Vec<&str> = table
            .lines()
            .skip_while(|line| !line.contains("WHEN") && !line.starts_with("ADDRESS") && !line.starts_with("DEVICE"))
            .collect();
        assert!(rows.len() > 1 && rows.iter().all(|line| line.chars().count() <= 80), "{table}");
        for word in table.split(|c: char| !c.is_alphabetic()) {
            assert!(!["row", "rows", "verdict", "due", "journal"].contains(&word), "{word}\n{table}");
        }
    }
}
