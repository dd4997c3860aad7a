//! Promotions: a standby becomes the database, with or without the last seconds; and an old primary that is back for a while.

use super::World;
use super::broken::Broken;
use super::faults::Hit;
use super::history::What;
use super::scheduler::{MILLI, SECOND, To};

impl World {
    /// The primary dies; after a while a standby is the database, on the next timeline.
    pub fn promotion(&mut self, tail: bool) {
        if !self.db.up {
            return;
        }
        let time = self.dice.between(500 * MILLI, 8 * SECOND);
        let behind = if tail { self.dice.index(self.db.snapshots.len().max(1)) } else { 0 };
        self.db.up = false;
        self.db.incarnation += 1;
        self.fault_from_to("database promoted", self.now, self.now + time);
        let died = self.now;
        let snapshot = if tail && !self.db.snapshots.is_empty() { Some(self.db.snapshots[behind].clone()) } else { None };
        self.enter(time, To::World, move |world| {
            let mut tables_of = died;
            let timeline = world.timeline + 1;
            world.timeline = timeline;
            // Epochs without the timeline: nobody can tell that the tables are others.
            let shown = if world.broken == Some(Broken::NoTimelineAndSession) { 1 } else { timeline };
            if let Some((at, model, devices)) = snapshot {
                tables_of = at;
                world.hit(Hit::LostTail);
                world.ledger.devices = devices;
                world.db.store.tamper(|tables| *tables = model);
            } else {
                world.hit(Hit::Promotion);
            }
            world.db.store.tamper(|model| model.database.timeline = shown);
            world.db.snapshots.clear();
            world.db.incarnation += 1;
            world.db.up = true;
            world.ledger.promotions.push((world.now, tables_of));
            world.note(None, What::Promoted { timeline, tables_of });
            world.ownership_forget();
        });
    }

    /// An old primary, on a lower timeline, answers for a while in the place of the database.
    pub fn old_primary(&mut self) {
        if self.timeline < 2 || !self.db.up || self.db.snapshots.is_empty() {
            return;
        }
        self.hit(Hit::OldPrimary);
        let time = self.dice.between(2 * SECOND, 15 * SECOND);
        let now = self.db.store.read(Clone::clone);
        let devices = self.ledger.devices.clone();
        let (_, mut old, _) = self.db.snapshots[0].clone();
        old.database.timeline = self.timeline - 1;
        old.accepted.timeline = self.timeline - 1;
        self.db.store.tamper(|model| *model = old);
        self.db.incarnation += 1;
        self.fault_from_to("database of the past", self.now, self.now + time);
        self.ownership_forget();
        self.enter(time, To::World, move |world| {
            world.db.store.tamper(|model| *model = now);
            world.ledger.devices = devices;
            world.db.incarnation += 1;
            world.db.snapshots.clear();
            let tables_of = world.now - time;
            world.ledger.promotions.push((world.now, tables_of));
            world.note(None, What::Promoted { timeline: world.timeline, tables_of });
            world.ownership_forget();
        });
    }

    /// From time to time the tables are remembered.
    pub fn remember_often(&mut self) {
        if self.db.up && self.now < self.faults_end {
            self.remember_tables();
        }
        let after = self.dice.between(300 * MILLI, 2 * SECOND);
        if self.now < self.faults_end {
            self.enter(after, To::World, World::remember_often);
        }
    }
}
