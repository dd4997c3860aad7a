//! Scripts of a mailbox whose shard changes hands or takes a new epoch.

use super::check;

#[test]
fn a_mailbox_whose_row_is_under_another_authority_rests_until_it_is_known_whose_it_is() {
    check(
        "start -> watch sync
         not-ours -> doubt
         +100 mail
         +60000 alarm
         restamped -> resend",
    );
}

#[test]
fn a_mailbox_under_a_new_epoch_reads_its_row_again_and_does_not_subscribe_again() {
    check(
        "start -> watch sync
         watched
         opened
         nothing -> sync
         nothing
         = live
         +1000 mail -> sync
         restamped -> give-up resend
         nothing -> sync
         nothing
         = live",
    );
}

#[test]
fn a_held_mailbox_comes_to_rest_keeps_what_it_hears_and_goes_on_if_it_stays() {
    check(
        "start -> watch sync
         watched
         opened
         nothing -> sync
         nothing
         hold -> settle held
         +1000 mail
         lost
         +60000 alarm
         unhold -> watch resend
         nothing -> sync",
    );
}

#[test]
fn a_held_mailbox_waits_for_what_is_under_way_as_long_as_it_is_let() {
    check(
        "start -> watch sync
         announced
         hold -> settle
         +100 settled -> held",
    );
    check(
        "start -> watch sync
         announced
         mail
         +4000 alarm -> sync
         hold -> settle
         +5000 no-patience -> give-up-all held
         settled
         +100 unhold -> resend
         nothing -> sync",
    );
}
