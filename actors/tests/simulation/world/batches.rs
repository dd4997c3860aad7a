//! The batches of a node in the simulation: commits of sync states with their rows, verdicts and retries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postrider_actors::delivery::message::CommitAnswer;
use postrider_actors::ids::{DeliveryId, MailboxId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::delivery_store::{DeliveryStore, Mark, Retry};
use postrider_actors::ports::mailbox_store::{Commit, Committed, Inserted};

use super::World;
use super::broken::Broken;
use super::database::{PATIENCE, Way, at_once};
use super::history::What;
use super::steps::Step;

type CommitReply = Box<dyn FnOnce(&mut World, CommitAnswer)>;
type WriteReply = Box<dyn FnOnce(&mut World, Result<(), StoreError>)>;

/// What waits to be written, and whether a batch is under way.
#[derive(Default)]
pub struct Batches {
    commits: VecDeque<(Commit, CommitReply)>,
    committing: bool,
    writes: VecDeque<(Vec<Mark>, Vec<Retry>, WriteReply)>,
    writing: bool,
    /// Sync states that cover no push, waiting to be written.
    pub behind: BTreeMap<MailboxId, Commit>,
}

impl World {
    /// Commits in the next batch and says what came of it.
    pub fn commit(&mut self, node: usize, commit: Commit, reply: impl FnOnce(&mut World, CommitAnswer) + 'static) {
        let Some(process) = self.process(node) else { return };
        process.batches.behind.remove(&commit.mailbox);
        process.batches.commits.push_back((commit, Box::new(reply)));
        if !process.batches.committing {
            process.batches.committing = true;
            self.next_tick(node, move |world| world.commit_batch(node));
        }
    }

    /// Writes behind what waits; `then` follows when all of it was answered.
    pub fn flush(&mut self, node: usize, then: impl FnOnce(&mut World) + 'static) {
        let Some(process) = self.process(node) else { return };
        let waiting = std::mem::take(&mut process.batches.behind);
        let left = std::rc::Rc::new(std::cell::RefCell::new((waiting.len(), Some(then))));
        if waiting.is_empty()
            && let Some(then) = left.borrow_mut().1.take()
        {
            return then(self);
        }
        for commit in waiting.into_values() {
            let left = left.clone();
            self.commit(node, commit, move |world, _| {
                let then = {
                    let mut left = left.borrow_mut();
                    left.0 -= 1;
                    if left.0 == 0 { left.1.take() } else { None }
                };
                if let Some(then) = then {
                    then(world);
                }
            });
        }
    }

    fn next_tick(&mut self, node: usize, run: impl FnOnce(&mut World) + 'static) {
        let delay = self.dice.between(0, 200);
        let to = self.whom(node);
        self.enter(delay, to, run);
    }

    fn commit_batch(&mut self, node: usize) {
        let most = self.settings.commit_batch;
        let open = self.gate_open(node);
        let mono = self.mono(node).0;
        let Some(process) = self.process(node) else { return };
        let many = process.batches.commits.len().min(most);
        if many == 0 {
            process.batches.committing = false;
            return;
        }
        let (asks, replies): (Vec<Commit>, Vec<CommitReply>) = process.batches.commits.drain(..many).unzip();
        let order: Vec<MailboxId> = asks.iter().map(|commit| commit.mailbox).collect();
        // One entry per mailbox and batch, rather one with rows.
        let mut chosen: BTreeMap<MailboxId, (usize, Commit)> = BTreeMap::new();
        for (place, commit) in asks.into_iter().enumerate() {
            if chosen.get(&commit.mailbox).is_none_or(|(_, other)| other.rows.is_empty()) {
                chosen.insert(commit.mailbox, (place, commit));
            }
        }
        let (places, batch): (BTreeSet<usize>, Vec<Commit>) = chosen.into_values().unzip();
        if !open {
            replies.into_iter().for_each(|reply| reply(self, CommitAnswer::Gate));
            return self.next_tick(node, move |world| world.commit_batch(node));
        }
        self.note(Some(node), What::CommitBegan { mono, mailboxes: batch.len() });
        if self.broken == Some(Broken::SyncStateAhead) {
            return self.commit_ahead(node, batch, move |world, answer| {
                let answers = answers(&order, &places, answer);
                replies.into_iter().zip(answers).for_each(|(reply, answer)| reply(world, answer));
                world.commit_batch(node);
            });
        }
        self.step_begins(node, Step::Commit);
        let run = move |world: &mut World| world.commit_at_database(node, &batch);
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| {
            let answers = answers(&order, &places, answer);
            replies.into_iter().zip(answers).for_each(|(reply, answer)| reply(world, answer));
            world.commit_batch(node);
        });
    }

    /// At the database: one transaction, and what came of it.
    pub fn commit_at_database(&mut self, node: usize, batch: &[Commit]) -> Result<Committed, StoreError> {
        let committed = self.commit_transaction(batch)?;
        for commit in batch {
            let (mailbox, fence) = (commit.mailbox, commit.authority.fence);
            let what = if committed.matched.contains(&mailbox) {
                let rows = committed.inserted.iter().filter(|row| row.mailbox == mailbox).map(|row| (row.device, row.event)).collect();
                What::Committed { mailbox, fence, seq: commit.sync_seq.0 + 1, rows }
            } else {
                What::Refused { mailbox, fence }
            };
            self.note_as(Some(node), commit.authority.session, what);
        }
        for row in &committed.inserted {
            self.ledger.committed.insert((row.mailbox, row.device, row.event));
        }
        Ok(committed)
    }

    /// Marks and schedules rows in the next batch.
    pub fn write(
        &mut self,
        node: usize,
        marks: Vec<Mark>,
        retries: Vec<Retry>,
        reply: impl FnOnce(&mut World, Result<(), StoreError>) + 'static,
    ) {
        let Some(process) = self.process(node) else { return };
        process.batches.writes.push_back((marks, retries, Box::new(reply)));
        if !process.batches.writing {
            process.batches.writing = true;
            self.next_tick(node, move |world| world.write_batch(node));
        }
    }

    fn write_batch(&mut self, node: usize) {
        let Some(process) = self.process(node) else { return };
        if process.batches.writes.is_empty() {
            process.batches.writing = false;
            return;
        }
        let (mut marks, mut retries, mut replies) = (Vec::new(), Vec::new(), Vec::new());
        for (some_marks, some_retries, reply) in process.batches.writes.drain(..) {
            marks.extend(some_marks);
            retries.extend(some_retries);
            replies.push(reply);
        }
        let then = move |world: &mut World, answer: Result<(), StoreError>| {
            if answer.is_err() {
                world.note(Some(node), What::MarkFailed);
            }
            replies.into_iter().for_each(|reply| reply(world, answer.clone()));
            world.write_batch(node);
        };
        self.write_marks(node, marks, move |world, answer| world.write_retries(node, retries, answer, then));
    }

    fn write_marks(&mut self, node: usize, marks: Vec<Mark>, then: impl FnOnce(&mut World, Result<(), StoreError>) + 'static) {
        if marks.is_empty() {
            return then(self, Ok(()));
        }
        let run = move |world: &mut World| {
            let answer = at_once(world.db.store.mark(&marks));
            let ids: Vec<DeliveryId> = marks.iter().map(|mark| mark.id).collect();
            world.note(Some(node), What::Marked(ids));
            answer
        };
        self.step_begins(node, Step::Mark);
        self.ask(node, Way::Pool, PATIENCE, run, then);
    }

    fn write_retries(
        &mut self,
        node: usize,
        retries: Vec<Retry>,
        before: Result<(), StoreError>,
        then: impl FnOnce(&mut World, Result<(), StoreError>) + 'static,
    ) {
        if retries.is_empty() {
            return then(self, before);
        }
        self.step_begins(node, Step::Retry);
        let run = move |world: &mut World| at_once(world.db.store.schedule(&retries));
        self.ask(node, Way::Pool, PATIENCE, run, move |world, answer| then(world, before.and(answer)));
    }
}

fn answers(order: &[MailboxId], places: &BTreeSet<usize>, answer: Result<Committed, StoreError>) -> Vec<CommitAnswer> {
    let committed = match answer {
        Err(error) => return order.iter().map(|_| CommitAnswer::Failed(error.clone())).collect(),
        Ok(committed) => committed,
    };
    let mut inserted: BTreeMap<MailboxId, Vec<Inserted>> = BTreeMap::new();
    for row in committed.inserted {
        inserted.entry(row.mailbox).or_default().push(row);
    }
    let answer = |(place, mailbox): (usize, &MailboxId)| {
        if !places.contains(&place) || !committed.matched.contains(mailbox) {
            return CommitAnswer::NotMatched;
        }
        CommitAnswer::Matched(inserted.remove(mailbox).unwrap_or_default())
    };
    order.iter().enumerate().map(answer).collect()
}
