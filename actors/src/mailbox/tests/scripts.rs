//! Scripts: what a mailbox does in the course of one story.

use super::check;

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
fn what_a_commit_of_unknown_outcome_wrote_after_a_look_for_it_is_found_by_the_next_one() {
    check(
        "start -> watch sync
         unknown
         due -> resend
         nothing -> sync
         overtaken -> resend
         nothing -> sync
         nothing",
    );
    check(
        "start -> watch sync
         unknown
         due -> resend
         nothing -> sync
         failed
         due -> sync
         announced
         settled -> resend
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
         resume -> settle
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
fn four_deliveries_may_send_while_a_fifth_waits() {
    check(
        "start -> watch sync
         announced
         +3000 mail -> sync
         announced
         +3000 mail -> sync
         announced
         +3000 mail -> sync
         announced
         +3000 mail
         settled -> sync",
    );
}

#[test]
fn a_mailbox_that_must_wait_keeps_no_room_from_those_that_could_be_seeded() {
    check(
        "start-new -> watch
         watched -> ask-room
         room -> seed
         throttled
         +99000 alarm
         due -> ask-room
         mail -> recent
         throttled
         room -> give-room
         due -> recent ask-room",
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
         drain -> settle
         announced
         mail
         change
         settled
         +4000000 alarm",
    );
}

#[test]
fn a_sync_that_comes_to_no_end_is_repeated_ever_more_rarely_and_mail_does_not_wait_for_it() {
    check(
        "start -> watch sync
         endless -> sync
         endless
         +250 alarm
         +250 alarm -> sync
         endless
         +490 alarm
         +510 alarm -> sync
         endless
         +100 mail
         +2900 alarm -> sync
         announced
         settled",
    );
}

#[test]
fn hints_that_lead_to_nothing_cost_a_window_from_the_fourth_on() {
    check(
        "start -> watch sync
         nothing
         watched
         opened -> sync
         nothing
         +60000 mail -> sync
         nothing
         mail -> sync
         nothing
         mail -> sync
         nothing
         mail -> sync
         nothing
         mail
         opened
         +2999 alarm
         +1 alarm -> sync
         +60000 nothing
         mail -> sync
         nothing
         mail -> sync",
    );
}

#[test]
fn a_subscription_that_is_lost_as_soon_as_it_is_made_is_asked_for_ever_more_rarely() {
    let (settings, mut now, mut subscribed) = (super::settings(), super::BEGIN, 0);
    let mut mailbox = crate::mailbox::state::Mailbox::new(1);
    let end = now + std::time::Duration::from_secs(600);
    let mut inputs = vec!["start"];
    while now < end {
        let word = inputs.pop().unwrap_or("alarm");
        now = if word == "alarm" { now.max(mailbox.due(&settings)) } else { now + std::time::Duration::from_millis(5) };
        for effect in mailbox.step(now, super::input(word, now), &settings) {
            match super::name(&effect).as_str() {
                "watch" => {
                    subscribed += 1;
                    inputs.extend(["lost", "opened", "watched"]);
                }
                "sync" => inputs.push("nothing"),
                _ => {}
            }
        }
    }
    assert!((10..=25).contains(&subscribed), "{subscribed} in ten minutes");
}
