//! Sending: rows in hand become pushes, verdicts become marks and retries, what was left behind collapses.

mod behind;

use super::*;
use crate::delivery::batch::HoldBudget;
use crate::delivery::fanout::{mail_rows, new_mails};
use crate::delivery::message::{Sent, code};
use crate::delivery::outgoing::{Outgoing, Row};
use crate::delivery::send::{Effect, Sending};
use crate::ports::StoreError;
use crate::ports::delivery_store::{Mark, Retry, Settled};
use crate::ports::mail_source::{MailContent, SourceError};
use crate::ports::mailbox_store::DeliveryKind;
use crate::ports::push_sender::{Content, Permit, Push, Verdict};
use crate::settings::Settings;

fn line(number: u32) -> Row {
    Row { id: id(number.into()), event: event(number), item: Some(item(number)), received_at: NOON - seconds(number.into()), count: 1 }
}

/// A push of these mails, newest first, to one device.
fn outgoing(device: i64, numbers: &[u32]) -> Outgoing {
    Outgoing {
        device: DeviceId(device),
        generation: Generation(1),
        channel: Some(channel()),
        kind: DeliveryKind::Mail,
        group: event(numbers[0]),
        rows: numbers.iter().map(|number| line(*number)).collect(),
        attempts: 0,
        refused: true,
        expires_at: NOON + seconds(86_400),
    }
}

fn shows(number: u32, read: bool) -> Option<MailContent> {
    Some(MailContent { sender: "Ada".into(), subject: format!("mail {number}"), preview: String::new(), read })
}

/// The outside of a sending part: answers what is asked, and remembers.
struct Outside {
    machine: Sending,
    millis: u64,
    gate_open: bool,
    turn: Result<(), Duration>,
    begins: Result<(), StoreError>,
    /// Tries that were noted to begin, and how many pushes had been sent by then.
    begun: Vec<(usize, Vec<Retry>)>,
    device: Option<DeviceNow>,
    contents: Vec<(EventKey, Option<MailContent>)>,
    verdicts: Vec<Verdict>,
    pushes: Vec<Push>,
    asked: usize,
    marks: Vec<Mark>,
    retries: Vec<Retry>,
    forgotten: usize,
    done: Option<bool>,
}

impl Outside {
    fn new(pushes: Vec<Outgoing>, order: Order, budget: usize) -> Self {
        let contents =
            pushes.iter().flat_map(|push| &push.rows).map(|row| (row.event, shows(u32::try_from(row.id.0).unwrap_or(0), false))).collect();
        let at = moment(0).at;
        let machine = Sending::new((MAILBOX, AUTHORITY), pushes, order, at, HoldBudget::new(budget), &Settings::default());
        let (marks, retries, verdicts) = (Vec::new(), Vec::new(), Vec::new());
        let (device, pushes) = (Some(device(1)), Vec::new());
        Self {
            machine,
            millis: 0,
            gate_open: true,
            turn: Ok(()),
            begins: Ok(()),
            begun: Vec::new(),
            device,
            contents,
            verdicts,
            pushes,
            asked: 0,
            marks,
            retries,
            forgotten: 0,
            done: None,
        }
    }

    fn now(&self) -> Moment {
        Moment { gate_open: self.gate_open, ..moment(self.millis) }
    }

    /// Runs until nothing is asked any more, then lets alarms come until it is over.
    fn run(&mut self) {
        let settings = Settings::default();
        let mut effects = self.machine.begin(self.now(), &settings);
        for _ in 0..1_000 {
            let Some(effect) = effects.pop() else {
                if self.done.is_some() {
                    return;
                }
                let due = self.machine.due().since(moment(0).at);
                self.millis = u64::try_from(due.as_micros().div_ceil(1_000)).expect("due in time").max(self.millis);
                effects = self.machine.step(self.now(), Sent::Alarm, &settings);
                continue;
            };
            if let Some(answer) = self.answer(effect) {
                effects.append(&mut self.machine.step(self.now(), answer, &settings));
            }
        }
        panic!("it never ends");
    }

    fn answer(&mut self, effect: Effect) -> Option<Sent> {
        Some(match effect {
            Effect::Contents(asked) => {
                self.asked += 1;
                let find = |event: &EventKey| self.contents.iter().find(|(of, _)| of == event).and_then(|(_, mail)| mail.clone());
                let answer = asked.iter().map(|(event, _)| find(event)).collect();
                Sent::Contents(asked.into_iter().map(|(event, _)| event).collect(), Ok(answer))
            }
            Effect::Unread => Sent::Unread(Ok(5)),
            Effect::Turn(place, ..) => Sent::Turn(place, self.turn),
            Effect::Begin(place, retries) => {
                self.begun.push((self.pushes.len(), retries));
                Sent::Begun(place, self.begins.clone())
            }
            Effect::Room(place, ..) => Sent::Room(place, Ok(Permit::unlimited())),
            Effect::Device(place, _) => Sent::Device(place, Ok(self.device.clone())),
            Effect::Send { place, push, .. } => {
                self.pushes.push(push);
                let verdict = if self.verdicts.is_empty() { Verdict::Accepted } else { self.verdicts.remove(0) };
                Sent::Answer(place, verdict)
            }
            Effect::Forget(..) => {
                self.forgotten += 1;
                Sent::Forgotten
            }
            Effect::Write(marks, retries) => {
                self.marks.extend(marks);
                self.retries.extend(retries);
                Sent::Written(Ok(()))
            }
            Effect::Done { left } => {
                self.done = Some(left);
                return None;
            }
        })
    }

    fn settled(&self) -> Vec<(i64, Settled, &str)> {
        let mut settled: Vec<_> = self.marks.iter().map(|mark| (mark.id.0, mark.settled, &*mark.reason)).collect();
        settled.sort_unstable();
        settled
    }
}

fn sent(pushes: Vec<Outgoing>) -> Outside {
    Outside::new(pushes, order(Work::Sync), 1 << 20)
}

fn later() -> Verdict {
    Verdict::Later { after: None, reason: code("later") }
}

#[test]
fn a_push_shows_the_newest_counts_all_and_marks_every_row() {
    let mut outside = sent(vec![outgoing(1, &[1, 2, 3])]);
    outside.run();
    let push = &outside.pushes[0];
    assert!(matches!(&push.content, Content::Details { subject, .. } if subject == "mail 1"));
    assert_eq!((push.count, push.badge, push.hashes.clone()), (3, Some(3), vec![event(1), event(2), event(3)]));
    assert_eq!(outside.settled(), [(1, Settled::Sent, "accepted"), (2, Settled::Sent, "accepted"), (3, Settled::Sent, "accepted")]);
    assert_eq!(outside.done, Some(false));
}

#[test]
fn a_mail_that_is_gone_or_read_is_superseded_and_the_next_newest_is_shown_under_the_same_ids() {
    let mut outside = sent(vec![outgoing(1, &[1, 2, 3])]);
    outside.contents[0].1 = None;
    outside.contents[1].1 = shows(2, true);
    outside.run();
    let push = &outside.pushes[0];
    assert!(matches!(&push.content, Content::Details { subject, .. } if subject == "mail 3"));
    assert_eq!((push.event, push.count), (event(1), 1));
    assert_eq!(outside.settled(), [(1, Settled::Superseded, "gone"), (2, Settled::Superseded, "read"), (3, Settled::Sent, "accepted")]);
}

#[test]
fn when_all_are_gone_nothing_is_sent() {
    let mut outside = sent(vec![outgoing(1, &[1])]);
    outside.contents[0].1 = None;
    outside.run();
    assert!(outside.pushes.is_empty());
    assert_eq!(outside.settled(), [(1, Settled::Superseded, "gone")]);
}

#[test]
fn each_verdict_does_what_it_says() {
    let reason = || code("why");
    let cases = [
        (Verdict::Accepted, Some(Settled::Sent), 0),
        (Verdict::Refused { reason: reason() }, Some(Settled::Dead), 0),
        (Verdict::DeviceGone { since: None, certain: false, reason: reason() }, Some(Settled::Dead), 1),
    ];
    for (verdict, settled, forgotten) in cases {
        let mut outside = sent(vec![outgoing(1, &[1])]);
        outside.verdicts = vec![verdict.clone()];
        outside.run();
        assert_eq!((outside.marks.first().map(|mark| mark.settled), outside.forgotten), (settled, forgotten), "{verdict:?}");
        assert!(outside.retries.is_empty() && outside.pushes.len() == 1, "{verdict:?}");
    }
    for (verdict, refused) in
        [(later(), true), (Verdict::Unknown { reason: reason() }, false), (Verdict::Credentials { reason: reason() }, true)]
    {
        let mut outside = Outside::new(vec![outgoing(1, &[1])], Order { hold: false, ..order(Work::Sync) }, 0);
        outside.verdicts = vec![verdict.clone()];
        outside.run();
        assert_eq!(outside.retries.iter().map(|retry| retry.refused).collect::<Vec<_>>(), [refused], "{verdict:?}");
        assert!(outside.marks.is_empty() && outside.forgotten == 0, "{verdict:?}");
    }
}

#[test]
fn repeats_within_a_minute_use_the_content_in_memory_and_then_the_rows_wait() {
    let mut outside = sent(vec![outgoing(1, &[1])]);
    outside.verdicts = (0..50).map(|_| later()).collect();
    outside.run();
    assert_eq!(outside.asked, 1, "the mail is read once");
    assert!(outside.pushes.len() >= 5, "{} tries", outside.pushes.len());
    assert!(outside.pushes.iter().all(|push| push.id == outside.pushes[0].id));
    assert_eq!(outside.retries.len(), 1);
    assert!(outside.millis <= 60_000, "{} ms", outside.millis);
}

#[test]
fn what_was_tried_before_is_read_when_its_turn_comes_and_not_before() {
    let tried = || Outgoing { attempts: 3, ..outgoing(1, &[1, 2]) };
    let mut outside = sent(vec![tried()]);
    outside.turn = Err(seconds(40));
    outside.run();
    assert_eq!((outside.asked, outside.pushes.len(), outside.retries.len()), (0, 0, 2));
    assert!(outside.retries.iter().all(|retry| retry.refused && retry.next_at >= NOON + seconds(40)));
    let mut outside = sent(vec![tried()]);
    outside.run();
    assert_eq!((outside.asked, outside.pushes.len(), outside.retries.len()), (1, 1, 0));
}

#[test]
fn a_row_is_in_the_hands_of_its_delivery_for_as_long_as_that_may_live() {
    let settings = Settings::default();
    let mails = new_mails(&[mail(1, NOON)], &row(), NOON, &settings);
    let rows = mail_rows(&mails, &recipient(1, &[]), NOON, &settings);
    let committed = NOON + settings.collect_deadline;
    let mut outside = sent(vec![outgoing(1, &[1])]);
    let effects = outside.machine.begin(moment(0), &settings);
    assert!(matches!(effects[..], [Effect::Contents(_)]), "which is not answered: {effects:?}");
    let life = outside.machine.due().since(moment(0).at);
    outside.millis = u64::try_from(life.as_millis()).expect("within time");
    let effects = outside.machine.step(outside.now(), Sent::Alarm, &settings);
    assert!(matches!(effects[..], [Effect::Done { left: true }]), "{effects:?}");
    assert!(rows[0].next_at >= committed + life, "{:?}", rows[0].next_at.since(NOON));
}

#[test]
fn without_room_in_the_budget_content_is_not_held() {
    let mut outside = Outside::new(vec![outgoing(1, &[1])], order(Work::Sync), 100);
    outside.verdicts = vec![later()];
    outside.run();
    assert_eq!((outside.pushes.len(), outside.retries.len()), (1, 1));
}

#[test]
fn a_provider_that_names_a_time_is_not_asked_before() {
    let mut outside = sent(vec![outgoing(1, &[1])]);
    outside.verdicts = vec![Verdict::Later { after: Some(seconds(600)), reason: code("later") }];
    outside.run();
    assert!(outside.retries[0].next_at >= NOON + seconds(600));
}

#[test]
fn a_closed_gate_leaves_the_row_as_it_is() {
    let mut outside = sent(vec![outgoing(1, &[1])]);
    outside.gate_open = false;
    outside.run();
    assert!(outside.pushes.is_empty() && outside.marks.is_empty() && outside.retries.is_empty());
    assert_eq!(outside.done, Some(true));
}

#[test]
fn a_device_that_is_gone_supersedes_and_an_expired_row_dies() {
    let mut outside = sent(vec![outgoing(1, &[1])]);
    outside.device = None;
    outside.run();
    assert_eq!((outside.settled(), outside.pushes.len()), (vec![(1, Settled::Superseded, "device_gone")], 0));
    let mut outside = sent(vec![Outgoing { expires_at: NOON, ..outgoing(1, &[1]) }]);
    outside.run();
    assert_eq!((outside.settled(), outside.pushes.len()), (vec![(1, Settled::Dead, "expired")], 0));
}

#[test]
fn a_device_registered_anew_is_sent_to_under_its_new_channel_and_token() {
    let mut anew = device(1);
    anew.generation = Generation(2);
    anew.channel.app = "another app".into();
    let mut outside = sent(vec![outgoing(1, &[1])]);
    outside.device = Some(anew.clone());
    outside.run();
    assert_eq!(outside.settled(), vec![(1, Settled::Sent, "accepted")]);
    assert_eq!(outside.pushes.iter().map(|push| push.channel.clone()).collect::<Vec<_>>(), [anew.channel]);
}

#[test]
fn content_that_cannot_be_read_twice_is_left_out_and_the_mail_is_announced() {
    let settings = Settings::default();
    let mut outside = sent(vec![outgoing(1, &[1])]);
    let mut effects = outside.machine.begin(moment(0), &settings);
    let mut tries = 0;
    while tries < 2 {
        let Some(effect) = effects.pop() else {
            outside.millis += 2_000;
            effects = outside.machine.step(outside.now(), Sent::Alarm, &settings);
            continue;
        };
        let Effect::Contents(asked) = effect else { continue };
        tries += 1;
        let error = SourceError::Unavailable { code: "busy".into() };
        let answer = Sent::Contents(asked.into_iter().map(|(event, _)| event).collect(), Err(error));
        effects.append(&mut outside.machine.step(outside.now(), answer, &settings));
    }
    while let Some(effect) = effects.pop() {
        if let Some(answer) = outside.answer(effect) {
            effects.append(&mut outside.machine.step(outside.now(), answer, &settings));
        }
    }
    assert_eq!((outside.pushes[0].content.clone(), outside.pushes[0].count), (Content::MailOnly, 1));
}

#[test]
fn more_pushes_than_one_delivery_takes_are_left_for_the_next() {
    let pushes = (0..40).map(|number| outgoing(i64::from(number), &[number])).collect();
    let mut outside = sent(pushes);
    outside.run();
    assert_eq!((outside.pushes.len(), outside.done), (32, Some(true)));
}

#[test]
fn at_a_hand_over_what_is_not_at_its_provider_is_left_to_the_next_owner_and_what_is_there_is_waited_for() {
    let settings = Settings::default();
    // Two devices: the first push is at its provider, the second waits for its content.
    let mut outside = sent(vec![outgoing(1, &[1]), outgoing(2, &[2])]);
    let mut effects = outside.machine.begin(moment(0), &settings);
    let mut at_provider = false;
    while let Some(effect) = effects.pop() {
        let first = |place: &usize| *place == 0;
        match &effect {
            Effect::Contents(asked) => {
                let (events, contents) = asked.iter().map(|(event, _)| (*event, shows(1, false))).unzip();
                effects.append(&mut outside.machine.step(outside.now(), Sent::Contents(events, Ok(contents)), &settings));
            }
            Effect::Room(place, ..) | Effect::Device(place, _) if !first(place) => {}
            Effect::Send { .. } => at_provider = true,
            _ => {
                if let Some(answer) = outside.answer(effect) {
                    effects.append(&mut outside.machine.step(outside.now(), answer, &settings));
                }
            }
        }
    }
    assert!(at_provider);
    assert!(
        outside.machine.step(outside.now(), Sent::Settle { hand_over: true }, &settings).is_empty(),
        "the one at its provider is waited for"
    );
    // What comes late for the one that was left begins nothing.
    let device = Sent::Device(1, Ok(outside.device.clone()));
    let late = [Sent::Room(1, Ok(Permit::unlimited())), device, Sent::Turn(1, Ok(()))];
    assert!(late.into_iter().all(|late| outside.machine.step(outside.now(), late, &settings).is_empty()));
    let mut effects = outside.machine.step(outside.now(), Sent::Answer(0, Verdict::Accepted), &settings);
    while let Some(effect) = effects.pop() {
        if let Some(answer) = outside.answer(effect) {
            effects.append(&mut outside.machine.step(outside.now(), answer, &settings));
        }
    }
    assert_eq!(outside.settled(), [(1, Settled::Sent, "accepted")]);
    assert_eq!(outside.done, Some(true), "rows are left");
}
