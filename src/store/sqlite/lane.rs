//! Threads that own a connection each and carry out whole calls, so that a call costs one hop and not one for each of its statements.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

/// What a thread does with its connection, which is there once it was opened and until it is no good any more.
pub(super) type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// A few threads at one queue; each is started when it is needed. Their connections are closed when this is dropped.
pub(super) struct Lane {
    shared: Arc<Shared>,
    most: usize,
    name: &'static str,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    come: Condvar,
}

/// At most as long as there are calls under way: one that was given up is skipped.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job, those included that were called and did not wake yet.
    idle: usize,
    called: usize,
    closed: bool,
}

/// How many jobs may wait for a thread that is at work before another one is called: to wake one costs more than most jobs.
const BACKLOG: usize = 4;

impl Queue {
    /// Whether somebody is at work, or called, who will come to the last job soon enough.
    fn is_served(&self) -> bool {
        self.threads > self.idle - self.called && self.jobs.len() <= BACKLOG
    }
}

impl Lane {
    /// A lane of at most so many threads.
    pub(super) fn new(name: &'static str, most: usize) -> Self {
        Self { shared: Arc::default(), most, name }
    }

    /// Hands a job over, first come, first served; after [`Lane::close`] it is dropped. An error when not even one thread can be started.
    pub(super) fn hand(&self, job: Job) -> std::io::Result<()> {
        let mut queue = self.shared.queue();
        if queue.closed {
            return Ok(());
        }
        queue.jobs.push_back(job);
        if queue.is_served() {
            return Ok(());
        }
        if queue.idle > queue.called {
            queue.called += 1;
            drop(queue);
            self.shared.come.notify_one();
        } else if queue.threads < self.most {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name(self.name.into()).spawn(move || shared.work()) {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    queue.jobs.clear();
                    return Err(error);
                }
                // The others come to it.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Lets the threads finish what they have and close their connections; waits for them.
    pub(super) fn close(&self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        self.shared.come.notify_all();
        while queue.threads > 0 {
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
            // A panic costs one call and its connection; whoever waits for the answer hears that there is none.
            if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
                connection = None;
            }
        }
        drop(connection);
        self.queue().threads -= 1;
        self.come.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.come.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
            // One that wakes uncalled only makes that another one is called too.
            queue.called = queue.called.saturating_sub(1);
        }
    }
}
