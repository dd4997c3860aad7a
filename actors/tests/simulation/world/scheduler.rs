//! What happens next: one queue of events in virtual time, in microseconds, equal times in the order in which they were entered.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::World;

/// True time since the beginning of the run, in microseconds. Nobody in the run can read it.
pub type Micros = i64;
/// A millisecond.
pub const MILLI: Micros = 1_000;
/// A second.
pub const SECOND: Micros = 1_000_000;

/// What an event does.
pub type Action = Box<dyn FnOnce(&mut World)>;

/// To whom an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To the world: the network, the database, the mail server, people.
    World,
    /// To a process on that machine, in that life of it: waits while it is stopped, and never happens when it is dead.
    Process(usize, u32),
}

struct Item {
    at: Micros,
    number: u64,
    to: To,
    run: Action,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// The queue.
#[derive(Default)]
pub struct Scheduler {
    items: BinaryHeap<Item>,
    number: u64,
}

impl Scheduler {
    /// Enters an event.
    pub fn enter(&mut self, at: Micros, to: To, run: Action) {
        self.number += 1;
        self.items.push(Item { at, number: self.number, to, run });
    }

    /// The next event, if it is not later than `until`.
    pub fn next(&mut self, until: Micros) -> Option<(Micros, To, Action)> {
        if self.items.peek()?.at > until {
            return None;
        }
        self.items.pop().map(|item| (item.at, item.to, item.run))
    }

    /// How many events were entered.
    pub fn entered(&self) -> u64 {
        self.number
    }
}
