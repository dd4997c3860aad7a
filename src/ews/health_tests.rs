//! Who may be asked when: stories, and every short script of two mailboxes with what must hold at each step.

use super::*;

const PACE: Pace = Pace { first: Duration::from_secs(1), limit: Duration::from_secs(60) };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A call for a mailbox that fails a moment after it began.
fn fails(health: &mut Health, now: &mut Instant, mailbox: &str) -> Decision {
    let decision = health.ask(*now, Some(mailbox));
    if let Decision::Go(probe) = decision {
        let begun = Begun { mailbox: Some(mailbox), at: *now, probe };
        *now += Duration::from_millis(10);
        health.failed(*now, begun, PACE, 1.0);
        *now += Duration::from_millis(1);
    }
    decision
}

/// A call for a mailbox that is answered a moment after it began.
fn answered(health: &mut Health, now: &mut Instant, mailbox: &str) -> Decision {
    let decision = health.ask(*now, Some(mailbox));
    if let Decision::Go(probe) = decision {
        let begun = Begun { mailbox: Some(mailbox), at: *now, probe };
        *now += Duration::from_millis(10);
        health.answered(*now, begun);
    }
    decision
}

#[test]
fn one_mailbox_that_always_fails_backs_off_alone() {
    let (mut health, mut now) = (Health::default(), Instant::now());
    let mut asked = 0;
    for _ in 0..600 {
        asked += u32::from(matches!(fails(&mut health, &mut now, "bad"), Decision::Go(_)));
        assert_eq!(health.ask(now, Some("good")), Decision::Go(None));
        now += seconds(1);
    }
    assert!((10..=18).contains(&asked), "{asked} in ten minutes: 1, 2, 4 ... 60 s apart");
}

#[test]
fn ten_bad_mailboxes_hold_no_good_one_up_whatever_they_do() {
    let (mut health, mut now) = (Health::default(), Instant::now());
    let (mut concluded, mut asked) = (0, 0);
    for second in 0..150 {
        for bad in 0..10 {
            asked += u32::from(matches!(fails(&mut health, &mut now, &format!("bad{bad}")), Decision::Go(_)));
        }
        concluded += u32::from(!health.is_open());
        if second % 10 == 9 {
            let mut decision = answered(&mut health, &mut now, "good");
            if let Decision::Wait(at) = decision {
                assert!(second < 10 && at - now <= LONGEST_PAUSE, "only until each bad one failed once: at {second} s");
                now = at;
                decision = answered(&mut health, &mut now, "good");
            }
            assert!(matches!(decision, Decision::Go(_)), "at {second} s");
            assert!(health.is_open());
        }
        now += seconds(1);
    }
    assert!(concluded > 0, "with no answer between it was concluded now and then");
    assert!(asked < 120, "{asked} requests of the bad ones in 150 s");
}

#[test]
fn a_server_that_answers_nobody_is_asked_ever_more_seldom_and_everybody_goes_on_with_the_first_answer() {
    let (mut health, mut now) = (Health::default(), Instant::now());
    let begin = now;
    let mut minutes = [0_u32; 10];
    while now < begin + seconds(600) {
        for mailbox in 0..500 {
            let minute = usize::try_from((now - begin).as_secs() / 60).unwrap().min(9);
            minutes[minute] += u32::from(matches!(fails(&mut health, &mut now, &format!("m{mailbox}")), Decision::Go(_)));
        }
        now += Duration::from_millis(100);
    }
    assert!(minutes.iter().all(|asked| *asked <= 45), "{minutes:?}");
    now += LEASE;
    assert!(matches!(answered(&mut health, &mut now, "newcomer"), Decision::Go(Some(_))));
    assert_eq!(health.ask(now, Some("another")), Decision::Go(None));
}

#[test]
fn failures_of_one_moment_count_once() {
    let (mut health, now) = (Health::default(), Instant::now());
    let later = now + seconds(30);
    for mailbox in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(health.ask(now, Some(mailbox)), Decision::Go(None));
        assert_eq!(health.failed(later, Begun { mailbox: Some(mailbox), at: now, probe: None }, PACE, 1.0), seconds(1));
    }
    assert!(health.is_open());
    assert_eq!(health.failed(later, Begun { mailbox: Some("a"), at: now, probe: None }, PACE, 1.0), seconds(1), "not doubled");
}

#[test]
fn a_mailbox_that_stumbled_may_ask_on_and_counts_all_the_same() {
    let (mut health, mut now) = (Health::default(), Instant::now());
    for mailbox in ["a", "b", "c"] {
        let Decision::Go(probe) = health.ask(now, Some(mailbox)) else { panic!("it may") };
        let begun = Begun { mailbox: Some(mailbox), at: now, probe };
        now += Duration::from_millis(10);
        health.stumbled(now, begun, PACE, 1.0);
        assert_eq!(health.refusal(now, Some(mailbox)).is_some(), mailbox == "c", "only once the server is silent");
        now += Duration::from_millis(1);
    }
    assert!(!health.is_open());
}

#[test]
fn an_answer_between_clears_what_was_held_against_the_server() {
    let (mut health, mut now) = (Health::default(), Instant::now());
    for round in 0..50 {
        for mailbox in ["a", "b"] {
            fails(&mut health, &mut now, &format!("{mailbox}{round}"));
        }
        answered(&mut health, &mut now, "good");
        assert!(health.is_open(), "{round}");
    }
}

#[test]
fn what_the_server_says_holds_for_all_and_one_probe_goes_first() {
    let (mut health, now) = (Health::default(), Instant::now());
    health.told(now, seconds(30), Begun { mailbox: Some("a"), at: now, probe: None });
    health.told(now, seconds(5), Begun { mailbox: Some("b"), at: now, probe: None });
    health.answered(now + seconds(1), Begun { mailbox: Some("c"), at: now, probe: None });
    for mailbox in [Some("a"), Some("x"), None] {
        assert_eq!(health.ask(now + seconds(10), mailbox), Decision::Refuse(seconds(20)));
    }
    let over = now + seconds(30);
    let Decision::Go(probe @ Some(_)) = health.ask(over, Some("a")) else { panic!("a probe") };
    for _ in 0..9 {
        assert_eq!(health.ask(over, Some("x")), Decision::Wait(over + LEASE));
    }
    assert!(matches!(health.ask(over + LEASE, Some("x")), Decision::Go(Some(_))), "a probe that hangs blocks nobody for ever");
    health.answered(over + LEASE, Begun { mailbox: Some("a"), at: over, probe });
    assert_eq!(health.ask(over + LEASE, Some("y")), Decision::Go(None));
}

#[test]
fn a_probe_that_is_given_up_makes_room_for_the_next() {
    let (mut health, now) = (Health::default(), Instant::now());
    health.told(now, seconds(1), Begun { mailbox: None, at: now, probe: None });
    let now = now + seconds(1);
    let Decision::Go(probe) = health.ask(now, Some("a")) else { panic!("a probe") };
    health.gave_up(probe);
    assert!(matches!(health.ask(now, Some("b")), Decision::Go(Some(_))));
    health.gave_up(probe);
    assert!(matches!(health.ask(now, Some("c")), Decision::Wait(_)), "one that is long over gives nothing up");
}

/// One step of a script.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(&'static str),
    Answer,
    Fail,
    Tell,
    Drop,
    Pass(u64),
}

const STEPS: [Step; 9] =
    [Step::Begin("a"), Step::Begin("b"), Step::Begin("c"), Step::Answer, Step::Fail, Step::Tell, Step::Drop, Step::Pass(1), Step::Pass(70)];

#[test]
fn whatever_happens_nobody_waits_for_ever_and_a_mailbox_that_did_not_fail_waits_for_a_probe_alone() {
    for script in 0..STEPS.len().pow(6) {
        let (mut health, mut now) = (Health::default(), Instant::now());
        let mut under_way: Vec<Begun<'_>> = Vec::new();
        let mut left = script;
        for _ in 0..6 {
            let step = STEPS[left % STEPS.len()];
            left /= STEPS.len();
            now += Duration::from_millis(1);
            match step {
                Step::Begin(mailbox) => {
                    if let Decision::Go(probe) = health.ask(now, Some(mailbox)) {
                        under_way.push(Begun { mailbox: Some(mailbox), at: now, probe });
                    }
                }
                Step::Pass(time) => now += seconds(time),
                Step::Answer | Step::Fail | Step::Tell | Step::Drop => {
                    let Some(begun) = under_way.pop() else { continue };
                    match step {
                        Step::Answer => health.answered(now, begun),
                        Step::Fail => drop(health.failed(now, begun, PACE, 1.0)),
                        Step::Tell => health.told(now, seconds(20), begun),
                        _ => health.gave_up(begun.probe),
                    }
                }
            }
            let told = health.told_silence(now).is_some();
            match health.refusal(now, Some("fresh")) {
                Some(left) => assert!(told && left <= seconds(20), "{script} {step:?}: {left:?}"),
                None => assert!(!told),
            }
            assert!(health.refusal(now, Some("a")).is_none_or(|left| left <= seconds(60)), "{script}");
        }
        let rest = now + seconds(60) + LEASE;
        assert!(matches!(health.ask(rest, Some("a")), Decision::Go(_)), "{script}: nothing lasts for ever");
    }
}
