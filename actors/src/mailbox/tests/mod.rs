//! The mailbox's state machine: scripts as text, and a walk through all short scripts with what must hold after each step.

mod moves;
mod scripts;
mod walk;

use std::time::Duration;

use super::state::{Effect, Input, Mailbox};
use crate::delivery::message::{CollectEnd, Failure, More, Order};
use crate::ports::mail_source::{Hint, SourceError};
use crate::settings::Settings;
use crate::time::Monotonic;

const BEGIN: Monotonic = Monotonic(1_000_000_000);

fn settings() -> Settings {
    Settings::default()
}

fn touched(mail: bool, at: Monotonic) -> Input {
    Input::Hint(Hint::Touched { mail, unread: None, at })
}

fn done(announced: u32, more: More, seeded: bool, badge_dirty: bool) -> CollectEnd {
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
        "nothing" => collected(done(0, More::Nothing, true, false), false),
        "announced" => collected(done(1, More::Nothing, true, false), true),
        "more" => collected(done(0, More::Backlog, true, false), false),
        "endless" => collected(done(0, More::Endless, true, false), false),
        "page" => collected(done(0, More::Backlog, false, false), false),
        "dirty" => collected(done(0, More::Nothing, true, true), false),
        "state-lost" => collected(done(0, More::Endless, false, false), false),
        "throttled" => source(SourceError::Throttled { retry_after: Duration::from_secs(100) }),
        "refused" => source(SourceError::Refused { code: "no".into() }),
        "failed" => source(SourceError::Unavailable { code: "no".into() }),
        "moved" => source(SourceError::Moved { code: "no".into() }),
        "store" => failed(Failure::Store),
        "unknown" => failed(Failure::Unknown),
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
        "hold" => Input::Hold,
        "no-patience" => Input::GiveUp,
        "unhold" => Input::Unhold,
        "restamped" => Input::Restamped { seeded: true, badge_dirty: false },
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
        Effect::Settle { .. } => "settle".into(),
        Effect::GiveUpAll => "give-up-all".into(),
        Effect::Held => "held".into(),
        Effect::Doubt => "doubt".into(),
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
