//! One server: started, stopped, killed, frozen, copied into a standby, promoted.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection};

use super::folder::Folder;
use super::programs::{LOCKED_ROLE, PASSWORD, Programs};

/// More than any step of a server takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// A server with its data, on a port of its own that it keeps when it is started again.
pub struct Server {
    folder: Arc<Folder>,
    data: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
}

/// A database of a server.
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    pub port: u16,
    /// `postgres://postgres@127.0.0.1:<port>/<name>`
    pub url: String,
}

impl Server {
    /// The one that all tests of this process share: each makes a database of its own there and leaves the server alone.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    /// One of the test's own, which it may stop, kill and promote. Runs.
    pub fn new() -> Self {
        let folder = Arc::new(Folder::new());
        let data = folder.path().join("primary");
        Programs::here().data_directory(&data);
        Self::begin(folder, data)
    }

    /// A standby that follows this server (asynchronously, unless the server is told otherwise), in its folder. Runs.
    pub fn standby(&self, name: &str) -> Self {
        let data = self.folder.path().join(name);
        let (port, data_text) = (self.port.to_string(), data.to_string_lossy().into_owned());
        let arguments =
            ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-D", &data_text, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        let output = Programs::here().command("pg_basebackup").args(arguments).output().expect("it can be started");
        assert!(output.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr));
        Self::begin(Arc::clone(&self.folder), data)
    }

    fn begin(folder: Arc<Folder>, data: PathBuf) -> Self {
        loop {
            let server = Self { folder: Arc::clone(&folder), data: data.clone(), port: free_port(), process: Mutex::new(None) };
            match server.try_start() {
                Ok(()) => return server,
                Err(log) => assert!(log.contains("could not bind"), "the server does not start:\n{log}"),
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a database of it is found.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A fresh, empty database.
    pub async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}")).await;
        Database { port: self.port, url: self.url(&name), name }
    }

    /// A connection of the test's own.
    pub async fn connect(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port).username("postgres").database(database);
        options.ssl_mode(PgSslMode::Disable).connect().await.expect("the server lets the tests in")
    }

    /// Runs statements that return nothing.
    pub async fn sql(&self, database: &str, text: &str) {
        let mut connection = self.connect(database).await;
        connection.execute(AssertSqlSafe(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        sqlx::Connection::close(connection).await.expect("it is open");
    }

    /// Makes the role that needs a password.
    pub async fn lock_role(&self) {
        self.sql("postgres", &format!("CREATE ROLE {LOCKED_ROLE} LOGIN PASSWORD '{PASSWORD}'")).await;
    }

    /// From here on it can encrypt, as the one that this certificate (PEM) names.
    pub async fn encrypt(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data.join(name);
            std::fs::write(&path, text).expect("the folder is ours");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
        }
        Programs::here().give(&self.data);
        self.sql("postgres", "ALTER SYSTEM SET ssl = on").await;
        self.sql("postgres", "SELECT pg_reload_conf()").await;
    }

    /// Starts it again on its port, and returns when it answers.
    pub fn start(&self) {
        // Its port may be kept for a moment by connections of its former life.
        let begun = Instant::now();
        while let Err(log) = self.try_start() {
            assert!(log.contains("could not bind") && begun.elapsed() < SOON, "the server does not start:\n{log}");
        }
    }

    /// Stops it as a service manager does: connections are cut, the data is written out. Standbys have got everything.
    pub fn stop(&self) {
        self.end(Signal::INT);
    }

    /// `kill -9`; what it began ends as well.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal to the main process, such as STOP: nobody is let in until CONT, connections go on.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.process() {
            kill_process(Pid::from_child(process), signal).expect("it is ours");
        }
    }

    /// Makes a standby the primary of a new timeline, and returns when it is.
    pub fn promote(&self) {
        Programs::here().run("pg_ctl", &[&"promote", &"-w", &"-D", &self.data]);
    }

    /// What it said since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_start(&self) -> Result<(), String> {
        let mut place = self.process();
        assert!(place.is_none(), "it runs already");
        let log = std::fs::File::create(self.log_path()).expect("the folder is ours");
        let mut command = Programs::here().command("postgres");
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]);
        // A group of its own: what is sent to the tests' group is not for it.
        let mut process = command.stderr(Stdio::from(log)).process_group(0).spawn().expect("the server can be started");
        let begun = Instant::now();
        while !self.answers(process.id()) {
            if process.try_wait().expect("it is ours").is_some() {
                return Err(self.log());
            }
            assert!(begun.elapsed() < SOON, "the server does not get ready:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
        *place = Some(process);
        Ok(())
    }

    /// Whether it says in its file that it lets connections in.
    fn answers(&self, process: u32) -> bool {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.first() == Some(&&*process.to_string()) && matches!(lines.get(7), Some(&("ready" | "standby")))
    }

    fn end(&self, signal: Signal) {
        let Some(mut process) = self.process().take() else { return };
        let pid = Pid::from_child(&process);
        let children = if signal == Signal::KILL { children(pid) } else { Vec::new() };
        kill_process(pid, signal).expect("it is ours");
        kill_process(pid, Signal::CONT).expect("it is ours");
        process.wait().expect("it is ours");
        // They end by themselves as soon as they notice, and until then answer.
        for child in children {
            let _ = kill_process(child, Signal::KILL);
            while is_running(child) {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Kept by none of its data: the folder goes.
        self.end(Signal::QUIT);
    }
}

/// The processes that a process began.
fn children(parent: Pid) -> Vec<Pid> {
    let pid = parent.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Whether a process is there and did not end.
fn is_running(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|fields| !fields.is_empty() && !fields.starts_with(['Z', 'X']))
}

/// A port nobody listens on, below those that the system gives to outgoing connections: it is to be free again after a stop.
fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let begin = (std::process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16;
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
