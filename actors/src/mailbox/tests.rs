//! The mailbox's state machine: scripts as text, and a walk through all short scripts with what must hold after each step.

use std::time::Duration;

use super::state::{Effect, Input, Mailbox};
use crate::delivery::message::{CollectEnd, Failure, Order, Work};
use crate::ports::mail_source::{Hint, SourceError};
use crate::settings::Settings;
use crate::snapshot::Phase;
use crate::time::Monotonic;

const BEGIN: Monotonic = Monotonic(1_000_000_000);

fn settings() -> Settings {
    Settings::default()
}

fn touched(mail: bool, at: Monotonic) -> Input {
    Input::Hint(Hint::Touched { mail, unread: None, at })
}

fn done(announced: u32, more: bool, seeded: bool, badge_dirty: bool) -> CollectEnd {
    CollectEnd::Done { announced, more, seeded, badge_dirty }
}

/// An input by its name in a script.
fn input(word: &str, now: Monotonic) -> Input {
    let collected = |end, sending| Input::Collected { end, sending };
    let failed = |failure| collected(CollectEnd::Failed(failure), false);
    let source = |error| failed(Failure::Source(error));
    let start = |seeded| Input::Start { seeded, badge_dirty: false, pending: false };
    match word {
        "start" => start(true),
        "start-new" => start(false),
        "start-pending" => Input::Start { seeded: true, badge_dirty: false, pending: true },
        "start-badge" => Input::Start { seeded: true, badge_dirty: true, pending: false },
        "mail" => touched(true, now),
        "change" => touched(false, now),
        "opened" => Input::Hint(Hint::StreamOpened),
        "gap" => Input::Hint(Hint::Gap),
        "lost" => Input::Hint(Hint::SubscriptionLost { rediscover: false }),
        "watched" => Input::Watched(Ok(())),
        "watch-full" => Input::Watched(Err(SourceError::SubscriptionsFull)),
        "watch-refused" => Input::Watched(Err(SourceError::Refused { code: "no".into() })),
        "watch-throttled" => Input::Watched(Err(SourceError::Throttled { retry_after: Duration::from_secs(100) })),
        "watch-failed" => Input::Watched(Err(SourceError::Unavailable { code: "no".into() })),
        "nothing" => collected(done(0, false, true, false), false),
        "announced" => collected(done(1, false, true, false), true),
        "more" => collected(done(0, true, true, false), false),
        "page" => collected(done(0, true, false, false), false),
        "dirty" => collected(done(0, false, true, true), false),
        "state-lost" => collected(done(0, true, false, false), false),
        "throttled" => source(SourceError::Throttled { retry_after: Duration::from_secs(100) }),
        "refused" => source(SourceError::Refused { code: "no".into() }),
        "failed" => source(SourceError::Unavailable { code: "no".into() }),
        "moved" => source(SourceError::Moved { code: "no".into() }),
        "store" => failed(Failure::Store),
        "gate" => failed(Failure::Gate),
        "overtaken" => failed(Failure::Overtaken),
        "crashed" => failed(Failure::Crashed),
        "not-ours" => failed(Failure::NotOurs),
        "settled" => Input::Settled { left: false },
        "left" => Input::Settled { left: true },
        "resume" => Input::Resume,
        "room" => Input::Room,
        "reopened" => Input::Reopened,
        "drain" => Input::Drain,
        "alarm" => Input::Alarm,
        _ => panic!("no such input: {word}"),
    }
}

fn name(effect: &Effect) -> String {
    match effect {
        Effect::Watch => "watch".into(),
        Effect::Unwatch => "unwatch".into(),
        Effect::Deliver(Order { work, badge_now, .. }) => {
            let badge = if *badge_now { "+badge" } else { "" };
            format!("{}{badge}", format!("{work:?}").to_lowercase())
        }
        Effect::GiveUp => "give-up".into(),
        Effect::AskRoom => "ask-room".into(),
        Effect::GiveRoom => "give-room".into(),
        Effect::Stop => "stop".into(),
    }
}

/// Runs a script: each line is `[+milliseconds] input -> effects`; `due` waits until the mailbox acts by itself; `= phase` checks where it stands.
fn check(script: &str) {
    let (mut mailbox, settings, mut now) = (Mailbox::new(1), settings(), BEGIN);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(phase) = line.strip_prefix("= ") {
            assert_eq!(mailbox.phase().as_str(), phase, "at {line:?} of {script}");
            continue;
        }
        let (told, expected) = line.split_once("->").unwrap_or((line, ""));
        let mut words = told.split_whitespace().peekable();
        if let Some(wait) = words.peek().and_then(|word| word.strip_prefix('+')) {
            now = now + Duration::from_millis(wait.parse().expect("milliseconds"));
            words.next();
        }
        let word = words.next().expect("an input");
        let step = if word == "due" {
            now = now.max(mailbox.due(&settings));
            Input::Alarm
        } else {
            input(word, now)
        };
        let effects: Vec<String> = mailbox.step(now, step, &settings).iter().map(name).collect();
        assert_eq!(effects, expected.split_whitespace().collect::<Vec<_>>(), "at {line:?} of {script}");
    }
}

#[test]
fn a_seeded_mailbox_syncs_subscribes_and_syncs_again_when_the_stream_speaks() {
    check(
        "start -> watch sync
         = catchup
         nothing
         watched
         = subscribed
         opened -> sync
         = subscribed
         nothing
         = live",
    );
}

#[test]
fn a_sync_that_began_before_the_stream_spoke_does_not_make_it_live() {
    check(
        "start -> watch sync
         watched
         opened
         nothing -> sync
         = subscribed
         nothing
         = live",
    );
}

#[test]
fn the_first_mail_is_collected_at_once_and_more_within_the_window_share_the_next_collection() {
    check(
        "start -> watch sync
         nothing
         watched
         opened -> sync
         nothing
         +60000 mail -> sync
         +10 announced
         +100 mail
         +100 mail
         settled
         +2789 alarm
         +1 alarm -> sync
         announced",
    );
}

#[test]
fn a_collection_that_found_nothing_to_announce_opens_no_window() {
    check(
        "start -> watch sync
         nothing
         +60000 mail -> sync
         +10 nothing
         +10 mail -> sync",
    );
}

#[test]
fn a_hint_during_a_collection_is_not_forgotten() {
    check(
        "start -> watch sync
         nothing
         +60000 mail -> sync
         +10 mail
         +10 nothing -> sync",
    );
}

#[test]
fn a_change_waits_twenty_seconds_and_rides_along_with_mail() {
    check(
        "start -> watch sync
         nothing
         watched
         opened -> sync
         nothing
         change
         +19999 alarm
         +1 alarm -> sync+badge
         nothing
         change
         +5000 mail -> sync
         announced
         settled
         +20000 alarm",
    );
}

#[test]
fn a_new_mailbox_is_subscribed_first_and_mail_comes_before_the_next_page() {
    check(
        "start-new -> watch
         = seeding
         watched -> ask-room
         room -> seed
         page -> ask-room
         mail -> recent
         room
         announced -> seed
         opened
         nothing -> sync
         = subscribed
         nothing
         = live",
    );
}

#[test]
fn room_that_is_not_needed_any_more_is_given_back() {
    check(
        "start-new -> watch
         watched -> ask-room
         lost
         room -> give-room",
    );
}

#[test]
fn a_failed_collection_keeps_its_marks_and_waits() {
    check(
        "start -> watch sync
         nothing
         +60000 mail -> sync
         failed
         due -> sync
         failed
         due -> sync
         announced",
    );
}

#[test]
fn a_commit_that_was_overtaken_is_made_again_at_once_but_not_for_ever() {
    check(
        "start -> watch sync
         overtaken -> sync
         overtaken
         due -> sync
         nothing",
    );
}

#[test]
fn a_throttled_mailbox_does_nothing_before_its_time() {
    check(
        "start -> watch sync
         nothing
         watched
         +60000 mail -> sync
         throttled
         +99999 mail
         resume
         opened
         due -> resend
         nothing -> sync",
    );
}

#[test]
fn a_store_that_failed_may_have_committed_rows_and_what_waits_for_it_goes_on_when_it_is_back() {
    check(
        "start -> watch sync
         store
         due -> resend
         store
         due -> resend
         store
         due -> resend
         store
         due -> resend
         store
         reopened
         +1000 alarm -> resend
         nothing -> sync
         nothing",
    );
}

#[test]
fn a_throttled_mailbox_does_not_go_on_because_the_store_is_back() {
    check(
        "start -> watch sync
         throttled
         reopened
         +2000 alarm",
    );
}

#[test]
fn rows_that_wait_are_taken_up_first_and_only_when_nobody_holds_any() {
    check(
        "start-pending -> watch resend
         announced -> sync
         nothing
         resume
         settled -> resend
         nothing",
    );
}

#[test]
fn rows_left_behind_are_taken_up_after_a_rest() {
    check(
        "start -> watch sync
         announced
         left
         due -> resend
         announced
         left
         due -> resend
         nothing",
    );
}

#[test]
fn two_deliveries_may_send_while_a_third_waits() {
    check(
        "start -> watch sync
         announced
         +3000 mail -> sync
         announced
         +3000 mail
         settled -> sync",
    );
}

#[test]
fn a_refused_mailbox_is_parked_and_tried_again_much_later() {
    check(
        "start -> watch sync
         refused -> unwatch
         = parked
         mail
         +3000000 alarm
         due -> watch sync
         = catchup
         watched
         nothing
         opened -> sync
         nothing
         = live",
    );
}

#[test]
fn without_room_for_a_subscription_it_is_polled_and_asks_again() {
    check(
        "start -> watch sync
         nothing
         watch-full -> sync
         = polling
         nothing
         due -> sync
         nothing
         due -> sync
         nothing
         due -> sync
         nothing
         due -> sync
         nothing",
    );
}

#[test]
fn a_gap_is_closed_by_a_sync_when_the_stream_speaks_again() {
    check(
        "start -> watch sync
         nothing
         watched
         opened -> sync
         nothing
         gap
         = subscribed
         opened -> sync
         nothing
         = live",
    );
}

#[test]
fn a_stream_that_does_not_speak_again_is_polled() {
    check(
        "start -> watch sync
         nothing
         watched
         opened -> sync
         nothing
         gap
         +54000 alarm
         +12000 alarm -> sync",
    );
}

#[test]
fn an_answer_that_never_comes_is_a_failure() {
    check(
        "start -> watch sync
         nothing
         +120000 alarm -> sync
         due -> watch
         +180000 alarm -> give-up
         due -> resend",
    );
}

#[test]
fn a_lost_state_is_seeded_anew() {
    check(
        "start -> watch sync
         nothing
         watched
         opened -> sync
         state-lost -> ask-room
         = seeding
         room -> seed
         page -> ask-room
         room -> seed
         nothing
         = live",
    );
}

#[test]
fn a_drained_mailbox_begins_nothing_and_finishes_what_is_under_way() {
    check(
        "start -> watch sync
         drain
         announced
         mail
         change
         settled
         +4000000 alarm",
    );
}

#[test]
fn a_mailbox_that_is_not_ours_stops() {
    check("start -> watch sync\n not-ours -> stop");
}

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
    stopped: bool,
    /// Mail was heard of and no collection that began since then ended well.
    mail_owed: bool,
    /// A collection with that mail in it is under way.
    mail_in_hand: bool,
}

impl World {
    /// All inputs that can come in this state.
    fn possible(&self) -> Vec<&'static str> {
        let mut words = vec!["mail", "change", "opened", "gap", "lost", "resume", "reopened", "alarm", "late"];
        if self.asking.is_some() {
            words.extend(["watched", "watch-full", "watch-refused", "watch-throttled", "watch-failed"]);
        }
        match self.collecting {
            Some(Work::Seed) => words.extend(["page", "nothing", "failed", "crashed"]),
            Some(Work::Recent) => words.extend(["page", "store"]),
            Some(Work::Resend) => words.extend(["nothing", "announced", "store"]),
            Some(Work::Sync) => {
                words.extend(["nothing", "announced", "more", "dirty", "state-lost", "throttled", "refused", "moved", "overtaken"])
            }
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
            }
            Input::Settled { .. } => self.sending -= 1,
            Input::Room => (self.room_asked, self.room_given) = (false, true),
            Input::Drain => self.draining = true,
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
                assert!(!self.draining);
                (self.asking, self.parked) = (Some(self.now), false);
            }
            Effect::Unwatch => self.parked = true,
            Effect::GiveUp => {
                assert!(self.collecting.take().is_some(), "nothing to give up");
                self.mail_owed |= std::mem::take(&mut self.mail_in_hand);
            }
            Effect::Deliver(order) => {
                assert!(self.collecting.is_none(), "two collections at a time");
                assert!(!self.draining && self.sending < 2);
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
            Effect::Stop => self.stopped = true,
        }
    }

    fn judge(&self, settings: &Settings) {
        let due = self.mailbox.due(settings);
        assert_eq!(self.mailbox.idle(), self.collecting.is_none() && self.sending == 0);
        assert_eq!(self.parked, self.mailbox.phase() == Phase::Parked);
        if self.draining {
            return;
        }
        // Somebody acts: the clock, or an answer that is owed.
        assert!(due != Monotonic::NEVER || self.sending > 0 || self.room_asked, "nothing is due");
        let waits = self.parked || self.collecting.is_some() || self.sending >= 2;
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
    if depth == 0 || world.stopped {
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
    for first in ["start", "start-new", "start-pending", "start-badge"] {
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
            stopped: false,
            mail_owed: false,
            mail_in_hand: false,
        };
        world.take(first, &settings);
        walk(&world, 5, &mut vec![first], &settings, &mut seen);
    }
    assert!(seen > 1_000_000, "{seen} steps");
}
