//! Large faults as they strike.

use super::World;
use super::draining::DEADLINE;
use super::faults::Hit;
use super::history::What;
use super::plan_of_faults::Kind;
use super::provider::Mood;
use super::scheduler::{MILLI, Micros, SECOND, To};

impl World {
    /// A large fault strikes.
    pub fn strike(&mut self, kind: Kind) {
        let node = self.dice.index(self.machines.len());
        self.strike_at(kind, node);
    }

    /// A large fault strikes; where it is one of a node, that one.
    pub fn strike_at(&mut self, kind: Kind, node: usize) {
        match kind {
            Kind::Kill => self.crash(node, Hit::Kill),
            Kind::KillHalf => self.crash_many(self.machines.len().div_ceil(2)),
            Kind::KillAll => self.crash_many(self.machines.len()),
            Kind::Pause(time) => self.pause(node, time),
            Kind::ClockJump => self.clock_jump(node),
            Kind::Cut => self.cut(Some(node)),
            Kind::CutAll => self.cut(None),
            Kind::Stall | Kind::Slow => self.database_trouble(kind),
            Kind::Down if self.db.up && !self.db.past => self.database_trouble(kind),
            Kind::Down => {}
            Kind::Pool => self.pool(node),
            Kind::Promote(tail) => self.promotion(tail),
            Kind::OldPrimary => self.old_primary(),
            Kind::KillLeader => {
                if let Some(leader) = self.leading_machine() {
                    self.crash(leader, Hit::LeaderKilled);
                }
            }
            Kind::PauseLeader => {
                if let Some(leader) = self.leading_machine() {
                    self.hit(Hit::LeaderPaused);
                    let time = [3, 7, 60][self.dice.index(3)] * SECOND;
                    self.pause(leader, time);
                }
            }
            Kind::Flap => self.flap(node, 4),
            Kind::RollingRestart => self.restart_from(0),
            Kind::Join => self.late_join(),
            Kind::Provider => self.provider_mood(),
            Kind::SourceAway => {
                let time = self.dice.between(SECOND, 20 * SECOND);
                self.source.away_until = self.now + time;
                self.fault_from_to("mail server away", self.now, self.now + time);
            }
            Kind::Stream => {
                self.fault_now("stream");
                (0..self.dice.between(1, 4)).for_each(|_| self.stream_trouble());
            }
            Kind::States => self.refuse_states(),
        }
    }

    fn crash(&mut self, node: usize, hit: Hit) {
        if self.machines[node].process.is_none() {
            return;
        }
        self.hit(hit);
        let rest = self.dice.between(SECOND / 2, 20 * SECOND);
        self.trouble("node killed", Some(node), self.now, self.now + rest);
        self.kill(node);
        self.enter(rest, To::World, move |world| world.start(node));
    }

    fn crash_many(&mut self, many: usize) {
        let first = self.dice.index(self.machines.len());
        self.hit(Hit::KillMany);
        (0..many).for_each(|place| self.crash((first + place) % self.machines.len(), Hit::Kill));
    }

    fn clock_jump(&mut self, node: usize) {
        self.hit(Hit::ClockJump);
        let hour = 3_600 * SECOND;
        let jump = if self.dice.percent(50) { hour } else { -hour };
        self.machines[node].clock.jump(jump);
        // Whoever starts meanwhile does not join until somebody sets it right.
        let time = self.dice.between(SECOND, 20 * SECOND);
        self.trouble("clock set", Some(node), self.now, self.now + time);
        self.enter(time, To::World, move |world| world.machines[node].clock.jump(-jump));
    }

    /// The way of one machine to the database is cut, or everybody's.
    fn cut(&mut self, node: Option<usize>) {
        let (out, back) = [(true, false), (false, true), (true, true)][self.dice.index(3)];
        let time = self.dice.between(SECOND, 30 * SECOND);
        let until = self.now + time;
        let link = node.map_or(&mut self.db.link, |node| &mut self.machines[node].link);
        link.out_until = link.out_until.max(if out { until } else { 0 });
        link.back_until = link.back_until.max(if back { until } else { 0 });
        self.trouble(if node.is_none() { "database cut off" } else { "cut off" }, node, self.now, until);
        self.enter(time, To::World, move |world| world.note(node, What::Healed("cut off")));
    }

    fn database_trouble(&mut self, kind: Kind) {
        let time = self.dice.between(SECOND, 30 * SECOND);
        match kind {
            Kind::Stall => {
                self.db.stalled_until = self.db.stalled_until.max(self.now + time);
                self.fault_from_to("database stalled", self.now, self.now + time);
            }
            Kind::Slow => {
                self.hit(Hit::DatabaseSlow);
                self.db.latency = self.dice.between(200 * MILLI, 2 * SECOND);
                self.fault_from_to("database slow", self.now, self.now + time);
                self.enter(time, To::World, |world| world.db.latency = 2 * MILLI);
            }
            _ => self.database_down(time),
        }
    }

    /// The database is down for a while.
    pub fn database_down(&mut self, time: Micros) {
        self.db.up = false;
        self.db.incarnation += 1;
        self.fault_from_to("database down", self.now, self.now + time);
        let incarnation = self.db.incarnation;
        self.enter(time, To::World, move |world| {
            if world.db.incarnation == incarnation {
                world.db.up = true;
                world.note(None, What::Healed("database down"));
            }
        });
    }

    fn pool(&mut self, node: usize) {
        let time = self.dice.between(SECOND, 20 * SECOND);
        let link = &mut self.machines[node].link;
        link.pool_until = link.pool_until.max(self.now + time);
        self.trouble("pool exhausted", Some(node), self.now, self.now + time);
    }

    fn flap(&mut self, node: usize, times: u32) {
        if times == 0 || self.now > self.faults_end {
            return;
        }
        self.hit(Hit::Flap);
        self.fault_from_to("flapping", self.now, self.now + 9 * SECOND);
        self.kill(node);
        let (rest, next) = (self.dice.between(100 * MILLI, 3 * SECOND), self.dice.between(3 * SECOND, 9 * SECOND));
        self.enter(rest, To::World, move |world| world.start(node));
        self.enter(next, To::World, move |world| world.flap(node, times - 1));
    }

    fn restart_from(&mut self, node: usize) {
        if node >= self.machines.len() || self.now > self.faults_end {
            return;
        }
        if self.machines[node].process.is_some() {
            self.hit(Hit::Restart);
            self.fault_from_to("drain", self.now, self.now + DEADLINE + 5 * SECOND);
            if self.dice.percent(50) {
                self.drain(node);
            } else {
                self.drain_by_operator(node);
            }
        }
        let next = self.dice.between(5 * SECOND, 20 * SECOND);
        self.enter(next, To::World, move |world| world.restart_from(node + 1));
    }

    fn late_join(&mut self) {
        let node = self.add_machine();
        self.hit(Hit::LateJoin);
        self.fault_now("a node joins");
        self.start(node);
    }

    fn provider_mood(&mut self) {
        let time = self.dice.between(SECOND, 60 * SECOND);
        self.provider.mood = [Mood::Later, Mood::Credentials, Mood::Mute][self.dice.index(3)];
        self.fault_from_to("provider", self.now, self.now + time);
        self.enter(time, To::World, |world| world.provider.mood = Mood::Well);
    }

    fn refuse_states(&mut self) {
        let addresses = self.people.addresses.clone();
        for address in addresses {
            if self.dice.percent(40) {
                self.hit(Hit::StateRefused);
                self.source.inbox(&address).refuse_states();
            }
        }
        self.fault_now("states refused");
    }
}
