//! Whether another process that joined under this node's name lives: watched by its heartbeats, on this machine's monotonic clock alone.

use std::time::Duration;

use crate::ids::Session;
use crate::settings::Settings;
use crate::time::Monotonic;

/// How often its heartbeat may move before it is taken to live: one may have been under way when its process died.
const MOVES: u8 = 2;

/// Another session under our name, as the database showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rival {
    session: Session,
    hb_seq: i64,
    moves: u8,
    still: Duration,
    /// The end of the last look that counts; none when what passed since then must not be credited.
    looked: Option<Monotonic>,
}

/// What the observation says so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Look again.
    Watch,
    /// It stood still for T at this heartbeat.
    Dead(Session, i64),
    /// It moves.
    Lives,
}

impl Rival {
    /// Seen for the first time, by a look that ended at `now`.
    #[must_use]
    pub fn seen(now: Monotonic, session: Session, hb_seq: i64) -> Self {
        Self { session, hb_seq, moves: 0, still: Duration::ZERO, looked: Some(now) }
    }

    /// A look that began at `asked` and ended at `now` saw this. What passed between two looks is credited with at most two heartbeat periods, so
    /// that a database or a machine that stood still itself proves nothing.
    pub fn look(&mut self, asked: Monotonic, now: Monotonic, session: Session, hb_seq: i64, settings: &Settings) -> Judgement {
        if session != self.session {
            *self = Self::seen(now, session, hb_seq);
            return Judgement::Watch;
        }
        if hb_seq != self.hb_seq {
            let moves = self.moves + 1;
            *self = Self { moves, ..Self::seen(now, session, hb_seq) };
            return if moves >= MOVES { Judgement::Lives } else { Judgement::Watch };
        }
        self.still += self.looked.map_or(Duration::ZERO, |looked| asked.since(looked).min(settings.heartbeat * 2));
        self.looked = Some(now);
        if self.still >= settings.observe_dead { Judgement::Dead(session, hb_seq) } else { Judgement::Watch }
    }

    /// A look failed: what passed since the last one is not credited.
    pub fn blind(&mut self) {
        self.looked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn look(rival: &mut Rival, second: i64, hb_seq: i64) -> Judgement {
        let at = Monotonic(second * SECOND);
        rival.look(at, at, Session(7), hb_seq, &Settings::default())
    }

    #[test]
    fn one_that_stands_still_for_t_is_dead() {
        let mut rival = Rival::seen(Monotonic(0), Session(7), 40);
        assert!((1..6).all(|second| look(&mut rival, second, 40) == Judgement::Watch));
        assert_eq!(look(&mut rival, 6, 40), Judgement::Dead(Session(7), 40));
    }

    #[test]
    fn a_heartbeat_that_was_under_way_at_its_death_begins_the_watch_anew_and_a_second_one_proves_life() {
        let mut rival = Rival::seen(Monotonic(0), Session(7), 40);
        assert_eq!(look(&mut rival, 5, 41), Judgement::Watch);
        assert!((6..11).all(|second| look(&mut rival, second, 41) == Judgement::Watch));
        assert_eq!(look(&mut rival, 11, 42), Judgement::Lives);
    }

    #[test]
    fn time_in_which_nobody_could_look_proves_nothing() {
        let mut rival = Rival::seen(Monotonic(0), Session(7), 40);
        assert_eq!(look(&mut rival, 600, 40), Judgement::Watch, "two periods are credited");
        rival.blind();
        assert_eq!(look(&mut rival, 1_200, 40), Judgement::Watch, "nothing is");
        assert!((1_201..1_204).all(|second| look(&mut rival, second, 40) == Judgement::Watch));
        assert_eq!(look(&mut rival, 1_204, 40), Judgement::Dead(Session(7), 40));
    }
}
