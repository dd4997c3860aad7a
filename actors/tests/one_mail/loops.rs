//! A table of the loops that ask a mail server, each against the worst answer, with requests per minute. A further loop is one row.

use postrider_actors::ports::mail_source::{Hint, SourceError};
use postrider_actors::testing::scripted::{Call, Endless};

use super::*;

/// One loop.
struct Row {
    /// Which loop, and the answer that it always gets.
    name: &'static str,
    /// Has the server give it; the mailbox is live by then, or seeding.
    worst: fn(&World),
    /// What it asks.
    call: Call,
    /// Whether the mailbox is watched for the first time.
    new: bool,
    /// Most requests in the first minute, and in each minute on the average of the next ten.
    most: (usize, usize),
}

fn always(call: Call, error: fn() -> SourceError) -> impl Fn(&World) {
    move |world| world.mail.fail(ADA, call, Some(error()))
}

fn code() -> String {
    "ErrorInternalServerError".into()
}

fn lost_at_once(world: &World) {
    let world = world.clone();
    tokio::spawn(async move {
        loop {
            world.pass(millis(20)).await;
            if world.mail.watchers(ADA) > 0 {
                world.mail.lose_subscription(ADA, true);
            }
        }
    });
}

fn flood(world: &World, hint: fn(&World) -> Hint) {
    let world = world.clone();
    tokio::spawn(async move {
        loop {
            world.pass(millis(50)).await;
            world.mail.hint(ADA, hint(&world));
        }
    });
}

const TABLE: &[Row] = &[
    Row {
        name: "sync: the state stands still",
        worst: |w| w.mail.endless(ADA, Some(Endless::StandsStill)),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: the same change for ever",
        worst: |w| w.mail.endless(ADA, Some(Endless::SameChange)),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: another state for ever",
        worst: |w| w.mail.endless(ADA, Some(Endless::NewStates)),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: another state and a change",
        worst: |w| w.mail.endless(ADA, Some(Endless::NewStatesAndChange)),
        call: Call::Changes,
        new: false,
        most: (50, 10),
    },
    Row {
        name: "sync: fails",
        worst: |w| always(Call::Changes, || SourceError::Unavailable { code: code() })(w),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: the mailbox has moved",
        worst: |w| always(Call::Changes, || SourceError::Moved { code: code() })(w),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: no state is accepted",
        worst: |w| always(Call::Changes, || SourceError::SyncStateLost)(w),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: throttled for no time",
        worst: |w| always(Call::Changes, || SourceError::Throttled { retry_after: seconds(0) })(w),
        call: Call::Changes,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "sync: refused for good",
        worst: |w| always(Call::Changes, || SourceError::Refused { code: code() })(w),
        call: Call::Changes,
        new: false,
        most: (2, 1),
    },
    Row {
        name: "seeding: the state stands still",
        worst: |w| w.mail.endless(ADA, Some(Endless::StandsStill)),
        call: Call::Changes,
        new: true,
        most: (15, 3),
    },
    Row {
        name: "seeding: another state and a change",
        worst: |w| w.mail.endless(ADA, Some(Endless::NewStatesAndChange)),
        call: Call::Changes,
        new: true,
        most: (15, 3),
    },
    Row {
        name: "seeding: full pages for ever",
        worst: |w| w.mail.endless(ADA, Some(Endless::FullPages)),
        call: Call::Changes,
        new: true,
        most: (110, 60),
    },
    Row {
        name: "watch: fails",
        worst: |w| {
            always(Call::Watch, || SourceError::Unavailable { code: code() })(w);
            w.mail.lose_subscription(ADA, false)
        },
        call: Call::Watch,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "watch: throttled for no time",
        worst: |w| {
            always(Call::Watch, || SourceError::Throttled { retry_after: seconds(0) })(w);
            w.mail.lose_subscription(ADA, false)
        },
        call: Call::Watch,
        new: false,
        most: (15, 3),
    },
    Row {
        name: "watch: no room",
        worst: |w| {
            always(Call::Watch, || SourceError::SubscriptionsFull)(w);
            w.mail.lose_subscription(ADA, false)
        },
        call: Call::Watch,
        new: false,
        most: (2, 1),
    },
    Row { name: "watch: lost as soon as it is made", worst: lost_at_once, call: Call::Watch, new: false, most: (15, 3) },
    Row {
        name: "events: mail that is not there",
        worst: |w| flood(w, |w| Hint::Touched { mail: true, unread: None, at: postrider_actors::ports::Clock::monotonic(&*w.clock) }),
        call: Call::Changes,
        new: false,
        most: (26, 21),
    },
    Row {
        name: "events: changes that are not there",
        worst: |w| flood(w, |w| Hint::Touched { mail: false, unread: None, at: postrider_actors::ports::Clock::monotonic(&*w.clock) }),
        call: Call::Changes,
        new: false,
        most: (5, 4),
    },
    Row { name: "stream: opens and opens", worst: |w| flood(w, |_| Hint::StreamOpened), call: Call::Changes, new: false, most: (26, 21) },
    Row {
        name: "stream: gap after gap",
        worst: |w| {
            flood(w, |_| Hint::Gap);
            flood(w, |_| Hint::StreamOpened)
        },
        call: Call::Changes,
        new: false,
        most: (26, 21),
    },
];

#[tokio::test(start_paused = true)]
async fn no_loop_asks_without_a_growing_pause_whatever_it_is_answered() {
    let mut report = String::from("loop | first minute | later, a minute\n");
    let mut beyond = Vec::new();
    for row in TABLE {
        let world = World::new();
        if row.new {
            (row.worst)(&world);
        }
        let mailbox = world.register(ADA, "phone").await;
        let system = world.start().await;
        let phase = if row.new { Phase::Seeding } else { Phase::Live };
        world.until_phase(&system, mailbox, phase).await;
        let begun = world.mail.count(ADA, row.call);
        if !row.new {
            (row.worst)(&world);
            world.mail.touch(ADA, true);
        }
        world.pass(seconds(60)).await;
        let first = world.mail.count(ADA, row.call);
        world.pass(seconds(600)).await;
        let (first, later) = (first - begun, (world.mail.count(ADA, row.call) - first).div_ceil(10));
        report.push_str(&format!("{} | {first} | {later}\n", row.name));
        if first > row.most.0 || later > row.most.1 {
            beyond.push(row.name);
        }
    }
    println!("{report}");
    assert!(beyond.is_empty(), "{beyond:?} in\n{report}");
}
