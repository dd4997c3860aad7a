//! The table of all clauses, from which each store's tests are made.

/// Makes one test of each clause for the fixture that the expression yields: `conformance!(MyFixture::new());`, and beside it
/// `conformance!(embedded: ...)` or `conformance!(shared: ...)`, whichever manner the store has.
#[macro_export]
macro_rules! conformance {
    (shared: $fixture:expr) => {
        $crate::conformance!(@clauses $fixture, shared:
            joining_owns_nothing,
            a_late_request_to_join_changes_nothing,
            a_namesake_is_replaced_where_it_stood_still,
            a_namesake_that_left_is_replaced_at_once,
            leadership_is_taken_as_it_was_seen,
            a_plan_gives_shards,
            a_stale_plan_changes_nothing,
            a_judged_node_is_over,
            a_heartbeat_and_a_judgement_exclude_each_other,
            two_plans_exclude_each_other,
            a_planned_move_is_carried_out,
            a_move_to_nobody_does_not_happen,
            a_hand_over_and_a_plan_exclude_each_other,
            reclaiming_takes_new_epochs,
            a_node_drains_and_leaves,
            a_look_goes_as_deep_as_asked,
            a_required_feature_is_on_every_shard,
            accepting_the_same_database_pauses_nothing);
        $crate::conformance!(@clauses $fixture, shared_mail:
            a_stale_batch_and_an_adoption_exclude_each_other,
            a_shard_that_filled_meanwhile_is_not_taken,
            a_mailbox_removed_during_adoption_is_seen,
            watched_mailboxes_are_counted,
            one_token_registered_everywhere_belongs_to_one);
    };
    (embedded: $fixture:expr) => {
        $crate::conformance!(@clauses $fixture, embedded:
            joining_owns_all_shards,
            a_dead_process_is_succeeded_at_once,
            a_process_that_stands_still_is_succeeded_after_patience,
            a_live_process_lets_go_when_its_heartbeat_ends,
            an_evicted_process_waits_for_its_successor_to_go,
            a_dropped_join_leaves_nothing_half_done,
            leaving_lets_everything_go);
    };
    ($fixture:expr) => {
        $crate::conformance!(@clauses $fixture, cluster:
            heartbeats_count_up,
            an_unknown_session_gets_nothing,
            a_replaced_session_gets_nothing_for_ever,
            epochs_only_grow,
            adoption_asks_for_epoch_and_session,
            adoption_stamps_and_loads,
            adoption_tells_flags,
            an_adoption_shuts_the_former_owner_out,
            membership_moves_the_change_seq,
            only_mailboxes_with_devices_are_watched,
            a_mailbox_added_during_adoption_is_seen,
            the_pause_switch_reaches_the_heartbeat,
            adoption_lists_the_recently_active_first);
        $crate::conformance!(@clauses $fixture, mailboxes:
            a_commit_moves_the_state,
            a_large_state_comes_back,
            a_refused_state_becomes_null,
            a_stale_entry_does_nothing,
            a_repeated_commit_does_nothing,
            a_row_that_exists_is_not_inserted_again,
            a_row_needs_a_device_of_that_mailbox,
            a_batch_commits_what_matches,
            an_empty_batch_is_taken,
            a_row_is_read_as_it_was_committed,
            a_subscription_is_kept_for_the_successor,
            a_removed_mailbox_matches_nothing);
        $crate::conformance!(@clauses $fixture, deliveries:
            a_verdict_settles_a_row,
            a_row_is_settled_once,
            a_verdict_needs_no_fence,
            a_settled_row_keeps_its_event,
            a_retry_is_fenced,
            rows_are_read_by_the_owner_of_their_mailbox,
            a_try_is_noted_when_it_begins_and_when_it_ends,
            a_settled_row_is_not_scheduled,
            stranded_rows_are_found_whatever_their_fence,
            the_longest_due_are_found_first,
            retention_goes_in_steps,
            pending_rows_are_bounded,
            a_thousand_rows_are_one_call,
            the_list_of_rows_is_newest_first);
        $crate::conformance!(@clauses $fixture, devices:
            recipients_tell_what_they_know,
            devices_are_read_as_they_are_now,
            a_thousand_devices_are_one_call,
            a_device_is_forgotten_with_its_rows,
            a_newer_registration_stands,
            a_registration_after_the_verdict_stands,
            registering_again_outlives_an_older_verdict,
            forgetting_the_last_device_ends_the_watch,
            a_device_may_change_its_provider);
        $crate::conformance!(@clauses $fixture, registry:
            registering_makes_the_mailbox_if_it_may,
            a_registration_is_listed,
            a_token_belongs_to_one_row,
            a_token_is_one_per_app, a_token_moves_only_inside_its_tenant_and_provider, a_change_leaves_its_lines, the_trail_is_listed,
            a_device_may_change_its_name,
            a_device_may_take_a_sibling_s_token,
            the_generation_counts_changes,
            a_mailbox_has_ten_devices_at_most,
            the_first_device_begins_the_watch,
            a_watch_goes_on_within_seven_days,
            a_device_is_updated,
            a_device_is_removed,
            a_mailbox_is_added_once,
            removing_a_mailbox_removes_everything,
            mailboxes_are_listed_in_pages,
            silent_mailboxes_go_in_steps,
            keys_are_kept,
            audit_lines_are_taken,
            old_audit_lines_go_in_steps);
    };
    (@clauses $fixture:expr, $port:ident: $($clause:ident),+) => {
        mod $port {
            #[allow(unused_imports, reason = "the expression names what it likes of its surroundings")]
            use super::*;
            $(
                #[tokio::test]
                async fn $clause() {
                    $crate::testing::conformance::$port::$clause(&$fixture).await;
                }
            )+
        }
    };
}
