//! Two processes on one file: death, standstill, dropped calls, a tool beside a running service.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postrider_actors::ids::Session;
use postrider_actors::ports::registry_store::{ApiKey, Role};
use postrider_actors::ports::{ClusterStore as _, MailboxStore as _, RegistryStore as _};
use postrider_actors::testing::conformance::world::{LONG, SOON, START, World, authority, beat, join, node, tenant};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

use crate::fixture::{Sqlite, open};

const FILE: &str = "POSTRIDER_TEST_HOLDER";

/// Another process that owns the file; killed when the test ends.
struct Holder {
    child: Child,
    lines: Lines<BufReader<tokio::fs::File>>,
}

impl Holder {
    async fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::holder", "--nocapture"])
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out: std::os::fd::OwnedFd = child.stdout.take().unwrap().into();
        let lines = BufReader::new(tokio::fs::File::from_std(out.into())).lines();
        let mut holder = Self { child, lines };
        holder.says("joined").await;
        holder
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets it beat until it is put out.
    fn go(&mut self) {
        use std::io::Write as _;
        self.child.stdin.as_mut().expect("it is piped").write_all(b"go\n").unwrap();
    }

    /// Waits for a line that begins so.
    async fn says(&mut self, begin: &str) -> String {
        let find = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.starts_with(begin) {
                    return line;
                }
            }
            panic!("it ended without saying {begin}");
        };
        tokio::time::timeout(SOON, find).await.expect("it says so soon")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

/// The other process, started by the other tests with a file to hold (without one it has nothing to do): owns the file, beats, and tries to write once it was put out.
#[tokio::test]
async fn holder() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&path)).await;
    let world = World::on(store).await;
    println!("\njoined");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    while world.store.beat(&node(), Session(1), 1).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let committed = world.commit(0, vec![world.row(1)]).await;
    println!("refused {} {}", committed.matched.len(), committed.inserted.len());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_is_succeeded_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    let holder = Holder::start(&path).await;
    holder.signal(Signal::KILL);
    let store = open(&path).await;
    tokio::time::timeout(SOON, store.join(&join(2, LONG))).await.expect("a free lock needs no patience").unwrap();
    beat(&store, 2).await;
}

#[tokio::test]
async fn a_live_process_hands_over_and_its_writes_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    let mut holder = Holder::start(&path).await;
    holder.go();
    let store = open(&path).await;
    tokio::time::timeout(SOON, store.join(&join(2, LONG))).await.expect("it lets go when its heartbeat ends").unwrap();
    adopt_all(&store).await;
    holder.says("refused").await;
    beat(&store, 2).await;
}

#[tokio::test]
async fn a_stopped_process_is_succeeded_after_patience_and_its_writes_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.db");
    let mut holder = Holder::start(&path).await;
    // Stopped while no transaction of its is open: within one it would keep SQLite's own lock, and nobody could write until it goes on or dies.
    holder.signal(Signal::STOP);
    let store = open(&path).await;
    let patience = Duration::from_millis(500);
    tokio::time::timeout(SOON, store.join(&join(2, patience))).await.expect("patience ends").unwrap();
    adopt_all(&store).await;
    beat(&store, 2).await;
    holder.signal(Signal::CONT);
    holder.go();
    assert_eq!(holder.says("refused").await, "refused 0 0");
    beat(&store, 2).await;
}

async fn adopt_all(store: &postrider::store::SqliteStore) {
    for seen in beat(store, 2).await.shards {
        let authority = authority(store, 2, seen.shard).await;
        store.shard_adopt(seen.shard, authority).await.unwrap().expect("the shard is ours");
    }
}

#[tokio::test]
async fn a_tool_works_beside_a_running_service() {
    let folders = Sqlite::default();
    let world = World::new(&folders).await;
    let tool = open(world.store.path()).await;
    let key = ApiKey { id: "k".into(), hash: [1; 32], role: Role::Admin, tenant: tenant(), note: String::new(), created_at: START };
    tool.key_create(&key).await.unwrap();
    tool.close().await;
    assert_eq!(world.store.key_find("k").await.unwrap(), Some(key));
    beat(&world.store, 1).await;
    assert_eq!(world.commit(0, vec![]).await.matched, [world.mailbox]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_is_done_or_not_and_leaves_no_transaction_open() {
    let folders = Sqlite::default();
    let world = World::new(&folders).await;
    let mut done = 0;
    for n in 0..300_i64 {
        let seq = world.seq().await;
        let batch = [world.entry(seq, vec![world.row(n)])];
        let limit = Duration::from_micros(u64::try_from(n % 100).unwrap() * 20);
        // Dropped wherever it stands when the time is up.
        let dropped = tokio::time::timeout(limit, world.store.sync_state_commit(&batch)).await;
        // The next call waits for its turn behind whatever the dropped one left under way.
        beat(&world.store, 1).await;
        let after = world.seq().await;
        assert!(after == seq || after == seq + 1);
        assert!(dropped.is_err() || after == seq + 1, "what was answered is done");
        let rows = world.pending().await.len();
        done += i64::from(after > seq);
        assert_eq!(rows, usize::try_from(done).unwrap(), "state and rows move together");
    }
    let other = open(world.store.path()).await;
    tokio::time::timeout(SOON, other.sending_allow(false)).await.unwrap().unwrap();
}
