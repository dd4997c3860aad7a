//! The README's steps by hand, as it prints them, on free ports: what it promises is what a reader gets.

mod node;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use node::process::{Process, command};
use node::{SOON, until};
use postrider_loadtest::control;
use postrider_loadtest::credentials::Credentials;
use postrider_loadtest::simulators::{Options, Ports, Simulators};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The folder of the repository as a reader has it after the README's first block, with other ports.
struct Desk {
    folder: TempDir,
    simulators: Arc<Simulators>,
    control: String,
    stop: CancellationToken,
}

impl Desk {
    /// What `postrider-loadtest serve --dir dev` does; it takes its time: its files are there when it was asked in vain at least twice.
    async fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = tempfile::tempdir().expect("a folder");
        let credentials = Credentials::load_or_create(made.path()).expect("the folder can be written");
        let options = Options { take_strangers: true, ..Options::default() };
        let simulators = Arc::new(Simulators::start_with(options, credentials).await.expect("the simulators start"));
        for number in 1..=10 {
            simulators.world().add_mailbox(&format!("user{number}@example.com"));
        }
        let asked = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let control = asked.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        tokio::spawn(slowly(asked, folder.path().join("dev"), Arc::clone(&simulators), stop.clone()));
        let desk = Self { folder, simulators, control: format!("http://{control}"), stop };
        desk.write_config();
        desk
    }

    /// `config/development.toml` with the ports of these simulators.
    fn write_config(&self) {
        let (at, ports) = (self.simulators.endpoints(), Ports::DEVELOPMENT);
        let mut text = std::fs::read_to_string(root().join("config/development.toml")).expect("it is there");
        let mut port = |from: u16, to: &str| {
            let from = format!("https://localhost:{from}");
            assert!(text.contains(&from), "no {from} in\n{text}");
            text = text.replace(&from, to);
        };
        port(ports.exchange, &at.exchange);
        port(ports.identity, &at.issuer);
        port(ports.apns, &at.apns);
        port(ports.apns_sandbox, &at.apns_sandbox);
        port(ports.fcm, &at.fcm);
        for address in ["127.0.0.1:8080", "127.0.0.1:8081"] {
            text = text.replace(address, "127.0.0.1:0");
        }
        std::fs::create_dir(self.folder.path().join("config")).expect("the folder can be written");
        std::fs::write(self.folder.path().join("config/development.toml"), text).expect("the folder can be written");
    }

    /// Runs lines of the README in the folder.
    fn shell(&self, lines: &str, node: Option<&Process>) -> Output {
        let mut lines = lines.replace("target/release/postrider ", "\"$POSTRIDER\" ").replace("http://127.0.0.1:9447", &self.control);
        let mut shell = Command::new("sh");
        if let Some(node) = node {
            lines = lines.replace("http://127.0.0.1:8080", &node.api()).replace("http://127.0.0.1:8081", &node.admin());
            // The configuration says port 0 here, and a reader's says the port.
            shell.env("POSTRIDER_API", node.admin());
        }
        shell.args(["-ec", &lines]).current_dir(self.folder.path());
        shell.env("POSTRIDER", env!("CARGO_BIN_EXE_postrider")).env_remove("POSTRIDER_KEY").env_remove("POSTRIDER_CONFIG");
        let output = shell.output().expect("there is a shell");
        assert!(output.status.success(), "{lines}\n{}", shown(&output));
        output
    }

    /// A command that the README has no line for.
    fn run(&self, arguments: &[&str], node: &Process) -> Output {
        command(arguments).current_dir(self.folder.path()).env("POSTRIDER_API", node.admin()).output().expect("it starts")
    }
}

/// Becomes ready after two callers found nobody.
async fn slowly(asked: tokio::net::TcpListener, dev: std::path::PathBuf, simulators: Arc<Simulators>, stop: CancellationToken) {
    let control = asked.local_addr().expect("it is bound");
    for _ in 0..2 {
        drop(asked.accept().await);
    }
    drop(asked);
    std::fs::create_dir(&dev).expect("the folder can be written");
    simulators.write_development_files(&dev).expect("the folder can be written");
    control::serve(control, simulators, stop).await.expect("the port is still free");
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shown(output: &Output) -> String {
    format!("{}\n{}\n{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The blocks of commands in the README's part "By hand".
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    let (_, part) = readme.split_once("\n## By hand").expect("the README has such a part");
    let part = part.split("\n## ").next().unwrap_or_default();
    part.split("```").skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_of_the_readme_bring_a_mail_to_a_phone() {
    let [start, register, deliver] = <[String; 3]>::try_from(blocks()).expect("three blocks");
    let desk = Desk::set().await;
    let serve = line(&start, "postrider serve");
    assert_eq!(serve.trim_end_matches(" &"), "target/release/postrider serve --config config/development.toml");
    let (before, after) = start.split_once(&serve).expect("it is in the block");
    let simulators = line(before, "postrider-loadtest serve");
    assert_eq!(simulators, "target/release/postrider-loadtest serve --dir dev &");
    // Typed as it stands, while the simulators are not there yet.
    let (_, before) = before.split_once(&simulators).expect("it is in the block");
    let typed = tokio::task::block_in_place(|| desk.shell(before, None));
    assert!(shown(&typed).contains("no mistakes"), "{}", shown(&typed));
    let mut node = Process::start(command(&["serve", "--config", "config/development.toml"]).current_dir(desk.folder.path()));
    node.listens().await;
    desk.shell(after, Some(&node));

    desk.shell(&register, Some(&node));
    let key = std::fs::read_to_string(desk.folder.path().join("dev/admin.key")).expect("the block made it").trim().to_owned();
    node.until("a live mailbox", async |node| node.live_mailboxes(&key).await == Some(1)).await;
    desk.shell(&deliver, Some(&node));
    let pushed = until(SOON, async || desk.simulators.ledger().snapshot().pushes == 1).await;
    let verdict = desk.simulators.ledger().verdict(SOON).await;
    assert!(pushed && verdict.is_clean() && verdict.announced == 1, "{verdict}\n{}", node.log());
    let sample = desk.simulators.ledger().snapshot().sample.unwrap_or_default();
    assert!(sample.contains("Hello"), "{sample}");

    let table = shown(&desk.shell(&line(&deliver, "ledger/table"), Some(&node)));
    assert!(table.contains("hint to push, at once"), "{table}");
    let told = shown(&desk.shell(&line(&deliver, "mailbox why"), Some(&node)));
    assert!(told.contains("live: the server tells of new mail at once") && told.contains("sent: the provider took it"), "{told}");
    looks(&desk, &node).await;
    revoked(&desk, &mut node, &key).await;
}

/// The one line that mentions it.
fn line(block: &str, word: &str) -> String {
    block.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no {word} in\n{block}")).to_owned()
}

/// Tables for people, JSON for programs.
async fn looks(desk: &Desk, node: &Process) {
    let json = |arguments: &[&str]| -> Value {
        let output = desk.run(&[arguments, &["--key-file", "dev/admin.key", "--json"]].concat(), node);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)))
    };
    let why = json(&["mailbox", "why", "user1@example.com"]);
    let sources: Vec<_> = why["events"].as_array().expect("a list").iter().map(|event| event["source"].clone()).collect();
    assert!(["mailbox", "push", "outcome"].iter().all(|source| sources.contains(&(*source).into())), "{why:#}");
    assert_eq!(json(&["mailbox", "list"])["mailboxes"][0]["smtp"], "user1@example.com");
    assert_eq!(json(&["device", "list", "user1@example.com"])["devices"][0]["device"], "phone-1");
    for (arguments, word) in [(&["mailbox", "list"][..], "user1@example.com"), (&["device", "list", "user1@example.com"], "phone-1")] {
        let table = shown(&desk.run(&[arguments, &["--key-file", "dev/admin.key"]].concat(), node));
        assert!(table.contains(word) && table.lines().count() > 2, "{table}");
    }
}

/// A revoked key is refused, and the message says what to do.
async fn revoked(desk: &Desk, node: &mut Process, key: &str) {
    let config = ["--config", "config/development.toml"];
    let keys = desk.run(&[&["key", "list", "--json"][..], &config].concat(), node);
    let keys: Value = serde_json::from_slice(&keys.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&keys)));
    let id = keys["keys"][0]["id"].as_str().expect("it has one").to_owned();
    assert!(!keys.to_string().contains(key), "a list shows no secret");
    let gone = desk.run(&[&["key", "revoke", &id][..], &config].concat(), node);
    assert!(gone.status.success(), "{}", shown(&gone));
    let list = || desk.run(&["mailbox", "list", "--key-file", "dev/admin.key"], node);
    // A node remembers a key for a few seconds.
    assert!(until(SOON, async || list().status.code() == Some(1)).await, "{}", shown(&list()));
    assert!(shown(&list()).contains("key list"), "{}", shown(&list()));
}

/// Where curl is missing, a reader's lines cannot be run as they are: then this says so at once.
#[test]
fn the_lines_of_the_readme_need_nothing_but_curl_and_a_shell() {
    let words: Vec<String> =
        blocks().iter().flat_map(|block| block.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned())).collect();
    let known = |word: &String| word.is_empty() || word == "curl" || word == "cargo" || word.starts_with("target/release/");
    assert!(words.iter().all(known), "{words:?}");
}
