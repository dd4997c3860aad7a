//! What is concluded of a channel, and what never is: one witness is no evidence, and any success ends a conclusion.

use std::sync::Arc;

use super::*;

fn gone() -> Verdict {
    Verdict::DeviceGone { since: None, certain: false, reason: Arc::from("BadDeviceToken") }
}

fn certainly_gone() -> Verdict {
    Verdict::DeviceGone { since: None, certain: true, reason: Arc::from("Unregistered") }
}

fn later(asked: Option<u64>) -> Verdict {
    Verdict::Later { after: asked.map(Duration::from_secs), reason: Arc::from("ServiceUnavailable") }
}

fn refused() -> Verdict {
    Verdict::Refused { reason: Arc::from("http-422") }
}

fn credentials() -> Verdict {
    Verdict::Credentials { reason: Arc::from("InvalidProviderToken") }
}

fn second(count: i64) -> Monotonic {
    Monotonic(count * 1_000_000)
}

/// The device of that number; ten devices a mailbox where the mailbox is not told.
fn whose(mailbox: i64, device: i64) -> Whose {
    Whose { mailbox: MailboxId(mailbox), device: DeviceId(device) }
}

/// The answer to the send at that second, to a device of that number in a mailbox of its own.
fn note(breaker: &mut Breaker, at: i64, device: i64, verdict: &Verdict) -> Judgement {
    note_of(breaker, at, (device, device), verdict)
}

fn note_of(breaker: &mut Breaker, at: i64, (mailbox, device): (i64, i64), verdict: &Verdict) -> Judgement {
    breaker.note(second(at), whose(mailbox, device), &PushToken(device.to_string().into()), verdict, &Settings::default())
}

fn may(breaker: &mut Breaker, at: i64, (mailbox, device): (i64, i64)) -> bool {
    breaker.room(second(at), whose(mailbox, device), &Settings::default()).is_ok()
}

/// One send: the minute, the device, the answer.
type Send = (i64, i64, Verdict);

/// The devices that are forgotten after these sends over one channel.
fn forgotten(sends: impl IntoIterator<Item = Send>) -> Vec<i64> {
    let mut breaker = Breaker::default();
    let mut forgotten = Vec::new();
    for (minute, device, verdict) in sends {
        let gone = matches!(verdict, Verdict::DeviceGone { .. });
        if note(&mut breaker, minute * 60, device, &verdict) == Judgement::Stands && gone {
            forgotten.push(device);
        }
    }
    forgotten
}

#[test]
fn a_channel_s_only_device_is_forgotten_when_its_provider_is_certain_again_and_again_and_nobody_else_is() {
    let none: [i64; 0] = [];
    let certain = |minutes: std::ops::Range<i64>, device| minutes.map(move |minute| (minute, device, certainly_gone()));
    let table: Vec<(&str, Vec<Send>, Vec<i64>)> = vec![
        ("five times, a minute apart", certain(0..5, 1).collect(), vec![1]),
        ("four times", certain(0..4, 1).collect(), none.into()),
        ("for many mails in one minute", std::iter::repeat_n((7, 1, certainly_gone()), 50).collect(), none.into()),
        ("a wrong environment or topic for one device", (0..100).map(|minute| (minute, 1, gone())).collect(), none.into()),
        (
            "certain now and then only",
            (0..8).map(|minute| (minute, 1, if minute % 2 == 0 { certainly_gone() } else { gone() })).collect(),
            none.into(),
        ),
        ("two devices, in turn", (0..100).map(|minute| (minute, minute % 2, certainly_gone())).collect(), none.into()),
        ("everybody, one after the other", (0..20).flat_map(|device| certain(device * 10..device * 10 + 10, device)).collect(), vec![0]),
        ("another one was doubted before", std::iter::once((0, 2, gone())).chain(certain(1..100, 1)).collect(), none.into()),
        (
            "another one was doubted the day before yesterday",
            std::iter::once((0, 2, gone())).chain(certain(2_880..2_885, 1)).collect(),
            vec![1],
        ),
        (
            "the next one after a push that was taken",
            certain(0..5, 1).chain([(5, 2, Verdict::Accepted)]).chain(certain(6..11, 3)).collect(),
            vec![1, 3],
        ),
    ];
    for (what, sends, expected) in table {
        assert_eq!(forgotten(sends), expected, "{what}");
    }
}

#[test]
fn a_wrong_topic_for_everybody_forgets_nobody_and_rests() {
    let mut breaker = Breaker::default();
    for send in 0..1_000 {
        assert!(matches!(note(&mut breaker, 0, send, &gone()), Judgement::Doubted(_)), "send {send}");
    }
    assert_eq!(breaker.trouble(), Some(Trouble::Configuration));
    assert!(!may(&mut breaker, 1, (2_000, 2_000)));
}

#[test]
fn a_wrong_topic_from_one_moment_on_forgets_nobody() {
    let mut breaker = Breaker::default();
    for at in 0..100 {
        note(&mut breaker, at, at, &Verdict::Accepted);
    }
    let forgotten = (0..100).filter(|at| note(&mut breaker, 100 + at, *at, &gone()) == Judgement::Stands).count();
    assert_eq!(forgotten, 0);
    assert_eq!(breaker.trouble(), Some(Trouble::Configuration));
}

#[test]
fn one_device_in_ten_is_believed_to_be_gone() {
    let mut breaker = Breaker::default();
    for at in 0..200 {
        let verdict = if at % 10 == 9 { gone() } else { Verdict::Accepted };
        assert_eq!(note(&mut breaker, at, at, &verdict), Judgement::Stands, "send {at}");
    }
    assert_eq!(breaker.trouble(), None);
}

#[test]
fn a_device_that_worked_and_is_not_certainly_gone_is_believed_at_the_second_word_a_pause_later() {
    let mut breaker = Breaker::default();
    let others = |breaker: &mut Breaker, at| {
        (10..30).for_each(|device| assert_eq!(note(breaker, at, device, &Verdict::Accepted), Judgement::Stands))
    };
    note(&mut breaker, 0, 1, &Verdict::Accepted);
    for (at, expected) in [(10, false), (30, false), (71, true)] {
        others(&mut breaker, at - 1);
        assert_eq!(note(&mut breaker, at, 1, &gone()) == Judgement::Stands, expected, "after {at} s");
    }
    assert_eq!(breaker.trouble(), None);
}

#[test]
fn one_device_that_is_gone_among_two_is_believed_after_some_success_of_the_other_and_raises_no_alarm() {
    let mut breaker = Breaker::default();
    let mut tries = 0;
    while note(&mut breaker, tries, 2, &gone()) != Judgement::Stands {
        note(&mut breaker, tries, 1, &Verdict::Accepted);
        tries += 1;
        assert!(tries < 10 && breaker.trouble().is_none());
    }
}

#[test]
fn one_user_with_ever_other_made_up_tokens_never_keeps_anybody_from_a_push() {
    let table = [("uncertain", gone()), ("certain", certainly_gone())];
    for (what, verdict) in table {
        let mut breaker = Breaker::default();
        for at in 0..3_600 {
            assert!(matches!(note_of(&mut breaker, at, (1, 100 + at), &verdict), Judgement::Doubted(_)));
            assert!(may(&mut breaker, at, (2, 2)), "{what}: after {at} s");
        }
        assert_eq!(breaker.trouble(), None, "{what}");
    }
}

#[test]
fn tokens_that_never_worked_say_nothing_of_the_channel_while_others_are_accepted() {
    let mut breaker = Breaker::default();
    for device in 0..500 {
        note(&mut breaker, device / 10, 1, &Verdict::Accepted);
        for more in 0..3 {
            note(&mut breaker, device / 10, 1_000 + device * 3 + more, &gone());
        }
        assert!(may(&mut breaker, device / 10, (1, 1)));
    }
    // None of them speaks, though nobody is accepted for five minutes.
    for device in 0..100 {
        note(&mut breaker, 50 + device * 3, 5_000 + device, &gone());
    }
    assert_eq!(breaker.trouble(), None);
}

#[test]
fn one_device_that_always_fails_keeps_nobody_waiting_whatever_it_is_answered() {
    let unknown = Verdict::Unknown { reason: Arc::from("no answer in time") };
    let alone = Verdict::Undeliverable { reason: Arc::from("THIRD_PARTY_AUTH_ERROR") };
    for verdict in [later(None), later(Some(30)), unknown, refused(), credentials(), gone(), certainly_gone(), alone] {
        let mut breaker = Breaker::default();
        for at in 0..600 {
            note(&mut breaker, at, 1, &verdict);
            assert!(may(&mut breaker, at, (2, 2)), "{verdict:?} at {at} s");
            assert_eq!(breaker.turn(second(at), whose(3, 3), &Settings::default()), Ok(()), "{verdict:?} at {at} s");
        }
    }
}

#[test]
fn two_devices_of_one_user_wait_for_each_other_s_provider_in_nothing() {
    let mut breaker = Breaker::default();
    for at in 0..600 {
        note_of(&mut breaker, at, (1, 1), &later(Some(40)));
        assert!(may(&mut breaker, at, (1, 2)));
        assert!(!may(&mut breaker, at, (1, 1)), "it asked to wait");
    }
}

#[test]
fn a_refusal_of_one_device_is_its_own_and_one_of_several_with_no_success_between_is_everybody_s() {
    let mut breaker = Breaker::default();
    assert_eq!(note(&mut breaker, 0, 1, &refused()), Judgement::Stands, "nobody else is there");
    // Others are accepted: a second opinion after five seconds, and no alarm.
    let mut breaker = Breaker::default();
    note(&mut breaker, 0, 2, &Verdict::Accepted);
    assert_eq!(note(&mut breaker, 1, 1, &refused()), Judgement::Doubted(Duration::from_secs(5)));
    note(&mut breaker, 3, 2, &Verdict::Accepted);
    assert_eq!(note(&mut breaker, 6, 1, &refused()), Judgement::Stands);
    assert_eq!(breaker.trouble(), None);
    // Everybody from one moment on: no row is given up.
    let mut breaker = Breaker::default();
    (0..20).for_each(|device| assert_eq!(note(&mut breaker, 0, device, &Verdict::Accepted), Judgement::Stands));
    for at in 0..3_600 {
        for device in 0..20 {
            if may(&mut breaker, at, (device, device)) {
                assert!(matches!(note(&mut breaker, at, device, &refused()), Judgement::Doubted(_)), "device {device} at {at} s");
            }
        }
    }
    assert_eq!(breaker.trouble(), Some(Trouble::Refused));
    note(&mut breaker, 3_600, 1, &Verdict::Accepted);
    assert_eq!((breaker.trouble(), may(&mut breaker, 3_600, (7, 7))), (None, true), "one that is taken ends it");
}

#[test]
fn credentials_that_are_refused_to_two_mailboxes_rest_the_channel_and_to_one_alone_raise_the_alarm() {
    let mut breaker = Breaker::default();
    note(&mut breaker, 0, 1, &credentials());
    assert_eq!((breaker.trouble(), may(&mut breaker, 0, (1, 1)), may(&mut breaker, 0, (2, 2))), (Some(Trouble::Credentials), false, true));
    note(&mut breaker, 1, 2, &credentials());
    assert!(!may(&mut breaker, 2, (3, 3)) && !may(&mut breaker, 59, (3, 3)));
    assert!(may(&mut breaker, 61, (3, 3)));
    note(&mut breaker, 61, 3, &Verdict::Accepted);
    assert_eq!((breaker.trouble(), may(&mut breaker, 61, (1, 1))), (None, true));
}

#[test]
fn after_a_pause_three_mailboxes_try_and_the_next_pause_is_longer_if_they_fail() {
    let mut breaker = Breaker::default();
    for device in 0..30 {
        note(&mut breaker, 0, device, &credentials());
    }
    let mut tries = Vec::new();
    for at in 1..1_000 {
        for device in 0..30 {
            if may(&mut breaker, at, (device, device)) {
                tries.push(at);
                note(&mut breaker, at, device, &credentials());
            }
        }
    }
    tries.dedup();
    assert_eq!(tries, [60, 180, 420, 720], "pauses of one, two, four and five minutes");
}

#[test]
fn while_a_provider_is_away_one_push_that_was_tried_before_a_minute_finds_out_whether_it_is_back() {
    let settings = Settings::default();
    let mut breaker = Breaker::default();
    for device in 1..3 {
        note(&mut breaker, 0, device, &later(None));
    }
    assert_eq!(breaker.turn(second(1), whose(9, 9), &settings), Ok(()), "some tries fail in the best of times");
    note(&mut breaker, 1, 3, &later(None));
    assert_eq!(breaker.trouble(), Some(Trouble::Away));
    let waits = |seconds| Err(Waits { left: Duration::from_secs(seconds), trouble: Some(Trouble::Away) });
    assert_eq!(breaker.turn(second(21), whose(9, 9), &settings), waits(40));
    assert!(may(&mut breaker, 21, (9, 9)), "new mail finds out too");
    assert_eq!(breaker.turn(second(61), whose(9, 9), &settings), Ok(()));
    assert_eq!(breaker.turn(second(62), whose(8, 8), &settings), waits(59), "one at a time");
    assert_eq!(breaker.turn(second(121), whose(9, 9), &settings), waits(30), "whoever had the last turn lets others go first");
    assert_eq!(breaker.turn(second(121), whose(8, 8), &settings), Ok(()));
    note(&mut breaker, 122, 2, &Verdict::Accepted);
    assert_eq!(breaker.turn(second(122), whose(1, 1), &settings), Ok(()), "it is back");
}

#[test]
fn a_device_that_fails_again_and_again_has_one_turn_a_minute_and_new_mail_every_five_seconds() {
    let settings = Settings::default();
    let mut breaker = Breaker::default();
    let (mut turns, mut sends) = (0, 0);
    for at in 0..600 {
        if may(&mut breaker, at, (1, 1)) {
            sends += 1;
            note(&mut breaker, at, 1, &later(None));
        }
        turns += u32::from(breaker.turn(second(at), whose(1, 1), &settings).is_ok());
    }
    assert!((100..=130).contains(&sends), "{sends} sends in ten minutes");
    assert!(turns <= 10, "{turns} turns in ten minutes");
}

#[test]
fn several_who_are_asked_to_wait_are_waited_for_and_one_is_not() {
    let mut breaker = Breaker::default();
    for device in 0..2 {
        note(&mut breaker, 0, device, &later(Some(30)));
    }
    assert!(may(&mut breaker, 0, (5, 5)));
    note(&mut breaker, 0, 2, &later(Some(20)));
    assert_eq!(breaker.trouble(), Some(Trouble::Asked));
    assert!(!may(&mut breaker, 19, (5, 5)));
    assert!(may(&mut breaker, 20, (5, 5)));
    note(&mut breaker, 20, 5, &Verdict::Accepted);
    assert_eq!(breaker.trouble(), None);
}

#[test]
fn a_device_that_does_not_answer_keeps_one_place_and_no_other_device_from_it() {
    let mut breaker = Breaker::default();
    breaker.begins(second(0), DeviceId(1));
    assert!(!may(&mut breaker, 3, (1, 1)) && may(&mut breaker, 3, (1, 2)));
    breaker.ended(DeviceId(1));
    assert!(may(&mut breaker, 15, (1, 1)));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut breaker = Breaker::default();
    for device in 0..20_000 {
        note(
            &mut breaker,
            device / 100,
            device,
            &[Verdict::Accepted, later(None), gone(), refused()][usize::try_from(device % 4).unwrap()],
        );
    }
    assert!(format!("{breaker:?}").len() < 2_000_000);
}
