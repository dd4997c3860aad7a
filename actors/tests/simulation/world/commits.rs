//! The transaction of a commit as the store carries it out, or as a broken store would.

use postrider_actors::ids::{Fence, SyncSeq};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::mailbox_store::{Commit, Committed, MailboxStore};

use super::World;
use super::broken::Broken;
use super::database::{PATIENCE, Way, at_once};

/// An epoch without its timeline.
fn version(fence: Fence) -> i64 {
    fence.0 & ((1 << 40) - 1)
}

impl World {
    /// Carries out a batch.
    pub fn commit_transaction(&mut self, batch: &[Commit]) -> Result<Committed, StoreError> {
        let batch: Vec<Commit> = batch.iter().map(|commit| self.as_compared(commit)).collect();
        at_once(self.db.store.sync_state_commit(&batch))
    }

    /// A broken order: the states are committed first, the rows that they cover a moment later.
    pub fn commit_ahead(
        &mut self,
        node: usize,
        batch: Vec<Commit>,
        then: impl FnOnce(&mut World, Result<Committed, StoreError>) + 'static,
    ) {
        let states: Vec<Commit> = batch.iter().map(|commit| Commit { rows: Vec::new(), ..commit.clone() }).collect();
        let run = move |world: &mut World| world.commit_at_database(node, &states);
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| {
            let Ok(committed) = answer else { return then(world, answer) };
            let matched = batch.into_iter().filter(|commit| committed.matched.contains(&commit.mailbox));
            let rows: Vec<Commit> = matched.map(|commit| Commit { sync_seq: SyncSeq(commit.sync_seq.0 + 1), ..commit }).collect();
            let run = move |world: &mut World| world.commit_at_database(node, &rows);
            world.ask(node, Way::Pool, PATIENCE, run, then);
        });
    }

    /// The entry as the store compares it: a broken one leaves out what it should compare.
    fn as_compared(&self, commit: &Commit) -> Commit {
        let mut commit = commit.clone();
        let row = self.db.store.read(|model| model.mailboxes.get(&commit.mailbox).map(|row| (row.authority, row.sync_seq)));
        let Some((Some(authority), seq)) = row else { return commit };
        match self.broken {
            Some(Broken::NoFence) => commit.authority = authority,
            Some(Broken::LeaseOnly) => (commit.authority, commit.sync_seq) = (authority, SyncSeq(seq.0)),
            Some(Broken::NoTimelineAndSession) if version(authority.fence) == version(commit.authority.fence) => {
                commit.authority = authority;
            }
            _ => {}
        }
        commit
    }
}
