//! Every metric of the core, with the sentence that tells an operator what it says.

pub use super::labels::*;
use crate::catalog;
use crate::ports::cluster_store::Reason as MoveReason;
use crate::ports::push_sender::Provider;
use crate::snapshot::{NodeState, Phase};

catalog! {
    /// Pushes that were answered, by provider, what was shown, verdict and the provider's reason. Watch everything but `accepted`.
    counter push_answered(provider: Provider, shown: Shown, verdict: VerdictClass, reason: Reason) = "postrider_push_answered_total";
    /// Time from the hint that something changed to the provider's acceptance of the push; the coalescing window is part of it.
    histogram push_latency(provider: Provider) = "postrider_push_latency_seconds", Patient;
    /// Time from the mail's own received time to the provider's acceptance of the push: what a user feels.
    histogram push_age(provider: Provider) = "postrider_push_age_seconds", Patient;
    /// Pushes given up, by reason. Each has a line in the mailbox's "why".
    counter dead_letters(why: Dead) = "postrider_dead_letters_total";
    /// Pushes that were not needed any more.
    counter superseded(why: Superseded) = "postrider_superseded_total";
    /// Devices forgotten for a definite reason.
    counter devices_forgotten(provider: Provider) = "postrider_devices_forgotten_total";
    /// Apps whose pushes rest because their configuration or credentials are taken to be wrong. Alert above 0.
    gauge breaker_open(provider: Provider) = "postrider_breaker_open";
    /// Apps whose pushes are late for any reason: those of `postrider_breaker_open`, and those whose provider is away or asked to wait.
    gauge push_channels_late(provider: Provider) = "postrider_push_channels_late";
    /// How often an app's pushes began to be late, and why.
    counter breaker_opened(provider: Provider, why: Breaker) = "postrider_breaker_opened_total";
    /// Mailboxes of this node by phase. `live` is where they belong; `parked` needs a person.
    gauge mailboxes(phase: Phase) = "postrider_mailboxes";
    /// Users that this node may own; the mailboxes against it are its load.
    gauge capacity() = "postrider_capacity";
    /// Shards that this node owns.
    gauge shards() = "postrider_shards";
    /// Hints that something changed, from streams, webhooks and people.
    counter hints() = "postrider_hints_total";
    /// Collections (what changed since the sync state) by how they ended.
    counter collections(outcome: Collected) = "postrider_collections_total";
    /// Time of one collection, from its first request to its commit.
    histogram collection_seconds() = "postrider_collection_seconds", Quick;
    /// Pages read to seed mailboxes that are watched for the first time or whose sync state was lost.
    counter seeding_pages() = "postrider_seeding_pages_total";
    /// What waits inside this node.
    gauge queue_depth(queue: Queue) = "postrider_queue_depth";
    /// Commits of sync states and delivery rows by how they ended. `stale` means that another process has the authority.
    counter commits(outcome: Outcome) = "postrider_commits_total";
    /// Time of one commit.
    histogram commit_seconds() = "postrider_commit_seconds", Quick;
    /// Mailboxes in one commit.
    histogram commit_mailboxes() = "postrider_commit_mailboxes", Count;
    /// Verdicts marked at once.
    histogram mark_rows() = "postrider_mark_rows", Count;
    /// Looks for pending pushes that nobody holds.
    counter sweeps(outcome: Outcome) = "postrider_sweeps_total";
    /// Mailboxes whose pending pushes a look found and took up.
    counter swept_mailboxes() = "postrider_swept_mailboxes_total";
    /// Old settled rows removed.
    counter retained_rows() = "postrider_retention_rows_total";
    /// Bytes of mail content held for pushes to be repeated.
    gauge held_bytes() = "postrider_held_content_bytes";
    /// Actors restarted after a failure. Alert on a rate that lasts.
    counter restarts(actor: Actor) = "postrider_restarts_total";
    /// Heartbeats by how they ended.
    counter heartbeats(outcome: Outcome) = "postrider_heartbeats_total";
    /// Time of one heartbeat.
    histogram heartbeat_seconds() = "postrider_heartbeat_seconds", Quick;
    /// Whether this node may act (1) or has stopped because its authority ran out (0).
    gauge gate_open() = "postrider_gate_open";
    /// Whether this node leads: it judges the others and places shards. Exactly one of a cluster should; 0 on an embedded database.
    gauge leading() = "postrider_leading";
    /// How often this node took leadership. Alert on a rate that lasts.
    counter leadership_changes() = "postrider_leadership_changes_total";
    /// Nodes by state, as the leader sees them; 0 at nodes that do not lead. Alert on BAD and on fewer GOOD than there should be.
    gauge cluster_nodes(state: NodeState) = "postrider_cluster_nodes";
    /// Users of the whole cluster, as the leader sees them; 0 at nodes that do not lead.
    gauge cluster_users() = "postrider_cluster_users";
    /// Users that all GOOD nodes together may own, as the leader sees it; 0 at nodes that do not lead.
    gauge cluster_capacity() = "postrider_cluster_capacity";
    /// Shards that nobody has room or the features for: their mailboxes are not watched. Alert above 0.
    gauge unplaced_shards() = "postrider_unplaced_shards";
    /// Shards of draining nodes that nobody has room or the features for: the drain stands still. Alert above 0.
    gauge stuck_shards() = "postrider_stuck_shards";
    /// Planned moves of shards that are not carried out yet.
    gauge moves_under_way() = "postrider_moves_under_way";
    /// Shards that plans of this node moved or began to move, by reason.
    counter moved_shards(reason: MoveReason) = "postrider_moved_shards_total";
    /// Users of these shards.
    counter moved_users(reason: MoveReason) = "postrider_moved_users_total";
    /// Time that deciding a plan took.
    histogram plan_seconds() = "postrider_plan_seconds", Quick;
    /// Plans that this node committed by how that ended. `stale`: something changed meanwhile, and it planned anew.
    counter plan_commits(outcome: Outcome) = "postrider_plan_commits_total";
    /// Nodes that this node judged BAD because their heartbeats stood still.
    counter nodes_judged() = "postrider_nodes_judged_total";
    /// Nodes that seem dead and are doubted, because many fell silent at once. Alert above 0.
    gauge guard_held() = "postrider_guard_held_nodes";
    /// How often a node was doubted.
    counter guard_holds() = "postrider_guard_holds_total";
    /// Whether the database allows pushes to leave (1) or sending is paused (0).
    gauge sending_allowed() = "postrider_sending_allowed";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::push_sender::Verdict;
    use crate::telemetry::catalog::Label as _;

    #[test]
    fn names_end_as_prometheus_wants_and_stand_once() {
        let mut names: Vec<&str> = CATALOG.iter().map(|metric| metric.name).collect();
        for metric in CATALOG {
            let counter = matches!(metric.kind, super::super::catalog::Kind::Counter);
            assert_eq!(metric.name.ends_with("_total"), counter, "{}", metric.name);
            assert!(metric.name.starts_with("postrider_"), "{}", metric.name);
            assert!(metric.sentence.trim().ends_with('.'), "{}", metric.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOG.len());
    }

    #[test]
    fn a_reason_that_is_not_documented_makes_no_series() {
        let later = |reason: &str| Reason::of(&Verdict::Later { after: None, reason: reason.into() }).value();
        assert_eq!(later("QUOTA_EXCEEDED"), "QUOTA_EXCEEDED");
        assert_eq!(later("<script>"), "other");
    }
}
