//! What is announced: the rule for new mail, the fan-out, and a collection step by step.

use proptest::prelude::*;

use super::*;
use crate::delivery::collect::{Collect, Effect};
use crate::delivery::fanout::{self, NewMail};
use crate::delivery::message::{CollectEnd, Collected, CommitAnswer, Failure, More};
use crate::ports::StoreError;
use crate::ports::mail_source::{Change, ChangesPage, SourceError};
use crate::ports::mailbox_store::{Commit, DeliveryKind, Inserted};
use crate::settings::{ROWS_PER_COLLECTION, Settings};

#[test]
fn each_condition_of_new_mail_stands_alone() {
    let (row, fresh) = (row(), mail(1, NOON - seconds(1)));
    let watched = MailboxState { watch_since: NOON - seconds(600), announced_until: Timestamp(0), ..row.clone() };
    let lately = MailboxState { announced_until: NOON - seconds(60), ..row.clone() };
    let cases = [
        ("an unread mail of just before", true, fresh.clone(), &row),
        ("a read one", false, ItemFacts { read: true, ..fresh.clone() }, &row),
        ("a draft", false, ItemFacts { draft: true, ..fresh.clone() }, &row),
        ("a contact", false, ItemFacts { mail_class: false, ..fresh }, &row),
        ("of the second in which the watch began", true, mail(1, NOON - seconds(601)), &watched),
        ("of before that", false, mail(1, NOON - seconds(602)), &watched),
        ("an hour older than the newest announced", true, mail(1, NOON - seconds(3_660)), &lately),
        ("older than that", false, mail(1, NOON - seconds(3_661)), &lately),
        (
            "a second younger than a day",
            true,
            mail(1, NOON - seconds(86_399)),
            &MailboxState { announced_until: Timestamp(0), ..row.clone() },
        ),
        ("a day old", false, mail(1, NOON - seconds(86_400)), &MailboxState { announced_until: Timestamp(0), ..row.clone() }),
        ("of the future", true, mail(1, NOON + seconds(60)), &row),
    ];
    for (name, expected, item, row) in cases {
        assert_eq!(fanout::is_new_mail(&item, row, NOON, &Settings::default()), expected, "{name}");
    }
}

/// Runs a collection: the row, the pages, who is told; everything committed is inserted.
fn collect(
    work: Order,
    row: MailboxState,
    pages: Vec<Result<ChangesPage, SourceError>>,
    recipients: &[Recipient],
) -> (Vec<Commit>, CollectEnd, usize) {
    let settings = Settings::default();
    let mut machine = Collect::new(MAILBOX, AUTHORITY, work);
    let mut pages = pages.into_iter();
    let (mut commits, mut effect) = (Vec::new(), machine.begin());
    for _ in 0..100 {
        let answer = match effect {
            Effect::Load => Collected::Row(Ok(Some(row.clone()))),
            Effect::Page(_) => Collected::Page(pages.next().expect("a page more than expected is asked for")),
            Effect::Recipients(_) => Collected::Recipients(Ok(recipients.to_vec())),
            Effect::Commit(commit) | Effect::WriteBehind(commit) => {
                let numbered = commit.rows.iter().zip(1..);
                let inserted =
                    numbered.map(|(row, number)| Inserted { id: id(number), mailbox: MAILBOX, device: row.device, event: row.event });
                let answer = CommitAnswer::Matched(inserted.collect());
                commits.push(commit);
                Collected::Committed(answer)
            }
            Effect::End(end, pushes) => return (commits, end, pushes.len()),
            other => panic!("not expected: {other:?}"),
        };
        effect = machine.step(moment(0), answer, &settings);
    }
    panic!("it never ends");
}

fn page(changes: Vec<Change>, state: &str, complete: bool) -> Result<ChangesPage, SourceError> {
    Ok(ChangesPage { changes, state: SyncState(state.into()), complete })
}

fn created(number: u32) -> Change {
    Change::Created(mail(number, NOON - seconds(u64::from(number))))
}

#[test]
fn new_mail_is_committed_with_the_state_that_covers_it_one_row_a_device() {
    let (commits, end, pushes) = collect(
        order(Work::Sync),
        row(),
        vec![page(vec![created(1), created(2)], "two", true)],
        &[recipient(1, &[]), recipient(2, &[event(2)])],
    );
    let commit = &commits[0];
    assert_eq!((commit.sync_state.clone(), commit.sync_seq), (Some(SyncState("two".into())), SyncSeq(7)));
    assert_eq!(commit.announced_until, NOON - seconds(1));
    let rows: Vec<(i64, EventKey, EventKey)> = commit.rows.iter().map(|row| (row.device.0, row.event, row.group)).collect();
    assert_eq!(rows, [(1, event(1), event(1)), (1, event(2), event(1)), (2, event(1), event(1))]);
    assert_eq!((end, pushes), (CollectEnd::Done { announced: 2, more: More::Nothing, seeded: true, badge_dirty: false }, 2));
}

#[test]
fn what_was_created_and_then_read_or_deleted_is_not_announced() {
    let changes = vec![created(1), created(2), Change::ReadFlag { item: item(1), read: true }, Change::Deleted(item(2))];
    let (commits, end, pushes) = collect(order(Work::Sync), row(), vec![page(changes, "two", true)], &[recipient(1, &[])]);
    assert!(commits[0].rows.is_empty() && commits[0].badge_dirty, "the badge is owed");
    assert_eq!((end, pushes), (CollectEnd::Done { announced: 0, more: More::Nothing, seeded: true, badge_dirty: true }, 0));
}

#[test]
fn an_old_mail_moved_in_only_owes_a_badge() {
    let old = Change::Created(mail(1, NOON - seconds(20_000)));
    let (commits, ..) = collect(order(Work::Sync), row(), vec![page(vec![old], "two", true)], &[recipient(1, &[])]);
    assert!(commits[0].rows.is_empty() && commits[0].badge_dirty);
}

#[test]
fn a_badge_that_is_due_is_told_to_every_device_and_not_owed_any_more() {
    let due = Order { badge_now: true, ..order(Work::Sync) };
    let changes = vec![Change::ReadFlag { item: item(1), read: true }];
    let (commits, end, pushes) = collect(due, row(), vec![page(changes, "two", true)], &[recipient(1, &[]), recipient(2, &[])]);
    assert!(commits[0].rows.iter().all(|row| row.kind == DeliveryKind::Badge && row.event == EventKey::of_badge(SyncSeq(7))));
    assert_eq!((commits[0].badge_dirty, pushes), (false, 2));
    assert_eq!(end, CollectEnd::Done { announced: 0, more: More::Nothing, seeded: true, badge_dirty: false });
}

#[test]
fn nothing_new_writes_nothing() {
    let (commits, end, _) = collect(order(Work::Sync), row(), vec![page(vec![], "one", true)], &[]);
    assert!(commits.is_empty());
    assert_eq!(end, CollectEnd::Done { announced: 0, more: More::Nothing, seeded: true, badge_dirty: false });
}

#[test]
fn seeding_saves_page_by_page_and_announces_nothing_old() {
    let row = MailboxState { sync_state: None, seeded: false, announced_until: Timestamp(0), watch_since: NOON - seconds(60), ..row() };
    let old = (100..612).map(created).collect();
    let (commits, end, pushes) = collect(order(Work::Seed), row, vec![page(old, "first", false)], &[recipient(1, &[])]);
    assert_eq!((commits[0].sync_state.clone(), commits[0].seeded, commits[0].badge_dirty), (Some(SyncState("first".into())), false, false));
    assert_eq!((end, pushes), (CollectEnd::Done { announced: 0, more: More::Backlog, seeded: false, badge_dirty: false }, 0));
}

#[test]
fn a_refused_state_is_cleared_and_the_mailbox_is_seeded_anew() {
    let (commits, end, _) = collect(order(Work::Sync), row(), vec![Err(SourceError::SyncStateLost)], &[]);
    assert_eq!((commits[0].sync_state.clone(), commits[0].seeded), (None, false));
    assert_eq!(end, CollectEnd::Done { announced: 0, more: More::Endless, seeded: false, badge_dirty: false });
}

#[test]
fn pages_that_promise_more_and_bring_little_are_told_from_a_backlog() {
    let endless = CollectEnd::Done { announced: 0, more: More::Endless, seeded: true, badge_dirty: false };
    let (commits, end, _) = collect(order(Work::Sync), row(), vec![page(vec![], "one", false)], &[]);
    assert_eq!((commits.len(), end), (0, endless.clone()), "the state stands still");
    let (commits, end, _) = collect(order(Work::Sync), row(), vec![page(vec![], "two", false)], &[]);
    assert_eq!((commits[0].sync_state.clone(), end), (Some(SyncState("two".into())), endless), "nothing at a new state, which is kept");
    let again = || page(vec![Change::Updated(item(1))], "one", false);
    let (_, end, _) = collect(order(Work::Sync), row(), vec![again()], &[]);
    assert_eq!(
        end,
        CollectEnd::Done { announced: 0, more: More::Endless, seeded: true, badge_dirty: true },
        "the same change at the same state"
    );
    let few = ["a", "b", "c", "d"].map(|state| page(vec![Change::Updated(item(1))], state, false)).into();
    let (_, end, _) = collect(order(Work::Sync), row(), few, &[]);
    assert_eq!(end, CollectEnd::Done { announced: 0, more: More::Endless, seeded: true, badge_dirty: true }, "four pages of one change");
    let full = ["a", "b", "c", "d"].map(|state| page((0..512).map(|n| Change::Updated(item(n))).collect(), state, false)).into();
    let (_, end, _) = collect(order(Work::Sync), row(), full, &[]);
    assert_eq!(end, CollectEnd::Done { announced: 0, more: More::Backlog, seeded: true, badge_dirty: true });
}

#[test]
fn any_change_makes_the_badge_due_and_so_does_a_count_that_devices_do_not_know() {
    let due = Order { badge_now: true, ..order(Work::Sync) };
    let (_, _, pushes) = collect(due, row(), vec![page(vec![Change::Updated(item(1))], "two", true)], &[recipient(1, &[])]);
    assert_eq!(pushes, 1, "some servers tell so that an item was read");
    let recount = Order { recount: true, ..due };
    let (commits, end, pushes) = collect(recount, row(), vec![page(vec![], "one", true)], &[recipient(1, &[])]);
    assert_eq!((commits.len(), pushes), (1, 1));
    assert_eq!(end, CollectEnd::Done { announced: 0, more: More::Nothing, seeded: true, badge_dirty: false });
}

#[test]
fn pages_read_before_an_error_are_kept() {
    let trouble = SourceError::Unavailable { code: "busy".into() };
    let (commits, end, pushes) =
        collect(order(Work::Sync), row(), vec![page(vec![created(1)], "two", false), Err(trouble)], &[recipient(1, &[])]);
    assert_eq!((commits[0].sync_state.clone(), commits[0].rows.len(), pushes), (Some(SyncState("two".into())), 1, 1));
    assert_eq!(end, CollectEnd::Done { announced: 1, more: More::Endless, seeded: true, badge_dirty: false });
}

#[test]
fn each_failure_says_what_it_is_and_writes_nothing() {
    let throttled = SourceError::Throttled { retry_after: seconds(9) };
    let (commits, end, _) = collect(order(Work::Sync), row(), vec![Err(throttled.clone())], &[]);
    assert_eq!((commits.len(), end), (0, CollectEnd::Failed(Failure::Source(throttled))));
    let settings = Settings::default();
    let mut closed = moment(0);
    closed.gate_open = false;
    let failure = |answer, moment| match Collect::new(MAILBOX, AUTHORITY, order(Work::Sync)).step(moment, answer, &settings) {
        Effect::End(CollectEnd::Failed(failure), _) => failure,
        other => panic!("{other:?}"),
    };
    assert_eq!(failure(Collected::Row(Ok(None)), moment(0)), Failure::NotOurs);
    assert_eq!(failure(Collected::Row(Ok(Some(row()))), closed), Failure::Gate);
    assert_eq!(failure(Collected::Committed(CommitAnswer::NotMatched), moment(0)), Failure::Overtaken);
    assert_eq!(failure(Collected::Committed(CommitAnswer::Gate), moment(0)), Failure::Gate);
    let store = |error: fn(String) -> StoreError| Collected::Committed(CommitAnswer::Failed(error(String::new())));
    assert_eq!(failure(store(StoreError::Unavailable), moment(0)), Failure::Store);
    assert_eq!(failure(store(StoreError::OutcomeUnknown), moment(0)), Failure::Unknown);
}

proptest! {
    #[test]
    fn rows_never_lose_or_repeat_a_mail(ages in prop::collection::vec(0_u64..80_000, 0..200), known in prop::collection::btree_set(0_usize..200, 0..60)) {
        let row = MailboxState { announced_until: Timestamp(0), ..row() };
        let items: Vec<ItemFacts> = ages.iter().zip(0..).map(|(age, number)| mail(number, NOON - seconds(*age))).collect();
        // The server may tell an item twice.
        let twice: Vec<ItemFacts> = items.iter().chain(items.iter().step_by(7)).cloned().collect();
        let mails = fanout::new_mails(&twice, &row, NOON, &Settings::default());
        prop_assert_eq!(mails.len(), items.len());
        prop_assert!(mails.is_sorted_by_key(|mail| std::cmp::Reverse(mail.received_at)));
        let shown: Vec<&NewMail> = mails.iter().take(ROWS_PER_COLLECTION).collect();
        let known: Vec<EventKey> = known.into_iter().filter_map(|place| shown.get(place)).map(|mail| mail.event).collect();
        let rows = fanout::mail_rows(&mails, &recipient(1, &known), NOON, &Settings::default());
        let mut told: Vec<EventKey> = rows.iter().map(|row| row.event).collect();
        let fresh: Vec<EventKey> = shown.iter().map(|mail| mail.event).filter(|event| !known.contains(event)).collect();
        prop_assert_eq!(&told, &fresh, "each that has no row gets one, newest first");
        told.dedup();
        prop_assert_eq!(told.len(), rows.len());
        prop_assert!(rows.iter().all(|row| Some(row.group) == rows.first().map(|row| row.event)), "one push a device");
        let counted: usize = rows.iter().map(|row| row.count as usize).sum();
        let tail = mails.len() - shown.len();
        let oldest_known = shown.last().is_some_and(|mail| known.contains(&mail.event));
        prop_assert_eq!(counted, fresh.len() + if oldest_known { 0 } else { tail });
    }
}
