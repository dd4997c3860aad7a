//! The cut-off, to the microsecond.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::delivery::policy;
use crate::ports::mail_source::MailContent;
use crate::ports::push_sender::Content;

const MICRO: Duration = Duration::from_micros(1);

fn content() -> MailContent {
    MailContent { sender: "Ada".into(), subject: "Plans".into(), preview: "Secret".into(), read: false }
}

fn detailed(now: Timestamp, device: &DeviceNow) -> bool {
    matches!(policy::mail(now, device, Some(&content()), now + seconds(86_400)).0, Content::Details { .. })
}

#[test]
fn details_are_shown_until_the_last_microsecond_before_the_cut_off_and_not_one_later() {
    for cutoff in [MICRO, seconds(1), seconds(43_200), seconds(259_200)] {
        let device = DeviceNow { cutoff, ..device(1) };
        let boundary = device.last_activity + cutoff;
        assert!(detailed(boundary - MICRO, &device), "{cutoff:?}");
        assert!(!detailed(boundary, &device), "{cutoff:?}");
        assert!(!detailed(boundary + MICRO, &device), "{cutoff:?}");
    }
}

#[test]
fn a_cut_off_of_zero_never_shows_details() {
    let device = DeviceNow { cutoff: Duration::ZERO, ..device(1) };
    for now in [NOON - seconds(1), NOON, NOON + MICRO] {
        assert!(!detailed(now, &device));
    }
}

#[test]
fn the_next_activity_restores_details() {
    let mut device = device(1);
    let now = device.last_activity + device.cutoff;
    assert!(!detailed(now, &device));
    device.last_activity = now;
    assert!(detailed(now, &device));
}

#[test]
fn an_activity_in_the_future_counts_as_one_of_this_moment() {
    let device = DeviceNow { last_activity: NOON + seconds(7_200), cutoff: seconds(60), ..device(1) };
    let (shown, expires_at) = policy::mail(NOON, &device, Some(&content()), NOON + seconds(86_400));
    assert!(matches!(shown, Content::Details { .. }));
    assert_eq!(expires_at, NOON + seconds(60));
}

#[test]
fn without_content_a_push_says_only_that_there_is_mail_and_keeps_its_own_expiry() {
    assert_eq!(policy::mail(NOON, &device(1), None, NOON + seconds(9)), (Content::MailOnly, NOON + seconds(9)));
    let past = DeviceNow { last_activity: NOON - seconds(90_000), ..device(1) };
    assert_eq!(policy::mail(NOON, &past, Some(&content()), NOON + seconds(9)), (Content::MailOnly, NOON + seconds(9)));
}

proptest! {
    #[test]
    fn a_detailed_push_never_outlives_the_cut_off_whatever_the_clocks_do(
        activity in -300_000_000_000_i64..300_000_000_000,
        cutoff in 0_u64..259_200_000_000,
        ttl in 0_u64..86_400_000_000,
    ) {
        let device = DeviceNow { last_activity: Timestamp(NOON.0 + activity), cutoff: Duration::from_micros(cutoff), ..device(1) };
        let expiry = NOON + Duration::from_micros(ttl);
        let (shown, expires_at) = policy::mail(NOON, &device, Some(&content()), expiry);
        prop_assert!(expires_at <= expiry);
        if matches!(shown, Content::Details { .. }) {
            prop_assert!(expires_at <= device.last_activity.min(NOON) + device.cutoff);
            prop_assert!(NOON < device.last_activity + device.cutoff);
        } else {
            prop_assert!(NOON >= device.last_activity + device.cutoff);
        }
    }
}
