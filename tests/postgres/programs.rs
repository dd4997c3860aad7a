//! The programs of PostgreSQL as they are installed here, the user they run as, and a data directory to copy from.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::FlockOperation;

const INSTALL: &str =
    "install PostgreSQL's server (apt-get install postgresql, dnf install postgresql-server or apk add postgresql; `tests/run` does it)";
/// Grows when `TEMPLATE_SETTINGS` or how the template is made changes.
const TEMPLATE_VERSION: u32 = 1;
/// Whoever is called so needs a password; everybody else who reaches the loopback address is let in.
pub const LOCKED_ROLE: &str = "locked";
/// Of [`LOCKED_ROLE`].
pub const PASSWORD: &str = "correct horse";
const ACCESS: &str =
    "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n";
const TEMPLATE_SETTINGS: &str = "max_connections = 200\nshared_buffers = 32MB\nmin_wal_size = 8MB\nmax_wal_size = 256MB\nwal_level = replica\njit = off\nlog_min_messages = warning\n";

/// Where the programs are and whom they run as.
pub struct Programs {
    folder: PathBuf,
    /// User and group, where the tests run as root: the server refuses to.
    user: Option<(u32, u32)>,
}

impl Programs {
    /// Those of this machine.
    ///
    /// # Panics
    /// When there are none: tests that need a database fail without one, and are never passed over.
    pub fn here() -> &'static Self {
        static HERE: OnceLock<Programs> = OnceLock::new();
        HERE.get_or_init(|| Self { folder: find(), user: rustix::process::geteuid().is_root().then(unprivileged) })
    }

    /// One of them, as the user that may run it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env("LC_ALL", "C").current_dir("/");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Runs one to its end.
    ///
    /// # Panics
    /// With what it says when it fails.
    pub fn run(&self, program: &str, arguments: &[&dyn AsRef<OsStr>]) {
        let output = self.command(program).args(arguments.iter().map(AsRef::as_ref)).output().expect("the program can be started");
        assert!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Gives a folder, with all in it, to the user that the programs run as.
    pub fn give(&self, folder: &Path) {
        let Some((user, group)) = self.user else { return };
        std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("root may");
        for entry in std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("readable")) {
            if entry.file_type().expect("readable").is_dir() {
                self.give(&entry.path());
            } else {
                std::os::unix::fs::chown(entry.path(), Some(user), Some(group)).expect("root may");
            }
        }
    }

    /// A fresh data directory: copied from one that is made once for each version of PostgreSQL and kept beside what is built.
    pub fn data_directory(&self, at: &Path) {
        let version = self.command("postgres").arg("--version").stdout(Stdio::piped()).output().expect("it can be started").stdout;
        let version: String = String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let template = kept.join(format!("data-{version}-{TEMPLATE_VERSION}"));
        let lock = std::fs::File::create(kept.join("data.lock")).expect("the target folder can be written");
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("a file can be locked");
        if !template.exists() {
            let making = at.with_extension("making");
            self.initialize(&making);
            copy(&making, &template.with_extension("making"));
            std::fs::rename(template.with_extension("making"), &template).expect("the same folder");
            std::fs::remove_dir_all(&making).expect("it is ours");
        }
        drop(lock);
        copy(&template, at);
        self.give(at);
    }

    fn initialize(&self, at: &Path) {
        let arguments: [&dyn AsRef<OsStr>; 9] =
            [&"-D", &at, &"-U", &"postgres", &"--auth=trust", &"--no-sync", &"--encoding=UTF8", &"--locale=C", &"--wal-segsize=1"];
        self.run("initdb", &arguments);
        std::fs::write(at.join("pg_hba.conf"), ACCESS).expect("it is there");
        let path = at.join("postgresql.conf");
        let settings = std::fs::read_to_string(&path).expect("initdb made it");
        std::fs::write(path, settings + TEMPLATE_SETTINGS).expect("it is there");
    }
}

/// Copies a folder, modes included, links not followed.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).expect("what a dead process left half done can be removed");
    }
    let done = Command::new("cp").arg("-R").arg("-p").arg(from).arg(to).output().expect("cp is there");
    assert!(done.status.success(), "cp: {}", String::from_utf8_lossy(&done.stderr));
}

fn find() -> PathBuf {
    let complete = |folder: &PathBuf| ["initdb", "postgres", "pg_basebackup"].iter().all(|program| folder.join(program).is_file());
    let told = Command::new("pg_config").arg("--bindir").output().ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut usual: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr/libexec", "/usr", "/opt/homebrew/opt", "/usr/local/opt"]
        .iter()
        .filter_map(|parent| std::fs::read_dir(parent).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .flat_map(|folder| [folder.join("bin"), folder])
        .collect();
    usual.sort();
    usual.reverse();
    let mut places = told.into_iter().chain(std::env::split_paths(&path)).chain(usual);
    // A link would lead the programs to look for their parts in the wrong place.
    let found = places.find(complete).and_then(|folder| folder.join("postgres").canonicalize().ok()?.parent().map(Path::to_owned));
    found.unwrap_or_else(|| panic!("this test needs a PostgreSQL of its own and finds no initdb, postgres and pg_basebackup: {INSTALL}"))
}

fn unprivileged() -> (u32, u32) {
    let ask = |what: &str, name: &str| {
        let output = Command::new("id").args([what, name]).output().expect("id is there");
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    let found = ["postgres", "nobody"].iter().find_map(|name| Some((ask("-u", name)?, ask("-g", name)?)));
    found.expect("PostgreSQL refuses to run as root, and there is no user `postgres` to run it as")
}
