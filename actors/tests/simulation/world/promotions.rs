//! Promotions: a standby becomes the database, with or without the last seconds; and an old primary that is back for a while.

use super::World;
use super::broken::Broken;
use super::database::Former;
use super::faults::Hit;
use super::history::What;
use super::ledger::OLD_PRIMARY;
use super::scheduler::{MILLI, Micros, SECOND, To};

impl World {
    /// The primary dies; after a while a standby is the database, on the next timeline.
    pub fn promotion(&mut self, tail: bool) {
        if !self.db.up || self.db.past {
            return;
        }
        let time = self.dice.between(500 * MILLI, 8 * SECOND);
        let behind = if tail { self.dice.index(self.db.snapshots.len().max(1)) } else { 0 };
        self.db.up = false;
        self.db.incarnation += 1;
        self.fault_from_to("database promoted", self.now, self.now + time);
        let died = self.now;
        self.db.former = Some(Former {
            at: died,
            tables: self.db.store.read(Clone::clone),
            devices: self.ledger.devices.clone(),
            beats: self.beats.clone(),
            rests: self.rests.clone(),
        });
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

    /// The former primary is back with its tables, on a lower timeline, and for a while nobody reaches the one that was promoted.
    pub fn old_primary(&mut self) {
        if !self.db.up || self.db.past {
            return;
        }
        let Some(Former { at: died, tables: former, devices: devices_then, beats, rests }) = self.db.former.clone() else { return };
        let time = self.dice.between(2 * SECOND, 15 * SECOND);
        let now = self.db.store.read(Clone::clone);
        let devices = std::mem::replace(&mut self.ledger.devices, devices_then);
        let beats = std::mem::replace(&mut self.beats, beats);
        let rests = std::mem::replace(&mut self.rests, rests.into_iter().chain([(died, self.now)]).collect());
        let began = self.now;
        self.db.store.tamper(|model| *model = former);
        self.db.past = true;
        self.fault_from_to(OLD_PRIMARY, self.now, self.now + time);
        self.others_answer(died);
        self.enter(time, To::World, move |world| {
            let past = world.db.store.read(Clone::clone);
            world.db.store.tamper(|model| *model = now);
            let devices_then = std::mem::replace(&mut world.ledger.devices, devices);
            let beats_then = std::mem::replace(&mut world.beats, beats);
            let rests_then = std::mem::replace(&mut world.rests, rests.into_iter().chain([(began, world.now)]).collect());
            world.db.former = Some(Former { at: world.now, tables: past, devices: devices_then, beats: beats_then, rests: rests_then });
            world.db.past = false;
            world.others_answer(world.now - time);
        });
    }

    /// From here on tables answer that are those of that moment.
    fn others_answer(&mut self, tables_of: Micros) {
        self.db.incarnation += 1;
        self.db.snapshots.clear();
        self.ledger.promotions.push((self.now, tables_of));
        let timeline = self.db.store.read(|model| model.database.timeline);
        self.note(None, What::Promoted { timeline, tables_of });
        self.ownership_forget();
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
