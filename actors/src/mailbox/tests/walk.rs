//! A walk through all short scripts, with what must hold after each step.

use std::time::Duration;

use super::{BEGIN, input, settings};
use crate::delivery::message::{CollectEnd, Failure, Work};
use crate::mailbox::state::{Effect, Input, Mailbox};
use crate::ports::mail_source::{Hint, SourceError};
use crate::settings::Settings;
use crate::snapshot::Phase;
use crate::time::Monotonic;

/// What the outside owes and was promised, kept beside the machine during the walk.
#[derive(Clone)]
struct World {
    mailbox: Mailbox,
    now: Monotonic,
    collecting: Option<Work>,
    sending: u8,
    asking: Option<Monotonic>,
    room_asked: bool,
    room_given: bool,
    parked: bool,
    draining: bool,
    /// Whether its shard changes hands in this walk.
    moving: bool,
    /// Told to rest, and whether it said that it does.
    held: Option<bool>,
    doubt: bool,
    /// Mail was heard of and no collection that began since then ended well.
    mail_owed: bool,
    /// A collection with that mail in it is under way.
    mail_in_hand: bool,
}

impl World {
    fn rests(&self) -> bool {
        self.draining || self.doubt || self.held.is_some()
    }

    /// All inputs that can come in this state.
    fn possible(&self) -> Vec<&'static str> {
        let mut words = vec!["mail", "change", "opened", "gap", "lost", "resume", "reopened", "alarm", "late"];
        if self.asking.is_some() {
            words.extend(["watched", "watch-full", "watch-refused", "watch-throttled", "watch-failed"]);
        }
        match self.collecting {
            Some(Work::Seed) => words.extend(["page", "nothing", "failed", "crashed"]),
            Some(Work::Recent) if self.moving => words.extend(["page", "store", "not-ours"]),
            Some(Work::Recent) => words.extend(["page", "store"]),
            Some(Work::Resend) => words.extend(["nothing", "announced", "store"]),
            Some(Work::Sync) => words.extend([
                "nothing",
                "announced",
                "more",
                "dirty",
                "state-lost",
                "throttled",
                "refused",
                "moved",
                "overtaken",
                "unknown",
            ]),
            None => {}
        }
        if self.sending > 0 {
            words.extend(["settled", "left"]);
        }
        if self.room_asked {
            words.push("room");
        }
        if !self.draining {
            words.push("drain");
        }
        if !self.moving {
            return words;
        }
        match self.held {
            None if !self.draining => words.push("hold"),
            None => {}
            Some(_) => words.extend(["unhold", "no-patience"]),
        }
        if self.doubt {
            words.push("restamped");
        }
        words
    }

    fn take(&mut self, word: &str, settings: &Settings) {
        if word == "late" {
            self.now = self.now.max(self.mailbox.due(settings).min(self.now + Duration::from_secs(100_000)));
        } else {
            self.now = self.now + Duration::from_millis(200);
        }
        let step = if word == "late" { Input::Alarm } else { input(word, self.now) };
        match &step {
            Input::Hint(Hint::Touched { mail: true, .. }) => self.mail_owed = true,
            Input::Watched(answer) => {
                self.asking = None;
                self.parked |= matches!(answer, Err(SourceError::Refused { .. }));
            }
            Input::Collected { end, sending } => {
                self.collecting = None;
                self.sending += u8::from(*sending);
                let failed = matches!(end, CollectEnd::Failed(_));
                self.mail_owed |= self.mail_in_hand && failed;
                self.mail_in_hand = false;
                self.parked |= matches!(end, CollectEnd::Failed(Failure::Source(SourceError::Refused { .. })));
                self.doubt |= *end == CollectEnd::Failed(Failure::NotOurs);
            }
            Input::Settled { .. } => self.sending -= 1,
            Input::Room => (self.room_asked, self.room_given) = (false, true),
            Input::Drain => self.draining = true,
            Input::Hold => self.held = Some(false),
            Input::Unhold => self.held = None,
            Input::Restamped { .. } => self.doubt = false,
            // An answer that comes after its deadline is not taken.
            Input::Alarm if self.asking.is_some_and(|at| self.now >= at + settings.collect_deadline) => self.asking = None,
            _ => {}
        }
        for effect in self.mailbox.step(self.now, step, settings) {
            self.carry_out(&effect);
        }
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Watch => {
                assert!(!self.rests());
                (self.asking, self.parked) = (Some(self.now), false);
            }
            Effect::Unwatch => self.parked = true,
            Effect::GiveUp => {
                assert!(self.collecting.take().is_some(), "nothing to give up");
                self.mail_owed |= std::mem::take(&mut self.mail_in_hand);
            }
            Effect::Deliver(order) => {
                assert!(self.collecting.is_none(), "two collections at a time");
                assert!(!self.rests() && self.sending < 4);
                assert!(order.work != Work::Resend || self.sending == 0, "rows that somebody may hold are taken up");
                assert!(order.work != Work::Seed || std::mem::take(&mut self.room_given), "a page without room");
                self.collecting = Some(order.work);
                if matches!(order.work, Work::Sync | Work::Recent) {
                    self.mail_in_hand = std::mem::take(&mut self.mail_owed);
                }
            }
            Effect::AskRoom => {
                assert!(!self.room_asked && !self.room_given, "room asked for twice");
                self.room_asked = true;
            }
            Effect::GiveRoom => assert!(std::mem::take(&mut self.room_given), "no room to give back"),
            Effect::Settle { hand_over } => assert!(if *hand_over { self.held == Some(false) } else { self.draining || self.sending > 0 }),
            Effect::GiveUpAll => {
                assert!(self.collecting.is_some() || self.sending > 0, "nothing to give up");
                (self.collecting, self.sending) = (None, 0);
                self.mail_owed |= std::mem::take(&mut self.mail_in_hand);
            }
            Effect::Held => {
                assert!(self.collecting.is_none() && self.sending == 0, "at rest while something is under way");
                assert_eq!(self.held.replace(true), Some(false), "said once");
            }
            Effect::Doubt => assert!(self.doubt),
        }
    }

    fn judge(&self, settings: &Settings) {
        let due = self.mailbox.due(settings);
        assert_eq!(self.mailbox.idle(), self.collecting.is_none() && self.sending == 0);
        assert_eq!(self.parked, self.mailbox.phase() == Phase::Parked);
        let busy = self.collecting.is_some() || self.sending > 0;
        assert!(self.held != Some(false) || busy, "at rest, and nobody was told");
        if self.rests() {
            return;
        }
        // Somebody acts: the clock, or an answer that is owed.
        assert!(due != Monotonic::NEVER || self.sending > 0 || self.room_asked, "nothing is due");
        let waits = self.parked || self.collecting.is_some() || self.sending >= 4;
        if self.mail_owed && !waits {
            let latest = self.now + settings.retry_max + Duration::from_secs(101);
            assert!(due <= latest, "mail is forgotten until {due:?}");
        }
    }

    /// After an alarm in its time nothing is due that moment: no busy loop.
    fn judge_rest(&self, settings: &Settings) {
        let mut calm = self.clone();
        let at = calm.mailbox.due(settings).max(calm.now);
        if at == Monotonic::NEVER {
            return;
        }
        calm.now = at;
        for effect in calm.mailbox.step(at, Input::Alarm, settings) {
            calm.carry_out(&effect);
        }
        let next = calm.mailbox.due(settings);
        assert!(next > at, "due again at once: {next:?} after {at:?}");
    }
}

fn walk(world: &World, depth: u32, script: &mut Vec<&'static str>, settings: &Settings, seen: &mut u64) {
    if depth == 0 {
        return;
    }
    for word in world.possible() {
        let mut next = world.clone();
        script.push(word);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            next.take(word, settings);
            next.judge(settings);
            next.judge_rest(settings);
        }));
        assert!(told.is_ok(), "after {script:?}");
        *seen += 1;
        walk(&next, depth - 1, script, settings, seen);
        script.pop();
    }
}

#[test]
fn all_short_scripts_keep_the_invariants() {
    let settings = settings();
    let mut seen = 0;
    let begins = ["start", "start-new", "start-pending", "start-badge"].into_iter();
    for (first, moving) in begins.flat_map(|first| [(first, false), (first, true)]) {
        let mut world = World {
            mailbox: Mailbox::new(1),
            now: BEGIN,
            collecting: None,
            sending: 0,
            asking: None,
            room_asked: false,
            room_given: false,
            parked: false,
            draining: false,
            moving,
            held: None,
            doubt: false,
            mail_owed: false,
            mail_in_hand: false,
        };
        world.take(first, &settings);
        walk(&world, if moving { 4 } else { 5 }, &mut vec![first], &settings, &mut seen);
    }
    assert!(seen > 1_000_000, "{seen} steps");
}
