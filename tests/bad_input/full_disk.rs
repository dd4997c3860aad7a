//! A full disk under a running node: it says so, lives on, and announces everything once there is room again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use postrider_loadtest::simulators::Options;
use postrider_loadtest::world::MailSpec;

use crate::node::process::Process;
use crate::node::{World, assert_clean};

const USERS: usize = 20;

/// A small disk of its own where one can be mounted; elsewhere the process may make its files no larger than they are.
enum Disk {
    Mounted(PathBuf),
    Limited,
}

impl Disk {
    fn under(folder: &Path) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m,mode=700", "postrider-test"]).arg(folder).output();
        match mounted {
            Ok(output) if output.status.success() => Self::Mounted(folder.to_owned()),
            _ => Self::Limited,
        }
    }

    fn fill(&self, node: &Process, database: &Path) {
        match self {
            Self::Mounted(folder) => {
                let mut filler = std::fs::File::create(folder.join("filler")).expect("there is room");
                while filler.write_all(&[1; 4096]).is_ok() {}
            }
            Self::Limited => node.limit_files(Some(std::fs::metadata(database.with_extension("db-wal")).expect("it is there").len())),
        }
    }

    fn clear(&self, node: &Process) {
        match self {
            Self::Mounted(folder) => std::fs::remove_file(folder.join("filler")).expect("it is there"),
            Self::Limited => node.limit_files(None),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            // Lazily: files may still be open when a test fails.
            let _ = Command::new("umount").arg("-l").arg(folder).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::under(folder.path());
    let world = World::place(folder, Options::default(), "").await;
    let mut node = world.node().await;
    let fleet = world.staff(&mut node, USERS).await;
    disk.fill(&node, &world.database());
    let deliver = || {
        for user in &fleet.users {
            world.simulators.world().deliver(user, MailSpec::new("Ann Baker", "Lunch", "At noon?")).expect("the mailbox is there");
        }
    };
    deliver();
    let says = match disk {
        Disk::Mounted(_) => "the disk is full",
        Disk::Limited => "database",
    };
    node.until(says, async |node| node.log().contains(says)).await;
    deliver();
    disk.clear(&node);
    let verdict = world.verdict().await;
    assert_clean(&verdict, &[&node]);
    assert_eq!(verdict.announced, 2 * USERS as u64, "{verdict}\n{}", node.log());
    node.ready().await;
    drop(node);
}
