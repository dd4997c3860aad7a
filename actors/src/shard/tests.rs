//! The shard's state machine by scripts: adoption, restarts, warm-up, hand-over, new epochs.

use std::sync::Arc;
use std::time::Duration;

use super::state::{Effect, Input, Shard};
use crate::ids::{Fence, MailboxId, Session, Smtp, TenantId};
use crate::ports::StoreError;
use crate::ports::cluster_store::{AdoptedShard, OwnedMailbox, ShardSeen, Target};
use crate::ports::mail_source::{MailboxRef, SourceError};
use crate::settings::Settings;
use crate::time::{Monotonic, Timestamp};

const EPOCH: Fence = Fence(7);

fn row(id: i64) -> OwnedMailbox {
    let smtp = Arc::new(Smtp::new("a@example.com"));
    let mailbox = MailboxRef { id: MailboxId(id), tenant: TenantId(Arc::from("t")), smtp };
    OwnedMailbox { mailbox, seeded: true, badge_dirty: false, pending: false, announced_until: Timestamp(0) }
}

fn shard_of(change_seq: i64, ids: &[i64]) -> AdoptedShard {
    AdoptedShard { change_seq, mailboxes: ids.iter().map(|id| row(*id)).collect() }
}

fn loaded(change_seq: i64, ids: &[i64]) -> Input {
    Input::Rows(EPOCH, Ok(Some(shard_of(change_seq, ids))))
}

fn peeked(ids: &[i64]) -> Input {
    Input::Peeked(Ok(Some(shard_of(1, ids))))
}

fn owned(epoch: Fence, change_seq: i64, target: Option<bool>) -> Input {
    let target = target.map(|ready| Target { session: Session(9), ready });
    Input::Owned(ShardSeen { shard: crate::ids::ShardId(1), epoch, change_seq, target })
}

fn away() -> StoreError {
    StoreError::Unavailable(String::new())
}

fn step(shard: &mut Shard, millis: i64, input: Input) -> Vec<String> {
    let effects = shard.step(Monotonic(millis * 1_000), input, &Settings::default());
    effects.iter().map(name).collect()
}

fn turn(shard: &mut Shard, millis: i64, id: i64) -> Vec<String> {
    step(shard, millis, Input::Turn(MailboxId(id)))
}

fn name(effect: &Effect) -> String {
    match effect {
        Effect::Peek => "peek".into(),
        Effect::AskTurn(mailbox, _) => format!("turn {}?", mailbox.id),
        Effect::Warm(mailbox) => format!("warm {}", mailbox.id),
        Effect::Cool(mailbox) => format!("cool {mailbox}"),
        Effect::Ready => "ready".into(),
        Effect::Adopt(epoch) => format!("adopt {}", epoch.0),
        Effect::Reload(epoch) => format!("reload {}", epoch.0),
        Effect::Start(row, 0) => format!("start {}", row.mailbox.id),
        Effect::Start(row, times) => format!("start {} after {times}", row.mailbox.id),
        Effect::Restamp(row, epoch) => format!("restamp {} under {}", row.mailbox.id, epoch.0),
        Effect::Stop(mailbox) => format!("stop {mailbox}"),
        Effect::Hold => "hold".into(),
        Effect::GiveUp => "give up".into(),
        Effect::Unhold => "unhold".into(),
        Effect::Offer(epoch) => format!("offer {}", epoch.0),
        Effect::Release => "release".into(),
    }
}

/// An owned shard whose mailboxes run.
fn running(ids: &[i64]) -> Shard {
    let mut shard = Shard::new(1);
    assert_eq!(step(&mut shard, 0, owned(EPOCH, 5, None)), ["adopt 7"]);
    assert_eq!(step(&mut shard, 10, loaded(5, ids)), ids.iter().map(|id| format!("turn {id}?")).collect::<Vec<_>>());
    for id in ids {
        assert_eq!(turn(&mut shard, 20, *id), [format!("start {id}")]);
    }
    shard
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_shard_is_adopted_and_its_mailboxes_start_when_their_turn_comes() {
    let mut shard = Shard::new(1);
    assert_eq!(step(&mut shard, 0, owned(EPOCH, 5, None)), ["adopt 7"]);
    assert_eq!(step(&mut shard, 10, loaded(5, &[1, 2])), ["turn 1?", "turn 2?"]);
    assert_eq!(turn(&mut shard, 20, 2), ["start 2"]);
    assert_eq!(turn(&mut shard, 30, 2), NOTHING);
    assert_eq!(turn(&mut shard, 40, 1), ["start 1"]);
    assert_eq!(step(&mut shard, 50, owned(EPOCH, 5, None)), NOTHING);
    assert_eq!(shard.due(), Monotonic::NEVER);
}

#[test]
fn a_mailbox_added_or_removed_through_anybody_is_started_or_stopped() {
    let mut shard = running(&[1]);
    assert_eq!(step(&mut shard, 2_000, owned(EPOCH, 6, None)), ["reload 7"]);
    assert_eq!(step(&mut shard, 2_000, owned(EPOCH, 7, None)), NOTHING, "one look at a time");
    assert_eq!(step(&mut shard, 3_000, loaded(6, &[2])), ["stop 1", "turn 2?"]);
    assert_eq!(shard.due(), Monotonic(3_500_000), "what changed meanwhile is looked at again");
    assert_eq!(step(&mut shard, 3_500, Input::Alarm), ["reload 7"]);
    assert_eq!(turn(&mut shard, 4_000, 2), ["start 2"]);
    step(&mut shard, 4_000, loaded(7, &[2]));
    assert_eq!(step(&mut shard, 5_000, Input::Look), ["reload 7"]);
}

#[test]
fn a_mailbox_that_fails_is_started_again_later_each_time_and_alone() {
    let mut shard = running(&[1, 2]);
    assert_eq!(step(&mut shard, 3_000, Input::Failed(MailboxId(1))), NOTHING);
    assert_eq!(shard.due(), Monotonic(3_100_000));
    assert_eq!(step(&mut shard, 4_000, Input::Alarm), ["start 1 after 1"]);
    step(&mut shard, 5_000, Input::Failed(MailboxId(1)));
    assert_eq!(shard.due(), Monotonic(5_200_000));
}

#[test]
fn a_store_that_fails_is_asked_again_and_a_lost_shard_is_released() {
    let mut shard = Shard::new(1);
    step(&mut shard, 0, owned(EPOCH, 5, None));
    assert_eq!(step(&mut shard, 1_000, Input::Rows(EPOCH, Err(away()))), NOTHING);
    assert!(shard.due() > Monotonic(1_000_000) && shard.due() < Monotonic(2_000_000));
    assert_eq!(step(&mut shard, 2_000, Input::Alarm), ["adopt 7"]);
    assert_eq!(step(&mut shard, 3_000, Input::Rows(EPOCH, Ok(None))), ["release"]);
    let mut shard = running(&[1]);
    assert_eq!(step(&mut shard, 3_000, Input::Gone), ["release"]);
}

#[test]
fn a_store_that_was_away_for_long_is_asked_within_a_second_of_its_return() {
    let begun: [(Input, &str); 2] = [(owned(EPOCH, 5, None), "adopt 7"), (Input::Incoming { ready: false }, "peek")];
    for (begin, ask) in begun {
        let mut shard = Shard::new(1);
        assert_eq!(step(&mut shard, 0, begin), [ask]);
        let failed = || if ask == "peek" { Input::Peeked(Err(away())) } else { Input::Rows(EPOCH, Err(away())) };
        let mut now = 0;
        for _ in 0..10 {
            now = now.max(shard.due().0 / 1_000 + 1).min(now + 120_000);
            step(&mut shard, now, Input::Alarm);
            step(&mut shard, now, failed());
        }
        assert!(shard.due() > Monotonic((now + 15_000) * 1_000), "it waits by now");
        step(&mut shard, now + 1, Input::Reopened);
        assert!(shard.due() <= Monotonic((now + 1_001) * 1_000));
        assert_eq!(step(&mut shard, now + 1_001, Input::Alarm), [ask]);
    }
}

#[test]
fn what_runs_goes_on_under_a_new_epoch_and_a_denial_waits_for_it() {
    let mut shard = running(&[1]);
    step(&mut shard, 1_000, Input::Doubted(MailboxId(1)));
    assert_eq!(step(&mut shard, 1_100, Input::Rows(EPOCH, Ok(None))), NOTHING, "the heartbeat may know more");
    assert_eq!(step(&mut shard, 1_200, owned(Fence(8), 5, None)), ["adopt 8"]);
    assert_eq!(step(&mut shard, 1_300, Input::Rows(EPOCH, Ok(None))), ["adopt 8"], "an answer under the former epoch says nothing");
    let rows = Input::Rows(Fence(8), Ok(Some(shard_of(5, &[1, 2]))));
    assert_eq!(step(&mut shard, 1_400, rows), ["restamp 1 under 8", "turn 2?"]);
    assert_eq!(shard.epoch(), Some(Fence(8)));
    let mut shard = running(&[1]);
    step(&mut shard, 1_000, Input::Look);
    for time in 0..2 {
        assert_eq!(step(&mut shard, 2_000 + time * 2_000, Input::Rows(EPOCH, Ok(None))), NOTHING);
        assert_eq!(step(&mut shard, 3_000 + time * 2_000, Input::Alarm), ["adopt 7"]);
    }
    assert_eq!(step(&mut shard, 6_000, Input::Rows(EPOCH, Ok(None))), ["release"], "denied for good");
}

#[test]
fn a_mailbox_that_doubts_is_told_that_it_is_still_ours() {
    let mut shard = running(&[1, 2]);
    assert_eq!(step(&mut shard, 1_000, Input::Doubted(MailboxId(1))), ["reload 7"]);
    assert_eq!(step(&mut shard, 1_100, loaded(5, &[1, 2])), ["restamp 1 under 7"]);
    assert_eq!(step(&mut shard, 1_200, Input::Doubted(MailboxId(2))), NOTHING, "not in a loop");
    assert_eq!(step(&mut shard, 1_600, Input::Alarm), ["reload 7"]);
    assert_eq!(step(&mut shard, 1_700, loaded(5, &[1])), ["stop 2"]);
}

#[test]
fn a_shard_that_is_planned_to_be_ours_is_warmed_up_and_then_adopted() {
    let mut shard = Shard::new(1);
    assert_eq!(step(&mut shard, 0, Input::Incoming { ready: false }), ["peek"]);
    assert_eq!(step(&mut shard, 10, peeked(&[1, 2])), ["turn 1?", "turn 2?"]);
    assert_eq!(turn(&mut shard, 20, 1), ["warm 1"]);
    assert_eq!(turn(&mut shard, 25, 2), ["warm 2"]);
    assert_eq!(step(&mut shard, 30, Input::Warmed(MailboxId(1), Ok(()))), NOTHING);
    assert_eq!(step(&mut shard, 40, Input::Incoming { ready: false }), NOTHING, "not yet");
    assert_eq!(step(&mut shard, 50, Input::Warmed(MailboxId(2), Ok(()))), ["ready"]);
    assert_eq!(step(&mut shard, 1_000, Input::Incoming { ready: false }), ["ready"], "it was not heard");
    assert_eq!(step(&mut shard, 2_000, Input::Incoming { ready: true }), NOTHING);
    assert_eq!(step(&mut shard, 3_000, owned(EPOCH, 2, None)), ["adopt 7"]);
    assert_eq!(step(&mut shard, 3_010, loaded(2, &[2, 3])), ["cool 1", "turn 2?", "turn 3?"]);
    assert_eq!(turn(&mut shard, 3_020, 2), ["start 2"]);
}

#[test]
fn a_cancelled_move_ends_what_was_warmed_up() {
    let mut shard = Shard::new(1);
    step(&mut shard, 0, Input::Incoming { ready: false });
    step(&mut shard, 10, peeked(&[1, 2]));
    turn(&mut shard, 20, 2);
    assert_eq!(step(&mut shard, 30, Input::Gone), ["cool 2", "release"]);
}

#[test]
fn a_mailbox_without_room_or_rights_does_not_hold_a_move_up_and_trouble_does_so_for_a_while() {
    let mut shard = Shard::new(1);
    step(&mut shard, 0, Input::Incoming { ready: false });
    step(&mut shard, 10, peeked(&[1, 2, 3]));
    for id in 1..=3 {
        turn(&mut shard, 20, id);
    }
    step(&mut shard, 30, Input::Warmed(MailboxId(1), Err(SourceError::SubscriptionsFull)));
    step(&mut shard, 30, Input::Warmed(MailboxId(2), Err(SourceError::Refused { code: "no".into() })));
    let unavailable = || Input::Warmed(MailboxId(3), Err(SourceError::Unavailable { code: "no".into() }));
    assert_eq!(step(&mut shard, 40, unavailable()), NOTHING);
    let again = shard.due().0 / 1_000 + 1;
    assert!(again < 1_000, "{again}");
    assert_eq!(step(&mut shard, again, Input::Alarm), ["warm 3"]);
    let silence = SourceError::Throttled { retry_after: Duration::from_secs(300) };
    step(&mut shard, again, Input::Warmed(MailboxId(3), Err(silence)));
    assert_eq!(shard.due(), Monotonic(20_000_000));
    assert_eq!(step(&mut shard, 20_000, Input::Alarm), ["ready"]);
}

#[test]
fn a_shard_is_handed_over_when_its_receiver_is_ready_and_everything_is_at_rest() {
    let mut shard = running(&[1, 2]);
    assert_eq!(step(&mut shard, 1_000, owned(EPOCH, 5, Some(false))), NOTHING);
    assert_eq!(step(&mut shard, 2_000, owned(EPOCH, 5, Some(true))), ["hold"]);
    assert_eq!(step(&mut shard, 2_010, Input::Held(MailboxId(1))), NOTHING);
    assert_eq!(step(&mut shard, 2_020, Input::Held(MailboxId(2))), ["offer 7"]);
    assert_eq!(step(&mut shard, 2_030, Input::Given), ["release"]);
    let mut empty = running(&[]);
    assert_eq!(step(&mut empty, 2_000, owned(EPOCH, 5, Some(true))), ["hold", "offer 7"]);
}

#[test]
fn what_does_not_come_to_rest_in_time_is_given_up() {
    let mut shard = running(&[1, 2]);
    step(&mut shard, 2_000, owned(EPOCH, 5, Some(true)));
    step(&mut shard, 2_010, Input::Held(MailboxId(1)));
    assert_eq!(shard.due(), Monotonic(7_000_000));
    assert_eq!(step(&mut shard, 7_000, Input::Alarm), ["give up", "offer 7"]);
    assert_eq!(step(&mut shard, 7_010, Input::Held(MailboxId(2))), NOTHING);
}

#[test]
fn a_refused_hand_over_takes_the_work_up_and_is_tried_again_later() {
    let mut shard = running(&[1]);
    step(&mut shard, 2_000, owned(EPOCH, 5, Some(true)));
    step(&mut shard, 2_010, Input::Held(MailboxId(1)));
    assert_eq!(step(&mut shard, 2_020, Input::Kept), ["unhold"]);
    assert_eq!(shard.due(), Monotonic(3_020_000));
    assert_eq!(step(&mut shard, 3_020, Input::Alarm), ["hold"]);
    assert_eq!(step(&mut shard, 3_500, owned(EPOCH, 5, None)), ["unhold"], "cancelled");
    assert_eq!(shard.due(), Monotonic::NEVER);
}

#[test]
fn what_was_to_be_started_while_a_shard_is_held_is_started_if_it_stays() {
    let mut shard = running(&[1, 2]);
    step(&mut shard, 1_000, Input::Look);
    step(&mut shard, 1_010, loaded(6, &[1, 2, 3]));
    step(&mut shard, 2_000, Input::Failed(MailboxId(2)));
    assert_eq!(step(&mut shard, 2_000, owned(EPOCH, 6, Some(true))), ["hold"]);
    assert_eq!(turn(&mut shard, 2_050, 3), NOTHING);
    assert_eq!(step(&mut shard, 2_500, Input::Held(MailboxId(1))), ["offer 7"]);
    assert_eq!(step(&mut shard, 2_600, Input::Kept), ["unhold", "turn 3?", "start 2 after 1"]);
    assert_eq!(turn(&mut shard, 2_800, 3), ["start 3"]);
}

#[test]
fn a_shard_whose_hand_over_to_us_was_lost_with_the_tail_is_let_go_at_once() {
    let mut shard = running(&[1]);
    assert_eq!(step(&mut shard, 9_000, Input::Incoming { ready: true }), ["release"]);
}
