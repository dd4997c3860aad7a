//! Rows that were left behind: which of them become one push, and what is noted before that is sent.

use super::*;
use crate::ports::delivery_store::Pending;

fn pending(number: u32, group: u32, attempts: u32, refused: bool) -> Pending {
    Pending {
        id: id(number.into()),
        device: DeviceId(1),
        generation: Generation(1),
        event: event(number),
        group: event(group),
        kind: DeliveryKind::Mail,
        item: Some(item(number)),
        received_at: NOON - seconds(number.into()),
        count: 1,
        attempts,
        refused,
        next_at: NOON,
        expires_at: NOON + seconds(86_400),
    }
}

#[test]
fn rows_left_behind_collapse_into_the_newest_unless_they_may_have_been_taken() {
    let groups = |rows: &[Pending]| {
        let pushes = Outgoing::from_pending(rows, &[recipient(1, &[])], NOON);
        pushes.into_iter().map(|push| (push.group, push.rows.iter().map(|row| row.id.0).collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    let refused = [pending(3, 3, 2, true), pending(1, 1, 1, true), pending(2, 2, 4, true)];
    assert_eq!(groups(&refused), [(event(1), vec![1, 2, 3])], "all refused: one push");
    let unknown = [pending(3, 3, 2, true), pending(1, 1, 1, true), pending(2, 2, 1, false)];
    assert_eq!(groups(&unknown), [(event(2), vec![2]), (event(1), vec![1, 3])], "one may have been taken: it keeps its ids");
    let never_tried = [pending(2, 2, 0, false), pending(1, 1, 0, false)];
    assert_eq!(groups(&never_tried), [(event(2), vec![2]), (event(1), vec![1])], "a crash may have hidden an answer");
    let not_due = [Pending { next_at: NOON + seconds(1), ..pending(1, 1, 1, true) }];
    assert_eq!(groups(&not_due), []);
    let one_due = [pending(2, 2, 1, true), Pending { next_at: NOON + seconds(1), ..pending(1, 1, 1, true) }];
    assert_eq!(groups(&one_due), [(event(1), vec![1, 2])], "they wait for the same provider");
    let one_due = [pending(2, 2, 1, false), Pending { next_at: NOON + seconds(1), ..pending(1, 1, 1, true) }];
    assert_eq!(groups(&one_due), [(event(2), vec![2])]);
}

#[test]
fn rows_that_go_with_others_are_noted_to_do_so_before_they_are_sent_and_are_repeated_like_that() {
    let rows = [pending(2, 2, 1, true), pending(1, 1, 1, true)];
    let repeated = || Outgoing::from_pending(&rows, &[recipient(1, &[])], NOON);
    let mut outside = sent(repeated());
    outside.verdicts = vec![Verdict::Unknown { reason: code("connection_lost") }, later()];
    outside.run();
    let noted = |retry: &Retry| (retry.id.0, retry.group, retry.ended, retry.refused);
    let [(0, begun)] = &outside.begun[..] else { panic!("once, before anything is sent: {:?}", outside.begun) };
    assert_eq!(begun.iter().map(noted).collect::<Vec<_>>(), [(1, event(1), false, false), (2, event(1), false, false)]);
    assert!(outside.pushes.len() > 1 && outside.pushes.iter().all(|push| push.id == outside.pushes[0].id));

    // Its end is not heard: with what was noted they are one push again, under the same ids, whatever came since.
    let left = [Pending { group: event(1), refused: false, ..rows[0].clone() }, Pending { refused: false, ..rows[1].clone() }];
    let newer = pending(0, 0, 1, true);
    let groups: Vec<_> = Outgoing::from_pending(&[left.to_vec(), vec![newer]].concat(), &[], NOON).iter().map(|push| push.group).collect();
    assert_eq!(groups, [event(1), event(0)]);

    let mut outside = sent(repeated());
    outside.begins = Err(StoreError::OutcomeUnknown(String::new()));
    outside.run();
    assert_eq!((outside.pushes.len(), outside.done), (0, Some(true)), "what could not be noted is not sent");
}
