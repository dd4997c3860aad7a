//! Room for so many at a time, given to those who wait in their order, given back when dropped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::World;
use super::machine::Uid;
use super::scheduler::Action;

/// So many places.
#[derive(Clone)]
pub struct Rooms(Rc<RefCell<Inner>>);

type Then = Box<dyn FnOnce(&mut World, Room)>;

struct Inner {
    free: usize,
    waiting: VecDeque<(Uid, Then)>,
}

/// One place; given back when dropped.
pub struct Room(Rc<RefCell<Inner>>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.borrow_mut().free += 1;
    }
}

impl Rooms {
    /// So many places.
    pub fn new(free: usize) -> Self {
        Self(Rc::new(RefCell::new(Inner { free, waiting: VecDeque::new() })))
    }

    /// Takes a place if there is one that nobody waits for.
    pub fn try_take(&self) -> Option<Room> {
        let mut inner = self.0.borrow_mut();
        if inner.free == 0 || !inner.waiting.is_empty() {
            return None;
        }
        inner.free -= 1;
        Some(Room(self.0.clone()))
    }

    /// Waits for a place.
    pub fn wait(&self, actor: Uid, then: impl FnOnce(&mut World, Room) + 'static) {
        self.0.borrow_mut().waiting.push_back((actor, Box::new(then)));
    }

    /// Gives free places to those who wait and live.
    pub fn serve(&self, lives: impl Fn(Uid) -> bool) -> Vec<(Uid, Action)> {
        let mut served: Vec<(Uid, Action)> = Vec::new();
        let mut inner = self.0.borrow_mut();
        while inner.free > 0
            && let Some((actor, then)) = inner.waiting.pop_front()
        {
            if lives(actor) {
                inner.free -= 1;
                let room = Room(self.0.clone());
                served.push((actor, Box::new(move |world: &mut World| then(world, room))));
            }
        }
        served
    }
}
