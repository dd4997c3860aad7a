//! A thread that owns a connection and carries out whole calls, so that a call costs one hop and not one for each of its statements.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

/// What the thread does with its connection, which is there once it was opened and until it is no good any more.
pub(super) type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// A thread at a queue; it is started when it is needed. Its connection is closed when this is dropped.
pub(super) struct Lane {
    shared: Arc<Shared>,
    name: &'static str,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something for the thread came, or the thread ended.
    come: Condvar,
}

/// At most as long as there are calls under way: one that was given up is skipped.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    started: bool,
    /// It waits, and nobody called it since.
    waits: bool,
    closed: bool,
}

impl Lane {
    /// A lane whose thread has this name.
    pub(super) fn new(name: &'static str) -> Self {
        Self { shared: Arc::default(), name }
    }

    /// Hands a job over, first come, first served. An error after [`Lane::close`], or when the thread cannot be started.
    pub(super) fn hand(&self, job: Job) -> std::io::Result<()> {
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        queue.jobs.push_back(job);
        if !queue.started {
            let shared = Arc::clone(&self.shared);
            if let Err(error) = std::thread::Builder::new().name(self.name.into()).spawn(move || shared.work()) {
                queue.jobs.clear();
                return Err(error);
            }
            queue.started = true;
        } else if std::mem::take(&mut queue.waits) {
            drop(queue);
            self.shared.come.notify_all();
        }
        Ok(())
    }

    /// Lets the thread finish what it has and close its connection; waits for it.
    pub(super) fn close(&self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        self.shared.come.notify_all();
        while queue.started {
            queue = self.shared.come.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.come.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // It is whole after any of its operations.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut connection = None;
        while let Some(job) = self.next() {
            // A panic costs what was under way and the connection; whoever waits for an answer hears that there is none.
            if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
                connection = None;
            }
        }
        drop(connection);
        self.queue().started = false;
        self.come.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.waits = false;
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.waits = true;
            queue = self.come.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
